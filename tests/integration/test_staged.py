"""Production only runs what staging ran: read from a checkout, before a pull request is merged."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.release.promotion_check import HistoryMissing, Unstaged, find_unstaged
from pipelines.release.release import release_path
from tests.integration.test_releases import FLIGHTS, open_at, origin, release
from tests.pipeline_cases import git

__all__ = ["origin"]


@pytest.fixture
def checkout(origin, tmp_path) -> Path:
    """A clone after releases 1 to 3 in staging, the second of which is in production."""
    releases = open_at(origin)
    for number in (1, 2, 3):
        releases.bump(FLIGHTS, "staging", release(number), "x")
        if number == 2:
            releases.merge_promotion(releases.propose_promotion(FLIGHTS))
    git(tmp_path, "clone", "-q", str(origin), "work")
    return tmp_path / "work"


def unknown_to_staging(checkout: Path, usecase: str, **named: str) -> Unstaged | None:
    """What is wrong with production's release, the only one of these that is promoted."""
    found = find_unstaged(checkout, usecase, **named)
    assert len(found) <= 1
    return found[0] if found else None


def put(checkout: Path, environment: str, text: str) -> None:
    path = checkout / release_path(FLIGHTS, environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def commit_all(checkout: Path) -> None:
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "by hand")


def test_what_staging_runs_or_ran_may_be_in_production(checkout):
    assert unknown_to_staging(checkout, FLIGHTS) is None
    for number in (1, 3):
        put(checkout, "production", release(number).to_yaml())
        assert unknown_to_staging(checkout, FLIGHTS) is None, "also an older one: a release can be reverted"


def test_no_production_release_is_fine(checkout):
    assert unknown_to_staging(checkout, "pictures") is None
    (checkout / release_path(FLIGHTS, "production")).unlink()
    assert unknown_to_staging(checkout, FLIGHTS) is None


def test_what_staging_never_ran_is_found(checkout):
    put(checkout, "production", release(4).to_yaml())
    found = unknown_to_staging(checkout, FLIGHTS)
    assert found.path == "apps/flights/production/release.yaml"
    assert "staging has never run flights:4" in found.told


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (f"sha256:{3:064x}", f"sha256:{9:064x}", "image"),
        ("roc_auc=0.7300", "roc_auc=0.9900", "metrics"),
        ("c" * 40, "d" * 40, "code"),
    ],
)
def test_a_release_that_was_edited_on_its_way_is_found_and_the_key_named(checkout, old, new, key):
    put(checkout, "production", release(3).to_yaml().replace(old, new))
    assert f"flights:3 ran in staging with another {key};" in unknown_to_staging(checkout, FLIGHTS).told


def test_a_release_that_cannot_be_read_is_found(checkout):
    put(checkout, "production", "data: [\n")
    assert "no `data`" in unknown_to_staging(checkout, FLIGHTS).told


def test_a_pull_request_cannot_take_the_rule_away(checkout):
    only = "apiVersion: mlops-blueprint/v1\nenvironments:\n  - name: staging\n  - name: production\n"
    (checkout / "environments.yaml").write_text(only)
    put(checkout, "production", release(9).to_yaml())
    commit_all(checkout)
    assert "never run flights:9" in unknown_to_staging(checkout, FLIGHTS, base="origin/main").told
    git(checkout, "push", "-q", "origin", "HEAD:main")
    assert unknown_to_staging(checkout, FLIGHTS, base="origin/main") is None, "once it is merged, runs release there"


def test_a_pull_request_cannot_bring_its_own_proof(checkout):
    for environment in ("staging", "production"):
        put(checkout, environment, release(9).to_yaml())
    commit_all(checkout)
    assert unknown_to_staging(checkout, FLIGHTS) is None
    assert "never run flights:9" in unknown_to_staging(checkout, FLIGHTS, base="origin/main").told


def test_staging_s_past_counts_when_its_release_was_deleted(checkout):
    (checkout / release_path(FLIGHTS, "staging")).unlink()
    commit_all(checkout)
    assert unknown_to_staging(checkout, FLIGHTS) is None


def test_a_shallow_checkout_says_that_it_cannot_know(checkout, origin, tmp_path):
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{origin}", "shallow")
    with pytest.raises(HistoryMissing, match="only the newest commits") as caught:
        unknown_to_staging(tmp_path / "shallow", FLIGHTS)
    assert "fetch-depth: 0" in caught.value.hint
    with pytest.raises(HistoryMissing, match="no commit 'origin/other'"):
        unknown_to_staging(checkout, FLIGHTS, base="origin/other")


def test_as_a_command_it_says_what_is_wrong_and_fails(checkout):
    def run() -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "pipelines.release.promotion_check", "--base", "origin/main"]
        root = str(Path(__file__).parents[2])
        env = {"PYTHONPATH": root, "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)

    assert (run().returncode, run().stdout) == (0, "production runs what staging ran: flights\n")
    put(checkout, "production", release(4).to_yaml())
    assert run().returncode == 1
    assert "apps/flights/production/release.yaml: staging has never run flights:4" in run().stderr
