"""The embedded platform's origin: a copy of the checkout that takes releases and never gives anything back to it."""

from pathlib import Path

import pytest

from pipelines.embedded.origin import NotACheckout, code_version, ensure_origin
from pipelines.git.repository import Repository
from pipelines.release.releases import Releases
from tests.integration.test_releases import FLIGHTS, release
from tests.pipeline_cases import git


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "apps" / FLIGHTS).mkdir(parents=True)
    (folder / "apps" / FLIGHTS / "usecase.yaml").write_text("name: flights\n")
    git(folder, "init", "-q")
    commit(folder, "start")
    return folder


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def releases_of(origin: Path) -> Releases:
    return Releases(Repository(str(origin), "main", origin.parent / "cache" / "test.git"))


def everything_about(checkout: Path) -> list[str]:
    return [
        git(checkout, "status", "--porcelain", "--branch"),
        git(checkout, "for-each-ref"),
        git(checkout, "config", "--list", "--local"),
        (checkout / ".git" / "HEAD").read_text(),
    ]


@pytest.mark.parametrize("kind", ["full", "shallow", "detached"])
def test_it_begins_as_the_checkouts_last_commit_whatever_kind_of_checkout(checkout, tmp_path, kind):
    commit_two = None
    (checkout / "apps" / "more.txt").write_text("more\n")
    commit_two = commit(checkout, "second")
    source = checkout
    if kind == "shallow":
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{checkout}", "shallow")
        source = tmp_path / "shallow"
    if kind == "detached":
        git(checkout, "checkout", "-q", "--detach")
    before = everything_about(source)

    origin = tmp_path / "state" / "origin.git"
    assert ensure_origin(origin, source) == commit_two
    assert git(origin, "rev-parse", "main") == commit_two
    assert git(origin, "show", "main:apps/more.txt") == "more"
    assert releases_of(origin).bump(FLIGHTS, "staging", release(1), "x")
    assert everything_about(source) == before


def test_new_commits_of_the_checkout_come_in_and_the_releases_stay(checkout, tmp_path):
    origin = tmp_path / "origin.git"
    ensure_origin(origin, checkout)
    releases = releases_of(origin)
    first = releases.bump(FLIGHTS, "staging", release(1), "x")
    (checkout / "apps" / FLIGHTS / "usecase.yaml").write_text("name: flights\ntask: regression\n")
    new = commit(checkout, "change the use case")

    ensure_origin(origin, checkout)
    assert git(origin, "show", f"main:apps/{FLIGHTS}/usecase.yaml").endswith("task: regression")
    assert releases.current(FLIGHTS, "staging") == release(1)
    assert git(origin, "merge-base", "--is-ancestor", new, "main") == ""
    assert [deployment.commit for deployment in releases.history(FLIGHTS, "staging")] == [first]

    second = releases.bump(FLIGHTS, "staging", release(2), "x")
    assert ensure_origin(origin, checkout) == second, "nothing new, no commit"


def test_a_use_case_that_the_checkout_deleted_keeps_its_release_until_that_is_taken_back(checkout, tmp_path):
    origin = tmp_path / "origin.git"
    ensure_origin(origin, checkout)
    releases = releases_of(origin)
    releases.bump(FLIGHTS, "staging", release(1), "x")
    (checkout / "apps" / FLIGHTS / "usecase.yaml").unlink()
    (checkout / "apps" / "keep.txt").write_text("")
    commit(checkout, "remove the use case")
    ensure_origin(origin, checkout)
    assert "usecase.yaml" not in git(origin, "ls-tree", "-r", "--name-only", "main")
    assert releases.current(FLIGHTS, "staging") == release(1)


def test_the_code_of_a_run_is_named_by_commit_and_marked_when_it_is_not_committed(checkout, tmp_path):
    head = git(checkout, "rev-parse", "HEAD")
    assert code_version(checkout) == head
    (checkout / "notes.txt").write_text("nothing that a model is made of\n")
    assert code_version(checkout) == head
    (checkout / "apps" / "new.py").write_text("")
    assert code_version(checkout) == f"{head}+dirty"
    assert code_version(tmp_path) == "unknown"


def test_a_folder_that_is_no_checkout_is_told_what_to_do(tmp_path):
    with pytest.raises(NotACheckout, match="git init"):
        ensure_origin(tmp_path / "origin.git", tmp_path)
    assert not (tmp_path / "origin.git").exists()


def test_a_half_made_origin_is_made_anew(checkout, tmp_path):
    origin = tmp_path / "origin.git"
    origin.mkdir()
    (origin / "objects").mkdir()
    assert ensure_origin(origin, checkout) == git(checkout, "rev-parse", "HEAD")
    assert list(tmp_path.glob(".origin-*")) == []
