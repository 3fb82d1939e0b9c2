"""Models in MLflow's registry, on a real SQLite store."""

from pathlib import Path

import pytest

from bento.signature import Signature
from pipelines.registry.mlflow import ModelVersionMissing, aliases, download_model, register, set_alias
from pipelines.runs.journal import Journal, Record
from pipelines.runs.tracking import publish
from tests.tiny_models import write_tabular_model

NAME = "flights"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def a_run(tmp_path: Path, uri: str, name: str) -> str:
    folder = tmp_path / "runs" / name
    Journal(folder).append(Record(step="train", event="finished", time=1.0, seconds=1.0))
    return publish(folder, NAME, uri, tmp_path / "artifacts")


def a_model(tmp_path: Path) -> tuple[Path, Signature]:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    write_tabular_model(folder)
    return folder, Signature.read(folder / "signature.json")


def test_a_registered_model_comes_back_whole_and_answers_through_mlflow(tmp_path, uri):
    import mlflow.pyfunc

    model, signature = a_model(tmp_path)
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    version = register(uri, a_run(tmp_path, uri, "flights-1"), NAME, model, signature, {"gate": "passed"})

    assert str(version) == "flights/1"
    assert aliases(uri, NAME) == {"challenger": "1"}
    fetched = download_model(uri, str(version), tmp_path / "fetched")
    assert {name: (fetched / name).read_bytes() for name in before} == before
    mlflow.set_tracking_uri(uri)
    assert mlflow.pyfunc.load_model(str(fetched)) is not None


def test_a_run_has_one_version_however_often_it_registers(tmp_path, uri):
    model, signature = a_model(tmp_path)
    run = a_run(tmp_path, uri, "flights-1")
    assert register(uri, run, NAME, model, signature, {}) == register(uri, run, NAME, model, signature, {})
    assert str(register(uri, a_run(tmp_path, uri, "flights-2"), NAME, model, signature, {})) == "flights/2"


def test_aliases_follow_what_git_releases(tmp_path, uri):
    model, signature = a_model(tmp_path)
    for number in (1, 2):
        register(uri, a_run(tmp_path, uri, f"flights-{number}"), NAME, model, signature, {})
    set_alias(uri, NAME, "champion", "2")
    set_alias(uri, NAME, "champion", "1")
    assert aliases(uri, NAME) == {"challenger": "2", "champion": "1"}
    assert aliases(uri, "never-registered") == {}


def test_a_version_that_is_not_there_says_which(tmp_path, uri):
    with pytest.raises(ModelVersionMissing, match="flights/7"):
        download_model(uri, "flights/7", tmp_path)
    model, signature = a_model(tmp_path)
    version = register(uri, a_run(tmp_path, uri, "flights-1"), NAME, model, signature, {})
    for stored in (tmp_path / "artifacts").rglob("model.onnx"):
        stored.unlink()
    with pytest.raises(ModelVersionMissing, match=r"flights/1"):
        download_model(uri, str(version), tmp_path / "fetched")
