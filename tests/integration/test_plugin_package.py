"""A package of another's: built, installed, and used in a real run by what its entry points offer."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bento.signature import Signature
from pipelines.packaging.bentos import fetch_bento
from pipelines.registry.mlflow import download_model
from tests.pipeline_cases import MODEL_PY, NAME, USECASE, Stepwise
from tests.serving import serving

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "plugin_example"

TRAIN = """
def train(train, validation, params, seed):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=params["C"]).fit(train.frame(), train.target)
"""


def drawn_usecase(model_format: str | None = "linear-json") -> dict:
    """The tiny use case with a source, metrics, a gate rule and a format of the example package."""
    values = copy.deepcopy(USECASE)
    values["data"]["source"] = {"type": "drawn", "rows": 600, "seed": 3}
    values["data"]["features"].pop("kind")
    values["training"]["format"] = model_format
    values["evaluation"] = {
        "metrics": ["roc_auc", "mean_cost"],
        "gates": [
            {"metric": "roc_auc", "at_least": 0.7},
            {"metric": "mean_cost", "at_most": 1.5},
            {"metric": "mean_cost", "champion": "not-worse"},
            {"type": "enough-rows", "rows": 100},
        ],
    }
    return values


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder that the example is installed into, from a wheel that is built here, without a network."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(folder / "site"), str(folder / "source")], check=True)
    return folder / "site"


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlops_example"]:
        del sys.modules[name]


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process", "installed")
def test_source_metric_rule_and_format_go_through_a_run_and_are_served(lab, tmp_path):
    import mlflow.pyfunc
    import pandas as pd

    lab.write_usecase(drawn_usecase())
    lab.write_model(MODEL_PY.partition("def train")[0] + TRAIN)
    run = Stepwise(lab).until("release")

    assert run.verdict.passed
    assert [rule.rule for rule in run.verdict.rules[2:]] == [
        "roc_auc at least 0.7",
        "mean_cost at most 1.5",
        "mean_cost not worse than the champion's",
        "100 test rows or more",
    ]
    assert run.evaluation.agreement == pytest.approx(0, abs=1e-5)
    model = run.trained / "model"
    assert Signature.read(model / "signature.json").format == "linear-json"
    assert not list(model.glob("*.onnx"))

    fetched = download_model(lab.settings.tracking_uri, str(run.version), tmp_path / "fetched")
    loaded = mlflow.pyfunc.load_model(str(fetched)).predict(pd.DataFrame({"size": [9.0, 1.0]}).astype("float32"))
    assert (loaded[:, 1] > 0.5).tolist() == [True, False]

    bento = fetch_bento(lab.settings.bentos, run.bento.image)
    assert "mlops_example" not in os.environ.get("PYTHONPATH", "")
    with serving(bento, tmp_path / "server") as server:  # which has the example in its Bento, and nowhere else
        answer = httpx.post(f"{server.url}/predict", json={"instances": [{"size": 9.0}, {"size": 1.0}]}).json()
    assert [prediction["label"] for prediction in answer["predictions"]] == [True, False]
    assert [p["probabilities"]["true"] for p in answer["predictions"]] == pytest.approx(loaded[:, 1], abs=1e-6)

    second = Stepwise(lab).until("gate")
    assert second.evaluation.champion_name == f"{NAME}/1"
    assert second.verdict.rules[-2].reason.endswith(f"is the same as {NAME}/1's")


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process", "installed")
def test_without_a_wish_a_model_that_onnx_can_say_is_kept_as_onnx(lab):
    lab.write_usecase(drawn_usecase(model_format=None))
    lab.write_model(MODEL_PY.partition("def train")[0] + TRAIN)
    run = Stepwise(lab).until("train")
    assert (run.trained / "model" / "model.onnx").is_file()
    assert run.candidate.description["format"] == "onnx"


def test_the_guide_shows_the_tested_code():
    guide = (ROOT / "docs" / "extending.md").read_text()
    for path in [EXAMPLE / "pyproject.toml", *sorted((EXAMPLE / "mlops_example").glob("[!_]*.py"))]:
        assert path.read_text().strip() in guide, f"docs/extending.md does not show {path.name} as it is"
