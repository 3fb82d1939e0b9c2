"""A small tree without a fault, and the same tree with one fault at a time: each is found, and told in words that help.

To add one, add a file to broken/: what is changed in good/, and a part of what must be said.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipelines.gitops.check import check_tree
from pipelines.gitops.checks.order import CLUSTER_WIDE
from pipelines.gitops.render import render
from pipelines.gitops.tree import schemas_folder
from pipelines.usecase.new import new_usecase

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAULTS = sorted((HERE / "broken").glob("*.yaml"))
SCHEMAS = schemas_folder(ROOT)
BY_SCHEMA = {"a-misspelt-field-of-flux", "a-number-that-is-a-text", "a-chart-value-that-does-not-exist"}
"""Found by definitions and charts that are other projects' data."""


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """good/, with the model server's real parts and a use case as `mlops new` makes it."""
    root = tmp_path_factory.mktemp("tree") / "good"
    shutil.copytree(HERE / "good", root)
    shutil.copytree(ROOT / "apps" / "components", root / "apps" / "components")
    new_usecase(root, "tiny", "tabular")
    render(root)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "a good tree"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


def change(root: Path, *, file: str, replace: str = "", by: str = "", write: str = "", delete: bool = False) -> None:
    path = root / file
    if delete:
        path.unlink()
    elif write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write)
    else:
        text = path.read_text()
        assert replace in text, f"{file} does not have {replace!r}"
        path.write_text(text.replace(replace, by))


def test_the_good_tree_is_found_good(good):
    report = check_tree(good, SCHEMAS)
    assert report.findings == []
    assert report.judged.startswith("2 clusters valid: local, staging; ")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda path: path.stem)
def test_the_fault_is_found(fault, good, tmp_path):
    if fault.stem in BY_SCHEMA and not (SCHEMAS / "crds").is_dir():
        pytest.skip(f"needs definitions and charts; there is no {SCHEMAS} (docs/checks.md)")
    told = yaml.safe_load(fault.read_text())
    root = tmp_path / "tree"
    shutil.copytree(good, root)
    for each in told["changes"]:
        change(root, **each)
    findings = [str(finding) for finding in check_tree(root, SCHEMAS).findings]
    assert any(told["expect"] in finding for finding in findings), findings or "nothing was found"


def test_which_kinds_are_in_no_namespace_is_as_their_definitions_say():
    if not (SCHEMAS / "crds").is_dir():
        pytest.skip(f"needs definitions; there are none in {SCHEMAS} (docs/checks.md)")
    text = "\n".join(path.read_text() for path in (SCHEMAS / "crds").glob("*/*.yaml"))
    scopes = dict(re.findall(r"^    kind: (\S+)$(?:\n(?!---).*)*?\n  scope: (\S+)$", text, re.MULTILINE))
    assert len(scopes) > 50
    assert {kind for kind, scope in scopes.items() if scope == "Cluster"} <= CLUSTER_WIDE
    assert not CLUSTER_WIDE & {kind for kind, scope in scopes.items() if scope == "Namespaced"}
