"""An environment is added by an entry of environments.yaml, `mlops render` and a cluster's folder."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main
from pipelines.gitops.check import check_tree
from pipelines.gitops.render import render, stale_files
from pipelines.gitops.tree import schemas_folder
from pipelines.registry.mlflow import aliases
from pipelines.release.releases import open_releases
from pipelines.runs.index import newest_runs
from pipelines.usecase import usecase_names
from tests.pipeline_cases import NAME, git

ROOT = Path(__file__).parents[2]
WITH_DEV = """\
apiVersion: mlops-blueprint/v1
environments:
  - name: local
    embedded: false
  - name: dev
  - name: staging
    promoted_from: dev
  - name: production
    promoted_from: staging
    releases: review
"""


@pytest.fixture
def mlops(lab, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (lab.root / "environments.yaml").write_text(WITH_DEV)
    git(lab.root, "add", "-A")
    git(lab.root, "commit", "-q", "-m", "an environment to develop in")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--root", str(lab.root), *arguments])

    return call


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of what `mlops check` looks at, as a repository."""
    root = tmp_path / "tree"
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("docs/", "tests/", "pulumi/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "start")
    return root


def add_cluster(root: Path, name: str, like: str) -> None:
    """What docs/environments.md says: copy a cluster's folder, and say its new name where it said the old one."""
    shutil.copytree(root / "clusters" / like, root / "clusters" / name)
    shutil.rmtree(root / "clusters" / name / "models")
    for path in (root / "clusters" / name).rglob("*.yaml"):
        text = path.read_text()
        text = text.replace(f"clusters/{like}", f"clusters/{name}").replace(f": {like}\n", f": {name}\n")
        path.write_text(text.replace(f"{like}.example.com", f"{name}.example.com"))


@pytest.mark.slow
def test_one_entry_render_and_a_clusters_folder_are_a_valid_environment(tree):
    (tree / "environments.yaml").write_text(WITH_DEV)
    add_cluster(tree, "dev", like="production")
    written = render(tree)
    for name in usecase_names(tree):
        assert {f"apps/{name}/dev/kustomization.yaml", f"apps/{name}/dev/settings.yaml"} <= set(written)
        assert f"clusters/dev/models/{name}.yaml" in written
    assert stale_files(tree) == []
    report = check_tree(tree, schemas_folder(ROOT))
    assert report.findings == []
    assert report.judged.startswith("4 clusters valid: local, dev, staging, production; ")


@pytest.mark.slow
def test_a_clusters_folder_without_an_entry_and_a_use_cases_folder_without_one_are_found(tree):
    add_cluster(tree, "dev", like="production")
    shutil.copytree(tree / "apps" / "flight-delays" / "staging", tree / "apps" / "flight-delays" / "dev")
    findings = [str(finding) for finding in check_tree(tree, schemas_folder(ROOT)).findings]
    assert any("clusters/dev" in one and "no environment dev" in one for one in findings)
    assert any("apps/flight-delays/dev" in one and "no such environment" in one for one in findings)


@pytest.mark.slow
def test_a_run_releases_to_dev_and_its_model_is_promoted_from_one_to_the_next(lab, mlops):
    done = mlops("run", NAME, "--no-wait")
    assert done.exit_code == 0, done.output
    (run,) = newest_runs(lab.settings.runs).runs
    assert run.request.environment == "dev"
    releases = open_releases(lab.settings)
    released = releases.current(NAME, "dev")
    assert released is not None
    assert releases.current(NAME, "staging") is None

    early = mlops("promote", NAME, "--to", "production", "--yes", "--force", "--no-wait")
    assert "tiny has no release in staging" in early.output
    unclear = mlops("promote", NAME, "--yes")
    assert "more than one promotion: dev → staging, staging → production" in unclear.output
    first = mlops("promote", NAME, "--from", "dev", "--yes", "--force", "--no-wait")
    assert first.exit_code == 0, first.output
    assert releases.current(NAME, "staging") == released
    assert releases.current(NAME, "production") is None
    second = mlops("promote", NAME, "--to", "production", "--yes", "--force", "--no-wait")
    assert second.exit_code == 0, second.output
    assert releases.current(NAME, "production") == released
    known = aliases(lab.settings.tracking_uri, NAME)
    assert {known[alias] for alias in ("champion", "staging", "production")} == {"1"}
    subjects = git(Path(lab.settings.remote), "log", "--format=%s", "-3", "main").splitlines()
    assert [one.split(" in ")[1] for one in subjects] == ["production", "staging", "dev"]


def test_no_run_releases_to_what_takes_anothers_releases(mlops, monkeypatch):
    refused = mlops("run", NAME, "--environment", "staging")
    assert refused.exit_code == 2
    assert "staging takes what dev has run" in refused.output
    monkeypatch.setenv("MLOPS_ENVIRONMENT", "production")
    assert "production takes what staging has run" in mlops("run", NAME).output


def test_environments_are_listed_in_order_and_by_what_they_take(mlops):
    listed = mlops("environments").stdout
    names = [line.split()[0] for line in listed.splitlines()[2:]]
    assert names == ["local", "dev", "staging", "production"]
    assert "from staging, by review" in listed
    assert mlops("environments", "--promoted-from", "staging").stdout == "production\n"
    assert mlops("environments", "--promoted-from", "production").stdout == ""
