"""Rules about which room may know which, and what a process must not pay for."""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

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

# room → what it may import of the pipelines; the data's way through them goes one way
ALLOWED = {
    "images": {"errors", "documents", "images"},
    "usecase": {"errors", "metric_catalog", "settings", "documents", "usecase"},
    "data": {"errors", "documents", "usecase", "data", "metric_catalog"},
    "training": {"errors", "documents", "usecase", "data", "training"},
    "evaluation": {"errors", "documents", "usecase", "data", "evaluation", "metric_catalog"},
    "release": {"errors", "documents", "usecase", "settings", "release", "training", "images", "metric_catalog"},
    "monitoring": {
        "errors",
        "documents",
        "settings",
        "usecase",
        "evaluation",
        "metric_catalog",
        "runs",
        "request",
        "replay",
        "monitoring",
    },
    # The one process that knows the whole loop; nobody knows it.
    "monitor": {
        "errors",
        "documents",
        "settings",
        "usecase",
        "evaluation",
        "data",
        "training",
        "release",
        "runs",
        "embedded",
        "monitoring",
        "monitor",
    },
    "compiling": {"errors", "usecase", "images", "pipeline", "compiling"},
    "gitops": {"errors", "documents", "usecase", "settings", "release", "compiling", "gitops"},
    "vertex": {"errors", "documents", "usecase", "settings", "request", "release", "vertex"},
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def test_what_serves_knows_nothing_of_what_trains():
    for path in (ROOT / "bento").rglob("*.py"):
        strangers = {
            name for name in imports(path) if name.split(".")[0] in ("pipelines", "mlflow", "kfp", "tensorflow")
        }
        assert not strangers, f"{path.relative_to(ROOT)} imports {strangers}"


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_knows_only_those_before_it(room):
    for path in (ROOT / "pipelines" / room).rglob("*.py"):
        known = {name.split(".")[1] for name in imports(path) if name.startswith("pipelines.")}
        assert known <= ALLOWED[room], f"{path.relative_to(ROOT)} imports {sorted(known - ALLOWED[room])}"


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
