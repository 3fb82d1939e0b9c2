"""Releases as commits, on real repositories: what lands, what is refused, and what ten at once do."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from pipelines.git.errors import BranchMissing, PushDenied, RemoteUnreachable
from pipelines.git.process import GitMissing, run_git
from pipelines.git.repository import Repository
from pipelines.release.release import Release, ReleaseInvalid, release_path
from pipelines.release.releases import (
    AlreadyPromoted,
    NothingReleased,
    NothingToRollBack,
    NotPromotable,
    Releases,
    ReleaseWithdrawn,
)
from tests.pipeline_cases import git
from tests.release_cases import FLIGHTS, release

__all__ = ["FLIGHTS", "release"]


@pytest.fixture
def origin(tmp_path) -> Path:
    checkout = tmp_path / "seed"
    checkout.mkdir()
    git(checkout, "init", "-q")
    (checkout / "README.md").write_text("start\n")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "start")
    git(tmp_path, "clone", "-q", "--bare", str(checkout), "origin.git")
    return tmp_path / "origin.git"


def open_at(origin: Path, cache: str = "cache.git") -> Releases:
    return Releases(Repository(str(origin), "main", origin.parent / cache))


@pytest.fixture
def releases(origin) -> Releases:
    return open_at(origin)


def subjects(origin: Path) -> list[str]:
    return git(origin, "log", "--format=%s", "main").splitlines()


# --- release.yaml ------------------------------------------------------------------------------------------


def test_a_release_is_a_config_map_that_stays_out_of_the_cluster_and_reads_back():
    text = release(7).to_yaml()
    document = yaml.safe_load(text)
    assert text.startswith("# Written by `mlops`")
    assert len(text.splitlines()) <= 17
    assert list(document) == ["apiVersion", "kind", "metadata", "data"]
    assert document["metadata"]["annotations"] == {
        "config.kubernetes.io/local-config": "true",
        "mlops-blueprint/schema": "1",
    }
    assert all(isinstance(value, str) for value in document["data"].values()), "kustomize copies strings"
    assert Release.from_yaml(text, "release.yaml") == release(7)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("@sha256:", ":latest", "data.image: expected an image by digest"),
        ("bento: flights:7", "bento: flights", "data.bento: expected a Bento tag"),
        ("  model: flights/7\n", "", "data.model"),
        ("roc_auc=0.7700", "roc_auc", "data.metrics: expected name=number pairs"),
        ("kind: ConfigMap", "kind: Secret", "expected a ConfigMap"),
        ("data:\n", "data: [\n", "not valid YAML"),
        ('schema: "1"', "schema: first", "metadata.annotations.mlops-blueprint/schema: expected a whole number"),
    ],
)
def test_a_release_file_that_was_edited_badly_names_file_and_key(old, new, told):
    text = release(7).to_yaml()
    assert old in text
    with pytest.raises(ReleaseInvalid, match=r"apps/flights/staging/release\.yaml") as caught:
        Release.from_yaml(text.replace(old, new), "apps/flights/staging/release.yaml")
    assert told in str(caught.value)


# --- bumps -------------------------------------------------------------------------------------------------


def test_a_bump_changes_one_file_and_says_what_it_is(origin, releases):
    releases.bump(FLIGHTS, "staging", release(6), "manual")
    commit = releases.bump(FLIGHTS, "staging", release(7), "weekly schedule")
    assert git(origin, "show", "--name-only", "--format=", commit) == release_path(FLIGHTS, "staging")
    assert subjects(origin)[:2] == [
        "release(flights): 6 → 7 in staging",
        "release(flights): first release, 6 in staging",
    ]
    trailers = releases.repository.log(at=releases.repository.fetch(), limit=1)[0].trailers
    assert trailers == {
        "Bento": "flights:7",
        "Image-Digest": f"sha256:{7:064x}",
        "Model": "flights/7",
        "MLflow-Run": f"{7:032x}",
        "Data": "123456789012",
        "Code": "c" * 40,
        "Reason": "weekly schedule",
    }


def test_the_same_release_again_is_no_commit(origin, releases):
    assert releases.bump(FLIGHTS, "staging", release(7), "first")
    assert releases.bump(FLIGHTS, "staging", release(7), "again") is None
    assert len(subjects(origin)) == 2


def test_a_broken_release_file_stops_nobody_and_is_replaced_by_the_next_bump(origin, releases, tmp_path):
    releases.bump("pictures", "staging", release(1, "pictures"), "manual")
    git(tmp_path, "clone", "-q", str(origin), "work")
    broken = tmp_path / "work" / release_path(FLIGHTS, "staging")
    broken.parent.mkdir(parents=True)
    broken.write_text("not: a release\n")
    git(tmp_path / "work", "add", "-A")
    git(tmp_path / "work", "commit", "-q", "-m", "edited by hand")
    git(tmp_path / "work", "push", "-q")
    found, problems = releases.all(releases.repository.fetch())
    assert list(found) == [("pictures", "staging")]
    assert list(problems) == [release_path(FLIGHTS, "staging")]
    assert releases.bump(FLIGHTS, "staging", release(7), "mend")
    assert releases.current(FLIGHTS, "staging") == release(7)


@pytest.mark.parametrize("shared_cache", [False, True], ids=["caches of their own", "one cache"])
def test_ten_bumps_at_once_all_land_on_one_line_of_history(origin, shared_cache):
    def bump(number: int) -> str | None:
        name = FLIGHTS if number % 2 else f"usecase-{number}"
        cache = "shared.git" if shared_cache else f"cache-{number}.git"
        return open_at(origin, cache).bump(name, "staging", release(number, name), f"number {number}")

    with ThreadPoolExecutor(10) as pool:
        commits = list(pool.map(bump, range(1, 11)))

    assert all(commits)
    assert len(set(commits)) == 10
    assert len(subjects(origin)) == 11
    assert git(origin, "log", "--merges", "--format=%h", "main") == ""
    last = open_at(origin)
    found, problems = last.all(last.repository.fetch())
    assert not problems
    assert {name for name, _ in found} == {FLIGHTS, *(f"usecase-{number}" for number in (2, 4, 6, 8, 10))}
    assert len(open_at(origin).history(FLIGHTS, "staging")) == 5, "no bump of the same use case was lost"


# --- when the remote is not as it should be ----------------------------------------------------------------


def test_a_remote_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RemoteUnreachable, match=r"nowhere\.git"):
        open_at(tmp_path / "nowhere.git").bump(FLIGHTS, "staging", release(1), "x")


def test_a_branch_that_is_not_there_is_named(origin, tmp_path):
    with pytest.raises(BranchMissing, match="'release'"):
        Releases(Repository(str(origin), "release", tmp_path / "c.git")).current(FLIGHTS, "staging")


def test_a_hook_that_refuses_is_told_and_nothing_changes(origin, releases):
    hook = origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'no releases on Fridays' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(PushDenied, match="no releases on Fridays"):
        releases.bump(FLIGHTS, "staging", release(1), "x")
    assert subjects(origin) == ["start"]
    hook.unlink()
    assert releases.bump(FLIGHTS, "staging", release(1), "x")


BUMP = """
import sys
from pathlib import Path
from tests.integration.test_releases import open_at, release
open_at(Path(sys.argv[1])).bump("flights", "staging", release(1), "killed")
"""


def test_killed_while_it_pushes_nothing_half_done_stays_and_it_can_be_repeated(origin, releases):
    started = origin.parent / "started"
    hook = origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {started}\nsleep 30\n")
    hook.chmod(0o755)
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", BUMP, str(origin)], env={**os.environ, "PYTHONPATH": str(root)}, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert started.exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    hook.unlink()
    assert subjects(origin) == ["start"]
    assert releases.bump(FLIGHTS, "staging", release(1), "again")
    assert releases.current(FLIGHTS, "staging") == release(1)


def test_without_git_it_says_how_to_get_it(origin, releases, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitMissing, match="apt-get install git"):
        releases.current(FLIGHTS, "staging")


def test_a_token_is_in_no_argument_and_no_error(origin, monkeypatch, tmp_path):
    monkeypatch.setenv("MLOPS_GIT_TOKEN", "s3cr3t-token")
    recorded = []
    original = subprocess.run

    def spy(command, **options):
        recorded.append(" ".join(command))
        return original(command, **options)

    monkeypatch.setattr(subprocess, "run", spy)
    remote = Repository("https://127.0.0.1:9/none.git", "main", tmp_path / "c.git")
    with pytest.raises(RemoteUnreachable) as caught:
        remote.fetch()
    assert recorded
    assert not any("s3cr3t" in text for text in [*recorded, str(caught.value)])


# --- rollback ----------------------------------------------------------------------------------------------


def test_a_rollback_goes_back_and_again_further_back_never_forward(origin, releases):
    for number in (1, 2, 3):
        releases.bump(FLIGHTS, "staging", release(number), "schedule")
    done = releases.rollback(FLIGHTS, "staging", "roc_auc fell")
    assert (done.withdrawn, done.restored) == (release(3), release(2))
    assert releases.current(FLIGHTS, "staging") == release(2)
    trailers = releases.repository.log(at=done.commit, limit=1)[0].trailers
    assert trailers["Withdrawn"] == "flights:3"
    assert trailers["Bento"] == "flights:2"
    assert releases.rollback(FLIGHTS, "staging", "still bad").restored == release(1)
    with pytest.raises(NothingToRollBack, match="flights:1"):
        releases.rollback(FLIGHTS, "staging", "desperate")
    assert releases.withdrawn(FLIGHTS, "staging") == {"flights:2", "flights:3"}
    assert [d.kind for d in releases.history(FLIGHTS, "staging")] == ["rollback", "rollback", *["release"] * 3]


def test_what_was_rolled_back_is_not_released_again_unless_forced(releases):
    releases.bump(FLIGHTS, "staging", release(1), "x")
    releases.bump(FLIGHTS, "staging", release(2), "x")
    releases.rollback(FLIGHTS, "staging", "bad")
    with pytest.raises(ReleaseWithdrawn, match="flights:2 was rolled back"):
        releases.bump(FLIGHTS, "staging", release(2), "try again")
    assert releases.bump(FLIGHTS, "staging", release(2), "sure", force=True)
    assert releases.withdrawn(FLIGHTS, "staging") == set()


def test_nothing_released_cannot_be_rolled_back(releases):
    with pytest.raises(NothingReleased):
        releases.rollback(FLIGHTS, "staging", "x")


# --- promotion ---------------------------------------------------------------------------------------------


def test_a_promotion_is_a_branch_of_one_file_and_then_a_commit(origin, releases):
    releases.bump(FLIGHTS, "staging", release(1), "x")
    promotion = releases.propose_promotion(FLIGHTS)
    assert promotion.branch == "promote/flights"
    assert git(origin, "rev-parse", "promote/flights") == promotion.commit
    assert "+  bento: flights:1" in promotion.diff
    assert releases.current(FLIGHTS, "production") is None
    releases.merge_promotion(promotion)
    assert releases.current(FLIGHTS, "production") == releases.current(FLIGHTS, "staging")
    assert subjects(origin)[0] == "promote(flights): first release, 1 in production"
    assert git(origin, "branch", "--list", "promote/*") == ""
    with pytest.raises(AlreadyPromoted):
        releases.propose_promotion(FLIGHTS)


def test_production_gets_nothing_that_staging_has_not_run_or_has_taken_back(releases):
    with pytest.raises(NothingReleased):
        releases.propose_promotion(FLIGHTS)
    releases.bump(FLIGHTS, "staging", release(1), "x")
    releases.bump(FLIGHTS, "staging", release(2, code="c" * 40 + "+dirty"), "x")
    with pytest.raises(NotPromotable, match="uncommitted code"):
        releases.propose_promotion(FLIGHTS)
    promotion = releases.propose_promotion(FLIGHTS, force=True)
    releases.rollback(FLIGHTS, "staging", "bad after all")
    with pytest.raises(NotPromotable, match="rolled back in staging"):
        releases.merge_promotion(promotion)
    assert releases.current(FLIGHTS, "production") is None


def test_a_promotion_survives_other_commits_in_between(releases):
    releases.bump(FLIGHTS, "staging", release(1), "x")
    promotion = releases.propose_promotion(FLIGHTS)
    releases.bump("pictures", "staging", release(1, "pictures"), "x")
    releases.bump(FLIGHTS, "staging", release(2), "x")
    releases.merge_promotion(promotion)
    assert releases.current(FLIGHTS, "production") == release(1), "what was proposed, not what came later"


def merge_into_main(origin: Path, *parents: str, file: str) -> None:
    """A merge by somebody's hands that leaves this as staging's release."""
    work = origin.parent / "by-hand"
    git(origin.parent, "clone", "-q", str(origin), work.name)
    (work / release_path(FLIGHTS, "staging")).write_text(file)
    git(work, "add", "-A")
    arguments = [part for parent in parents for part in ("-p", parent)]
    merged = git(work, "commit-tree", git(work, "write-tree"), *arguments, "-m", "merge by hand")
    git(work, "push", "-q", "origin", f"{merged}:refs/heads/main")


@pytest.mark.parametrize("kept", [1, 3], ids=["one side's", "a third"])
def test_the_history_is_what_was_written_not_what_merges_carried(origin, releases, kept):
    first = releases.bump(FLIGHTS, "staging", release(1), "x")
    releases.bump(FLIGHTS, "staging", release(2), "x")
    back = releases.rollback(FLIGHTS, "staging", "bad").commit
    side = git(
        origin, "-c", "user.name=t", "-c", "user.email=t@t", "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "s"
    )
    merge_into_main(origin, side, back, file=release(kept).to_yaml())
    written = [deployment.release.version for deployment in releases.history(FLIGHTS, "staging")]
    assert written == (["1", "2", "1"] if kept == 1 else ["3", "1", "2", "1"])
    assert releases.withdrawn(FLIGHTS, "staging") == {"flights:2"}, "though a side that never knew of it came first"


def test_two_promotions_at_once_are_one_proposal(origin, releases):
    releases.bump(FLIGHTS, "staging", release(1), "x")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: open_at(origin, f"cache-{n}.git").propose_promotion(FLIGHTS), range(4)))
    assert {promotion.commit for promotion in made} == {git(origin, "rev-parse", "promote/flights")}


def test_git_of_this_machine_is_not_asked_for_a_name_or_a_signature(origin, releases, monkeypatch, tmp_path):
    config = tmp_path / "gitconfig"
    config.write_text(
        "[commit]\n\tgpgsign = true\n[user]\n\tuseConfigOnly = true\n[core]\n\thooksPath = /nonexistent\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert releases.bump(FLIGHTS, "staging", release(1), "x")
    assert run_git(["log", "-1", "--format=%an", "main"], cwd=origin).stdout.strip() == "mlops"
