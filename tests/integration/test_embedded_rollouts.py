"""What the reconciler does with commits: good ones serve, bad ones change nothing but what is known about them."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.embedded.platform import RolloutFailed, RolloutSuperseded, status
from pipelines.release.release import release_path
from tests.embedded_world import World, crash_at_start, truncate_model, until, world, wrong_golden


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One platform for all: every test has a use case of its own, and models do not disturb each other."""
    with world(tmp_path_factory.mktemp("platform")) as made:
        yield made


def start(platform: World, name: str) -> None:
    platform.live(platform.release(platform.pack("1", name)), name)


def hang_at_start(folder: Path) -> None:
    (folder / "src" / "service.py").write_text("import time\n\ntime.sleep(600)\n")


def test_a_commit_replaces_the_version_behind_the_same_port(platform: World) -> None:
    start(platform, "replaced")
    before = platform.model("replaced")
    commit = platform.release(platform.pack("2", "replaced", weight=0.002))
    result = platform.live(commit, "replaced")
    assert result.bento == "replaced:2"
    assert result.url == before.url
    assert 0 < result.seconds < 30
    answer = platform.ask("replaced")
    assert (answer["release"]["bento"], answer["release"]["commit"]) == ("replaced:2", commit)
    assert answer["release"]["environment"] == "staging"
    until(lambda: [s for s in platform.servers if s.startswith("replaced.")] == [_active(platform, "replaced")])


def test_staging_and_production_are_served_apart(platform: World) -> None:
    old, new = platform.pack("1", "apart"), platform.pack("2", "apart", weight=0.002)
    staged, promoted = platform.release(new), platform.release(old, "production")
    assert platform.live(staged, "apart").url != platform.live(promoted, "apart", "production").url
    assert platform.serving("apart") == "apart:2"
    assert platform.serving("apart", "production") == "apart:1"


def test_a_commit_that_changes_no_bento_restarts_nothing(platform: World) -> None:
    start(platform, "unchanged")
    before = platform.model("unchanged")
    platform.write("docs/notes.md", "a new paragraph\n")
    again = platform.pack("1", "unchanged").model_copy(update={"metrics": {"roc_auc": 0.71}})
    commit = platform.release(again)
    until(lambda: status(platform.settings).commit == commit)
    assert platform.live(commit, "unchanged").bento == "unchanged:1"
    assert platform.model("unchanged") == before.model_copy(update={"memory_mb": platform.model("unchanged").memory_mb})


@pytest.mark.parametrize(
    ("name", "spoil", "told"),
    [
        ("crashing", crash_at_start, r"ended with exit status \d+ while it started.*the tokenizer is missing"),
        ("lying", wrong_golden, r"lying:2 answers golden instance 0 with \[0\.\d+, 0\.\d+\].*\[0\.9900, 0\.0100\]"),
        ("truncated", truncate_model, r"ended with exit status \d+.*model\.onnx is no model ONNX Runtime can load"),
    ],
    ids=["crashes at start", "answers wrongly", "model file truncated"],
)
def test_a_bad_version_never_replaces_the_old_one(platform: World, name: str, spoil, told: str) -> None:
    start(platform, name)
    commit = platform.release(platform.pack("2", name, spoil=spoil))
    with pytest.raises(RolloutFailed, match=f"(?s){told}"):
        platform.live(commit, name)
    assert platform.serving(name) == f"{name}:1"
    model = platform.model(name)
    assert (model.state, model.bento) == ("serving", f"{name}:1")
    assert f"{name}:2 of commit {commit[:9]} was not rolled out" in model.problem
    until(lambda: [s for s in platform.servers if s.startswith(f"{name}.")] == [_active(platform, name)])
    repaired = platform.release(platform.pack("3", name, weight=0.003))
    assert platform.live(repaired, name).bento == f"{name}:3"
    until(lambda: platform.model(name).problem is None)


def test_a_bento_that_is_missing_or_was_changed_is_refused_and_named(platform: World) -> None:
    start(platform, "stored")
    changed = platform.pack("2", "stored", weight=0.002)
    truncate_model(platform.folder_of(changed))
    with pytest.raises(RolloutFailed, match=r"model\.onnx was changed since the Bento was packed"):
        platform.live(platform.release(changed), "stored")
    missing = platform.pack("3", "stored", weight=0.003)
    shutil.move(platform.folder_of(missing), platform.home / "aside")
    with pytest.raises(RolloutFailed, match=f"{missing.digest} is not in"):
        platform.live(platform.release(missing), "stored")
    assert platform.serving("stored") == "stored:1"
    shutil.move(platform.home / "aside", platform.folder_of(missing))
    platform.write("docs/notes.md", "any commit is a new chance\n")
    until(lambda: platform.serving("stored") == "stored:3")


def test_a_bento_whose_name_is_not_the_released_one_is_refused(platform: World) -> None:
    release = platform.pack("4", "named").model_copy(update={"bento": "named:5"})
    with pytest.raises(RolloutFailed, match=r"release\.yaml names named:5, but its image holds named:4"):
        platform.live(platform.release(release), "named")
    assert platform.model("named").state == "failed"


def test_one_bad_model_does_not_hold_up_another(platform: World) -> None:
    stuck = platform.release(platform.pack("1", "stuck", spoil=hang_at_start))
    until(lambda: platform.model("stuck"))
    fine = platform.release(platform.pack("1", "fine"))
    assert platform.live(fine, "fine").bento == "fine:1"
    assert platform.model("stuck").state == "starting"
    # … and a commit that takes the stuck one back ends its rollout at once.
    repaired = platform.release(platform.pack("2", "stuck", weight=0.002))
    with pytest.raises(RolloutSuperseded, match="asks for stuck:2"):
        platform.live(stuck, "stuck")
    assert platform.live(repaired, "stuck").bento == "stuck:2"
    assert "stuck:1" in [act.bento for act in platform.acts("superseded")]


def test_a_release_that_cannot_be_read_is_told_and_what_runs_stays(platform: World) -> None:
    start(platform, "unreadable")
    path = release_path("unreadable", "staging")
    platform.write(path, "kind: ConfigMap\ndata: {bento: [}\n")
    problem = until(lambda: [p for p in status(platform.settings).problems if path in p])
    assert "not valid YAML" in problem[0]
    assert platform.serving("unreadable") == "unreadable:1"
    platform.live(platform.release(platform.pack("2", "unreadable", weight=0.002)), "unreadable")
    assert status(platform.settings).problems == []


@pytest.mark.slow
def test_a_release_that_is_deleted_is_not_served_any_more(platform: World) -> None:
    start(platform, "withdrawn")
    port = int(platform.model("withdrawn").url.rsplit(":", 1)[1])
    platform.unrelease("withdrawn")
    until(lambda: not [s for s in platform.servers if s.startswith("withdrawn.")])
    assert platform.model("withdrawn") is None
    assert [act.reason for act in platform.acts("stopped") if act.usecase == "withdrawn"] == [
        "its release.yaml is gone"
    ]
    until(lambda: _refuses(port), what="its port to close")
    platform.live(platform.release(platform.pack("2", "withdrawn", weight=0.002)), "withdrawn")
    assert platform.model("withdrawn").url.endswith(f":{port}")


@pytest.mark.slow
def test_an_origin_that_cannot_be_reached_is_told_and_models_serve_on(platform: World) -> None:
    start(platform, "offline")
    origin = Path(platform.settings.remote)
    commit = platform.release(platform.pack("2", "offline", weight=0.002))
    platform.live(commit, "offline")
    aside = origin.with_name("aside.git")
    origin.rename(aside)
    try:
        problem = until(lambda: status(platform.settings).problems)
        assert "origin.git is no repository" in problem[0]
        assert platform.serving("offline") == "offline:2"
    finally:
        aside.rename(origin)
    platform.live(platform.release(platform.pack("3", "offline", weight=0.003)), "offline")
    assert status(platform.settings).problems == []


@pytest.mark.slow
def test_a_reconciler_killed_in_the_middle_of_a_rollout_is_made_good_by_the_next(platform: World) -> None:
    start(platform, "midway")
    commit = platform.release(platform.pack("2", "midway", weight=0.002))
    until(lambda: len([s for s in platform.servers if s.startswith("midway.")]) == 2)
    _kill(platform.reconciler_pid)
    assert platform.live(commit, "midway").bento == "midway:2"
    assert platform.serving("midway") == "midway:2"
    until(lambda: [s for s in platform.servers if s.startswith("midway.")] == [_active(platform, "midway")])


@pytest.mark.slow
def test_a_new_reconciler_does_not_hurry_a_release_that_failed(platform: World) -> None:
    with pytest.raises(RolloutFailed):
        platform.live(platform.release(platform.pack("1", "hopeless", spoil=crash_at_start)), "hopeless")
    _kill(platform.reconciler_pid)
    platform.live(platform.release(platform.pack("1", "elsewhere")), "elsewhere")  # a commit: tried again, once
    until(lambda: len(_failures(platform, "hopeless")) == 2)
    _kill(platform.reconciler_pid)
    until(lambda: "commit" in platform.log("reconciler").rsplit("hopeless", 1)[1], what="the next one to have looked")
    time.sleep(1)
    assert len(_failures(platform, "hopeless")) == 2


def _failures(platform: World, name: str) -> list:
    return [act for act in platform.acts("failed") if act.usecase == name]


def _active(platform: World, name: str) -> str:
    return (platform.home / "run" / f"{name}.staging.active").read_text()


def _refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
