"""Rules about which room may know which, and what a process must not pay for."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    "pandas",
    "sklearn",
    "mlflow",
    "kfp",
    "tensorflow",
    "keras",
    "matplotlib",
    "onnx",
    "pyarrow",
    "bentoml",
    "circus",
    "evidently",
    "sqlalchemy",
)


def test_rooms_import_only_what_lies_below_them():
    """The contracts stand in pyproject.toml, [tool.importlinter]; indirect imports count."""
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert found.returncode == 0, found.stdout


def test_the_page_on_architecture_shows_the_layers_as_they_are():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.split("<!-- layers -->")[1].split("<!-- /layers -->")[0]
    shown = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    assert shown == [re.findall(r"\w+", layer) for layer in layers]


def test_the_serving_extra_brings_no_training_library():
    def requirements(distribution: str) -> set[str]:
        listed = metadata.requires(distribution) or []
        return {re.split(r"[<>=!~;\[ (]", line, maxsplit=1)[0].lower() for line in listed if "extra ==" not in line}

    own = metadata.requires("mlops-blueprint") or []
    waiting = {
        re.split(r"[<>=!~;\[ (]", line, maxsplit=1)[0].lower()
        for line in own
        if "extra == 'serve'" in line.replace('"', "'")
    }
    assert "bentoml" in waiting
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        try:
            waiting |= requirements(name) - reached
        except metadata.PackageNotFoundError:
            continue
    assert not reached & {"kfp", "mlflow", "mlflow-skinny", "tensorflow", "tensorflow-cpu", "scikit-learn", "pandas"}


def test_the_command_line_starts_without_heavy_libraries():
    code = "import sys, pipelines.cli, pipelines.pipeline.steps, pipelines.pipeline.context; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not set(loaded.split()) & set(HEAVY)


def test_no_module_is_two():
    for folder in ("pipelines", "bento"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines; does it hold two things?"
