"""Histories on real repositories: read in bulk, whatever bytes are in them, and true after any sequence of acts."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from pipelines.git.errors import LockLeft
from pipelines.git.repository import Repository
from pipelines.release.lineage import NothingFound, render, trace_lineage
from pipelines.release.release import release_path
from pipelines.release.releases import NothingReleased, NothingToRollBack, Releases, ReleaseWithdrawn
from pipelines.settings import Settings
from tests.pipeline_cases import git
from tests.release_cases import FLIGHTS, Import, import_commits, release, released, slow_history

PATH = release_path(FLIGHTS, "staging")


def releases_of(origin: Path, cache: str = "cache.git") -> Releases:
    return Releases(Repository(str(origin), "main", origin.parent / cache))


def versions(releases: Releases) -> list[str]:
    return [deployment.release.version for deployment in releases.history(FLIGHTS, "staging")]


def commit_by_hand(origin: Path, files: dict[str, str | None], message: str) -> str:
    """What somebody does in a checkout of their own."""
    with tempfile.TemporaryDirectory(dir=origin.parent) as scratch:
        work = Path(scratch) / "work"
        git(origin.parent, "clone", "-q", str(origin), str(work))
        for name, text in files.items():
            if text is None:
                (work / name).unlink()
            else:
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_text(text)
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", message)
        git(work, "push", "-q", "origin", "HEAD:main")
        return git(work, "rev-parse", "HEAD")


def revert_by_hand(origin: Path, commit: str) -> None:
    with tempfile.TemporaryDirectory(dir=origin.parent) as scratch:
        git(origin.parent, "clone", "-q", str(origin), f"{scratch}/work")
        git(Path(scratch) / "work", "revert", "--no-edit", commit)
        git(Path(scratch) / "work", "push", "-q", "origin", "HEAD:main")


@pytest.fixture
def origin(tmp_path) -> Path:
    return import_commits(tmp_path / "origin.git", [Import(b"start\n", {"README.md": b"start\n"})])


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The git commands that were started."""
    started: list[str] = []
    original = subprocess.run

    def spy(command, **options):
        started.append(next(word for word in command[1:] if not word.startswith("-") and "=" not in word))
        return original(command, **options)

    monkeypatch.setattr(subprocess, "run", spy)
    return started


# --- what a history holds ----------------------------------------------------------------------------------


def test_a_bulk_reading_gives_what_reading_commit_by_commit_gives(tmp_path):
    commits = [released(release(n)) for n in (1, 2, 3)]
    commits.insert(2, Import(b"by hand\n", {PATH: b"data: [\n"}))
    commits.insert(3, Import(b"gone\n", {PATH: None}))
    origin = import_commits(tmp_path / "origin.git", commits)
    found = releases_of(origin).history(FLIGHTS, "staging")
    assert [(one.commit, one.release.bento) for one in found] == slow_history(origin, FLIGHTS, "staging")


def test_a_file_that_nobody_can_read_is_left_out_and_named(tmp_path):
    broken = [
        Import(b"not YAML\n", {PATH: b"data: [\n"}),
        Import(b"not UTF-8\n", {PATH: release(2).to_yaml().encode().replace(b"flights/2", b"fl\xffghts/2")}),
        Import(b"another's\n", {PATH: release(2, "pictures").to_yaml().encode()}),
    ]
    origin = import_commits(tmp_path / "origin.git", [released(release(1)), *broken, released(release(3))])
    history = releases_of(origin).read_history(FLIGHTS, "staging")
    assert [deployment.release.version for deployment in history.deployments] == ["3", "1"]
    assert [one.problem.partition(": ")[2][:12] for one in history.unreadable] == [
        "data.bento: ",
        "not UTF-8 te",
        "not valid YA",
    ]
    assert history.current is history.deployments[0]


def test_messages_and_names_are_bytes_and_end_no_record(tmp_path):
    odd = Import(
        b"hand \x1e\x1f edit \xff\xfe\n\nReason: because \x1e of \x1f this \xc3\n",
        {PATH: release(2).to_yaml().encode()},
        author=b"J\xf6rg \x1e \x1f",
    )
    origin = import_commits(tmp_path / "origin.git", [released(release(1)), odd, released(release(3))])
    found = releases_of(origin).history(FLIGHTS, "staging")
    assert [deployment.release.version for deployment in found] == ["3", "2", "1"]
    assert found[1].reason == "because \x1e of \x1f this \ufffd"


def test_the_git_config_of_this_machine_does_not_change_what_is_read(origin, monkeypatch, tmp_path):
    releases = releases_of(origin)
    for number in (1, 2):
        releases.bump(FLIGHTS, "staging", release(number), "x")
    config = tmp_path / "gitconfig"
    config.write_text(
        "[log]\n\tfollow = true\n\tshowSignature = true\n\tdiffMerges = m\n[color]\n\tui = always\n"
        "[diff]\n\trenames = copies\n[core]\n\tquotePath = true\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert versions(releases_of(origin, "other.git")) == ["2", "1"]


def test_a_deleted_release_ends_what_is_current_and_stays_in_the_history(origin):
    releases = releases_of(origin)
    releases.bump(FLIGHTS, "staging", release(1), "x")
    commit_by_hand(origin, {PATH: None}, "no longer served")
    history = releases.read_history(FLIGHTS, "staging")
    assert history.current is None
    assert [deployment.release.version for deployment in history.deployments] == ["1"]
    assert not history.withdrawn, "it was not taken back, only stopped"


def test_line_ends_of_another_machine_are_read(origin):
    commit_by_hand(origin, {PATH: release(1).to_yaml().replace("\n", "\r\n")}, "edited elsewhere")
    assert versions(releases_of(origin)) == ["1"]


# --- taken back by hand ------------------------------------------------------------------------------------


def test_what_git_revert_took_back_is_not_rolled_back_to_and_not_released_again(origin):
    releases = releases_of(origin)
    for number in (1, 2, 3):
        last = releases.bump(FLIGHTS, "staging", release(number), "x")
    revert_by_hand(origin, last)
    history = releases.read_history(FLIGHTS, "staging")
    assert (history.current.release, history.current.kind, history.current.withdrawn) == (
        release(2),
        "rollback",
        "flights:3",
    )
    assert history.withdrawn == {"flights:3"}
    assert releases.rollback(FLIGHTS, "staging", "bad too").restored == release(1), "never the one taken back"
    with pytest.raises(ReleaseWithdrawn):
        releases.bump(FLIGHTS, "staging", release(3), "nightly")


def test_a_revert_of_a_rollback_releases_again(origin):
    releases = releases_of(origin)
    for number in (1, 2):
        releases.bump(FLIGHTS, "staging", release(number), "x")
    revert_by_hand(origin, releases.rollback(FLIGHTS, "staging", "bad").commit)
    history = releases.read_history(FLIGHTS, "staging")
    assert (history.current.release, history.withdrawn) == (release(2), frozenset())
    assert releases.rollback(FLIGHTS, "staging", "bad after all").restored == release(1)


def test_a_squashed_revert_that_names_no_commit_takes_back_too(origin):
    releases = releases_of(origin)
    for number in (1, 2):
        releases.bump(FLIGHTS, "staging", release(number), "x")
    commit_by_hand(origin, {PATH: release(1).to_yaml()}, "Reverts acme/models#11 (#12)")
    assert releases.withdrawn(FLIGHTS, "staging") == {"flights:2"}


# --- any sequence of acts ----------------------------------------------------------------------------------


class Staging:
    """What should be true of one place, told act by act, beside the repository that it happens in."""

    def __init__(self, origin: Path) -> None:
        self.origin, self.releases = origin, releases_of(origin)
        self.states: list[int | None] = [None]
        self.took_back: list[bool] = [False]
        self.withdrawn: set[int] = set()
        self.promoted: int | None = None
        self.newest = 0

    @property
    def current(self) -> int | None:
        return self.states[-1]

    def changed(self, now: int | None, took_back: bool) -> None:
        self.withdrawn -= {now}
        self.states.append(now)
        self.took_back.append(took_back)

    def bump(self) -> None:
        self.newest += 1
        self.releases.bump(FLIGHTS, "staging", release(self.newest), "x")
        self.changed(self.newest, took_back=False)

    def bump_first(self) -> None:
        try:
            made = self.releases.bump(FLIGHTS, "staging", release(1), "again")
        except ReleaseWithdrawn:
            assert 1 in self.withdrawn
            return
        assert 1 not in self.withdrawn
        assert (made is None) == (self.current == 1)
        if made:
            self.newest = max(1, self.newest)
            self.changed(1, took_back=False)

    def rollback(self) -> None:
        before = self.current
        try:
            done = self.releases.rollback(FLIGHTS, "staging", "bad")
        except NothingReleased:
            assert before is None
            return
        except NothingToRollBack:
            assert {one for one in self.states if one} <= self.withdrawn | {before}
            return
        restored = int(done.restored.version)
        assert restored in self.states
        assert restored not in self.withdrawn | {before}, "rollback never restores what was taken back"
        self.withdrawn.add(before)
        self.changed(restored, took_back=True)

    def revert(self) -> None:
        """By hand, the last commit that changed staging's release."""
        if len(self.states) == 1:
            return
        before, now, undoes = self.current, self.states[-2], self.took_back[-1]
        revert_by_hand(self.origin, git(self.origin, "log", "-1", "--format=%H", "main", "--", PATH))
        takes_back = before is not None and not undoes
        if takes_back:
            self.withdrawn.add(before)
        self.changed(now, took_back=takes_back)

    def promote(self) -> None:
        if self.current is None or self.current == self.promoted:
            return
        self.releases.merge_promotion(self.releases.propose_promotion(FLIGHTS))
        self.promoted = self.current

    def check(self) -> None:
        history = self.releases.read_history(FLIGHTS, "staging")
        fresh = releases_of(self.origin, "fresh.git").read_history(FLIGHTS, "staging")
        assert history == fresh, "what is remembered is what is read"
        assert git(self.origin, "log", "--merges", "--format=%h", "main") == "", "one line of history"
        assert [int(one.release.version) for one in reversed(history.deployments)] == [s for s in self.states if s]
        assert (int(history.current.release.version) if history.current else None) == self.current
        assert {int(bento.split(":")[1]) for bento in history.withdrawn} == self.withdrawn
        produced = self.releases.read_history(FLIGHTS, "production").current
        assert (int(produced.release.version) if produced else None) == self.promoted


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.sampled_from(["bump", "bump", "bump_first", "rollback", "rollback", "revert", "revert", "promote"]),
        min_size=4,
        max_size=9,
    )
)
def test_any_sequence_of_acts_keeps_one_line_that_explains_every_state(acts):
    with tempfile.TemporaryDirectory() as scratch:
        origin = import_commits(Path(scratch) / "origin.git", [Import(b"start\n", {"README.md": b"start\n"})])
        staging = Staging(origin)
        staging.bump()
        for act in acts:
            getattr(staging, act)()
        staging.check()


# --- what it costs -----------------------------------------------------------------------------------------


def test_a_history_is_read_by_as_many_processes_whether_long_or_short(tmp_path, asked):
    used = []
    for length in (2, 40):
        origin = import_commits(tmp_path / f"{length}.git", [released(release(n)) for n in range(1, length + 1)])
        releases = releases_of(origin, f"cache-{length}.git")
        releases.repository.fetch()
        asked.clear()
        assert len(releases.history(FLIGHTS, "staging")) == length
        used.append(list(asked))
    assert used[0] == used[1]
    assert used[1].count("log") == used[1].count("cat-file") == 1


def test_asking_the_same_history_again_reads_nothing_again(tmp_path, asked):
    origin = import_commits(tmp_path / "origin.git", [released(release(n)) for n in (1, 2, 3)])
    releases = releases_of(origin)
    releases.history(FLIGHTS, "staging")
    asked.clear()
    assert releases.find(FLIGHTS, "staging", "flights/2") == release(2)
    assert releases.withdrawn(FLIGHTS, "staging") == set()
    assert set(asked) == {"fetch", "rev-parse"}, "only whether there is something new"


@pytest.mark.parametrize("how", ["a bump", "a merge", "a branch that was set anew"])
def test_what_is_known_of_all_places_is_right_after_the_branch_has_moved(origin, tmp_path, how):
    releases = releases_of(origin)
    first = releases.bump(FLIGHTS, "staging", release(1), "x")
    releases.bump("pictures", "staging", release(1, "pictures"), "x")
    releases.commit_of(releases.repository.fetch(), release(1), "staging")
    if how == "a bump":
        releases.bump(FLIGHTS, "staging", release(2), "x")
    elif how == "a merge":
        side = commit_by_hand(origin, {"new.txt": "x"}, "on main")
        tree = git(origin, "rev-parse", f"{side}^{{tree}}")
        identity = ("-c", "user.name=t", "-c", "user.email=t@t")
        one = git(origin, *identity, "commit-tree", tree, "-p", first, "-m", "on a side")
        git(
            origin,
            "update-ref",
            "refs/heads/main",
            git(origin, *identity, "commit-tree", tree, "-p", side, "-p", one, "-m", "m"),
        )
    else:
        git(origin, "update-ref", "refs/heads/main", first)
    head = releases.repository.fetch()
    everything = releases.read_histories()
    assert everything == releases_of(origin, "fresh.git").read_histories()
    now = everything[FLIGHTS, "staging"].current
    assert releases.commit_of(head, now.release, "staging").sha == now.commit


@pytest.fixture
def platform(tmp_path, monkeypatch) -> Settings:
    """Ten use cases with three releases each, the second of which is in production."""
    for name in [name for name in os.environ if name.startswith("MLOPS_")]:
        monkeypatch.delenv(name)
    commits = []
    for use in range(10):
        for number in (1, 2, 3):
            one = release(number, f"use-{use}", code=f"{use}{number}" * 20).model_copy(
                update={"run": f"{use}{number}" * 16}
            )
            commits.append(released(one))
            if number == 2:
                commits.append(released(one, "production"))
    root = tmp_path / "checkout"
    (root / "apps").mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    import_commits(tmp_path / "origin.git", commits)
    return Settings.load({"MLOPS_REMOTE": str(tmp_path / "origin.git")}, root=root)


@pytest.mark.parametrize("what", ["use-7:2", "use-7/2", "72" * 16, "72" * 20, "use-7_2_commit"])
def test_every_name_of_a_release_leads_to_all_its_places_by_a_fixed_number_of_processes(platform, asked, what):
    if what.endswith("commit"):  # in staging; production has the same Bento by another
        what = git(
            Path(platform.remote),
            "log",
            "--format=%H",
            "-1",
            "--skip=1",
            "main",
            "--",
            release_path("use-7", "staging"),
        )
    asked.clear()
    lineage = trace_lineage(platform, what)
    (version,) = lineage.versions
    assert version.release.bento == "use-7:2"
    assert [(line.environment, line.current) for line in version.deployments] == [
        ("production", True),
        ("staging", False),
    ]
    assert len(asked) <= 8, asked


def test_a_trace_names_the_commits_that_it_leaves_out_and_refuses_odd_names(platform):
    origin = Path(platform.remote)
    broken = commit_by_hand(origin, {release_path("use-3", "staging"): "data: [\n"}, "by hand")
    lineage = trace_lineage(platform, "use-3")
    assert [one.commit for one in lineage.unreadable] == [broken]
    console = Console(width=200)
    with console.capture() as printed:
        console.print(render(lineage))
    assert f"left out  commit {broken[:12]}: apps/use-3/staging/release.yaml" in printed.get()
    for odd in ("use-*", "../x", ":(glob)**", "use-7:*"):
        with pytest.raises(NothingFound):
            trace_lineage(platform, odd)


# --- caches ------------------------------------------------------------------------------------------------


def damage_pack(cache: Path) -> None:
    for pack in (cache / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(b"PACK" + bytes(40))


def damage_head(cache: Path) -> None:
    (cache / "HEAD").unlink()


def damage_reference(cache: Path) -> None:
    (cache / "refs" / "remotes" / "upstream" / "main").write_text("f" * 40 + "\n")


@pytest.mark.parametrize("damage", [damage_pack, damage_head, damage_reference])
def test_a_broken_cache_is_made_anew(tmp_path, damage):
    origin = import_commits(tmp_path / "origin.git", [released(release(n)) for n in (1, 2)])
    assert versions(releases_of(origin)) == ["2", "1"]
    damage(tmp_path / "cache.git")
    releases = releases_of(origin)
    assert versions(releases) == ["2", "1"]
    assert releases.bump(FLIGHTS, "staging", release(3), "x")


def test_a_broken_cache_inside_a_checkout_is_never_taken_for_the_checkout(tmp_path):
    origin = import_commits(tmp_path / "origin.git", [released(release(1))])
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git(checkout, "init", "-q")
    releases = Releases(Repository(str(origin), "main", checkout / "cache.git"))
    assert versions(releases) == ["1"]
    damage_head(checkout / "cache.git")
    assert versions(releases) == ["1"]
    assert git(checkout, "for-each-ref") == ""


def test_a_lock_that_a_killed_git_left_in_the_cache_is_removed_when_old_and_named_when_new(origin, tmp_path):
    releases = releases_of(origin)
    releases.bump(FLIGHTS, "staging", release(1), "x")
    commit_by_hand(origin, {"new.txt": "x"}, "more to fetch")
    lock = tmp_path / "cache.git" / "refs" / "remotes" / "upstream" / "main.lock"
    lock.touch()
    with pytest.raises(LockLeft, match=str(lock)):
        releases.repository.fetch()
    hour_ago = time.time() - 3600
    os.utime(lock, (hour_ago, hour_ago))
    assert releases.repository.fetch() == git(origin, "rev-parse", "main")


def test_an_old_lock_in_the_remote_is_named_and_left_alone(origin):
    lock = origin / "refs" / "heads" / "main.lock"
    lock.touch()
    hour_ago = time.time() - 3600
    os.utime(lock, (hour_ago, hour_ago))
    with pytest.raises(LockLeft, match=r"main\.lock is there"):
        releases_of(origin).bump(FLIGHTS, "staging", release(1), "x")
    assert lock.exists()


def test_many_fetches_leave_few_files(origin, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.git.cache.MOST_PACKS", 3)
    reader = releases_of(origin)
    writer = releases_of(origin, "writer.git")
    for number in range(1, 9):
        writer.bump(FLIGHTS, "staging", release(number), "x")
        reader.repository.fetch()
    assert len(list((tmp_path / "cache.git" / "objects" / "pack").glob("*.pack"))) <= 4
    assert len(versions(reader)) == 8
