"""The offline plan: reviewed snapshots, the same at every run, and honest about what it is."""

import ast
import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from blueprint import plan, program
from blueprint.rehearsal import PRETENDED
from blueprint.snapshots import SNAPSHOTS, snapshots, stacks
from tests.clouds import STACKS, rehearsal

FOLDER = Path(__file__).parents[1]


@pytest.mark.parametrize("stack", STACKS)
def test_a_change_of_the_plan_is_seen_in_the_pull_request(stack):
    for path, text in snapshots(stack):
        assert path.is_file(), f"no {path.name}: make plan-snapshots"
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is another plan now: make plan-snapshots"


def test_no_snapshot_is_left_of_a_stack_that_is_gone():
    assert {path.stem for path in SNAPSHOTS.iterdir()} == set(stacks())


@pytest.mark.parametrize("stack", STACKS)
def test_tree_and_json_show_every_resource(stack):
    done = rehearsal(stack)
    tree = plan.as_tree(done)
    document = json.loads(plan.as_json(done))
    assert len(document["resources"]) == len(done.resources)
    assert len(re.findall(r"(├──|└──)", tree)) == len(done.resources)
    assert "offline plan" in document["note"]


def test_no_plan_shows_a_secret():
    for path in SNAPSHOTS.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not [word for word in PRETENDED.values() if len(word) > 2 and word in text]


def test_the_command_prints_json_and_nothing_else(monkeypatch, capsys):
    monkeypatch.setattr(plan, "rehearse", rehearsal)
    assert plan.main(["--cloud", "aws", "--env", "production", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["stack"] == "aws-production"
    assert plan.main(["--cloud", "aws", "--env", "production"]) == 0
    assert capsys.readouterr().out.startswith("# offline plan")


def test_a_stack_that_does_not_exist_is_an_error_in_plain_words(capsys):
    assert plan.main(["--cloud", "gcp", "--env", "local"]) == 1
    error = capsys.readouterr().err
    assert "error: there is no Pulumi.gcp-local.yaml" in error
    assert "hint: stacks: aws-production" in error


def test_the_entry_point_runs_the_program(monkeypatch):
    called = []
    monkeypatch.setattr(program, "run", lambda: called.append(True))
    runpy.run_path(str(FOLDER / "__main__.py"))
    assert called == [True]


SDKS = {"gcp": "pulumi_gcp", "aws": "pulumi_aws", "azure": "pulumi_azure_native"}


def imported(path: Path) -> set[str]:
    """The packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def test_a_cloud_knows_its_own_sdk_only_and_the_rest_knows_none():
    for path in (FOLDER / "blueprint").rglob("*.py"):
        cloud = path.parent.name
        strangers = {sdk for name, sdk in SDKS.items() if name != cloud} & {
            name.split(".")[0] for name in imported(path)
        }
        assert not strangers, f"{path.relative_to(FOLDER)} imports {strangers}"
        others = {f"blueprint.{name}" for name in SDKS if name != cloud}
        assert not [name for name in imported(path) if ".".join(name.split(".")[:2]) in others], path


@pytest.mark.slow
def test_an_existing_cluster_costs_no_cloud_s_import():
    code = "import sys, blueprint.program, blueprint.existing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER)
    assert not set(done.stdout.split()) & set(SDKS.values())


def test_no_module_is_two_and_nothing_shadows_the_sdk():
    for path in FOLDER.glob("blueprint/**/*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{path.relative_to(FOLDER)} has {lines} lines; does it hold two things?"
    assert not (FOLDER / "__init__.py").exists(), "a package called pulumi would hide Pulumi's own"


def test_mypy_reads_every_part_of_the_sdks_that_is_used():
    config = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))
    read = {name for part in config["tool"]["mypy"]["overrides"] for name in part["module"]}
    used = set()
    for path in FOLDER.glob("blueprint/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in SDKS.values():
                used |= {f"{node.module}.{alias.name}.*" for alias in node.names}
    assert len(used) > 20
    assert used <= read


def test_the_tree_in_the_readme_is_there_and_whole():
    tree = re.search(r"```\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert tree
    told = set(re.findall(r"[\w/]+(?:\.py|/)(?= )", tree[1]))
    modules = {path.name if path.is_file() else f"{path.name}/" for path in (FOLDER / "blueprint").iterdir()}
    assert modules - {"__init__.py", "__pycache__/"} <= told
