"""The platform comes up, goes down, and gets over everything that can be killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines.embedded.platform import (
    DidNotStart,
    PortsInUse,
    PortUnavailable,
    down,
    status,
    up,
)
from pipelines.embedded.ports import Ports
from pipelines.settings import Settings, StateFolderNotWritable
from tests.embedded_world import World, until, world

UP = """
from pipelines.embedded.platform import up
from pipelines.settings import Settings, StateFolderNotWritable
print(up(Settings.load()).pid)
"""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_up_and_down_can_be_said_twice_and_bring_back_what_is_released(platform: World) -> None:
    first = platform.up()
    assert first.running
    assert first.models == []
    commit = platform.release(platform.pack("1"))
    url = platform.live(commit).url
    assert platform.up().pid == first.pid
    processes = _tree(first.pid)
    assert len(processes) == 3
    assert platform.down()
    assert not platform.down()
    assert not any(_alive(process) for process in processes)
    at_rest = status(platform.settings)
    assert not at_rest.running
    (model,) = at_rest.models
    assert (model.state, model.bento, model.model, model.commit) == ("down", "tiny-table:1", "tiny-table/1", commit)
    assert (model.url, model.pid, at_rest.problems) == (None, None, [])
    again = platform.up()
    assert [(m.bento, m.url, m.state) for m in again.models] == [("tiny-table:1", url, "serving")]
    assert platform.serving() == "tiny-table:1"


def test_a_server_that_is_killed_answers_again_and_nobody_is_refused(platform: World) -> None:
    platform.live(platform.release(platform.pack("1")))
    first = platform.model()
    os.kill(first.pid, signal.SIGKILL)
    assert platform.serving() == "tiny-table:1"
    assert platform.model().pid != first.pid
    assert platform.model().url == first.url


def test_a_supervisor_that_is_killed_leaves_nothing_the_next_one_does_not_end(platform: World) -> None:
    platform.live(platform.release(platform.pack("1")))
    old = status(platform.settings)
    processes = _tree(old.pid)
    os.kill(old.pid, signal.SIGKILL)
    until(lambda: not status(platform.settings).running)
    new = platform.up()
    assert new.pid != old.pid
    assert not any(_alive(process) for process in processes)
    assert new.models[0].url == old.models[0].url
    assert platform.serving() == "tiny-table:1"


def test_down_ends_what_a_killed_supervisor_left(platform: World) -> None:
    platform.live(platform.release(platform.pack("1")))
    processes = _tree(status(platform.settings).pid)
    os.kill(status(platform.settings).pid, signal.SIGKILL)
    until(lambda: not status(platform.settings).running)
    assert platform.down()
    assert not any(_alive(process) for process in processes)


def test_a_stranger_with_a_recorded_pid_is_left_alone(platform: World) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        platform.down()
        (platform.home / "processes" / f"{stranger.pid}.old.json").write_text(
            f'{{"pid": {stranger.pid}, "created": 1000000000.0}}'
        )
        platform.up()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_two_ups_at_once_start_one_platform_and_end_with_their_pipes(tmp_path: Path) -> None:
    made = World(tmp_path)
    said: list[str] = []

    def say_up() -> None:
        env = {**os.environ, "MLOPS_ROOT": str(made.settings.root), "MLOPS_HOME": str(made.home)}
        done = subprocess.run(
            [sys.executable, "-c", UP], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        said.append(done.stdout + done.stderr)

    threads = [threading.Thread(target=say_up) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said[0] == said[1] == f"{status(made.settings).pid}\n"
    finally:
        made.down()


def test_a_port_that_is_taken_is_passed_over_and_said(platform: World) -> None:
    platform.live(platform.release(platform.pack("1")))
    port = int(platform.model().url.rsplit(":", 1)[1])
    platform.down()
    with socket.create_server(("127.0.0.1", port)):
        platform.settings.home.joinpath("rollouts.jsonl").unlink()
        up(platform.settings)
        assert platform.model().url.endswith(f":{port + 1}")
    assert f"port {port} is taken by" in platform.acts("live")[0].reason
    assert f"(pid {os.getpid()}); now on port {port + 1}" in platform.acts("live")[0].reason


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_the_holder(tmp_path: Path) -> None:
    made = World(tmp_path)
    with socket.create_server(("127.0.0.1", made.base)), pytest.raises(PortUnavailable, match=f"pid {os.getpid()}"):
        up(made.settings, port=made.base)
    assert not status(made.settings).running


def test_other_ports_cannot_be_asked_for_while_it_runs(platform: World) -> None:
    with pytest.raises(PortsInUse, match=f"from port {platform.base} on"):
        up(platform.settings, port=platform.base + 7)
    assert Ports(platform.home).base == platform.base


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    made = World(tmp_path)
    settings = Settings.load({}, root=made.settings.root, home=tmp_path / "file" / "home")
    with pytest.raises(StateFolderNotWritable, match=str(tmp_path / "file" / "home")):
        up(settings)


def test_a_platform_that_cannot_start_shows_why(tmp_path: Path) -> None:
    made = World(tmp_path)
    made.home.mkdir()
    (made.home / "supervisor.lock").mkdir()
    with pytest.raises(DidNotStart, match=r"supervisor\.lock"):
        up(made.settings, port=made.base)
    assert not down(made.settings)


@pytest.mark.slow
def test_a_server_that_keeps_crashing_is_restarted_less_and_less_often(platform: World) -> None:
    platform.live(platform.release(platform.pack("1")))
    killed = 0
    while (platform.model().problem or "") != "crashed 3 times, last with exit status -9":
        pid = until(lambda: platform.model().pid)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: platform.model().pid not in (None, pid))
        killed += 1
        # A reconciler that looks in the very moment between two lives begins a new server, whose crashes count anew.
        assert killed < 8
    server = platform.model().pid
    pauses = re.findall(r"ended with -9; again in (\d+) s", platform.log("supervisor"))
    assert pauses[-3:] == ["0", "1", "2"]
    assert platform.serving() == "tiny-table:1"
    assert platform.model().pid == server


def test_a_state_folder_with_a_long_path_works_as_well(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    with world(folder) as platform:
        platform.live(platform.release(platform.pack("1")))
        assert platform.serving() == "tiny-table:1"


@pytest.mark.slow
def test_mlflow_can_be_seen_in_a_browser_when_asked_for(platform: World) -> None:
    found = up(platform.settings, mlflow_ui=True)
    assert up(platform.settings, mlflow_ui=True).mlflow == found.mlflow
    processes = _tree(found.pid)
    until(lambda: _healthy(f"{found.mlflow}/health"), 90)
    platform.down()
    assert not any(_alive(process) for process in processes)


def test_logs_are_kept_for_each_process(platform: World) -> None:
    platform.live(platform.release(platform.pack("1")))
    assert "tiny-table:1 live after" in platform.log("reconciler")
    assert "tiny-table.staging.1." in platform.log("supervisor")
    assert [path.name.split(".")[:2] for path in platform.settings.logs.glob("tiny-table.*")] == [
        ["tiny-table", "staging"]
    ]


def _healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).text == "OK"
    except httpx.HTTPError:
        return False


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
