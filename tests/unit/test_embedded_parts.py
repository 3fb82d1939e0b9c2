"""The small parts of the embedded platform, each on its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.embedded.ports import Ports, holder, is_free
from pipelines.embedded.processes import ProcessBook, ProcessMark, tail
from pipelines.embedded.state import ReconcilerState, RolloutRecord, append_rollout, rollouts
from pipelines.git.errors import RemoteUnreachable
from pipelines.git.head import Head
from pipelines.git.process import run_git
from pipelines.git.repository import Repository

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(100)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    origin = tmp_path / "origin.git"
    run_git(["init", "-q", "--bare", "-b", "main", str(origin)])
    return Repository(str(origin), "main", tmp_path / "cache.git")


def commit(repository: Repository) -> str:
    """An empty commit on the origin's branch, made in the origin itself."""
    origin = Path(repository.remote)
    tree = run_git(["write-tree"], cwd=origin).stdout.strip()
    identity = {f"GIT_{role}_{key}": "t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    made = run_git(["commit-tree", tree, "-m", str(time.time_ns())], cwd=origin, env=identity).stdout.strip()
    run_git(["update-ref", "refs/heads/main", made], cwd=origin)
    return made


def test_the_head_is_seen_at_once_however_git_stores_it(repository: Repository) -> None:
    head = Head(repository)
    assert head.read() is None
    first = commit(repository)
    assert head.read() == first
    run_git(["pack-refs", "--all"], cwd=Path(repository.remote))
    assert head.read() == first
    assert head.read() != (second := commit(repository))
    assert head.read() == second


def test_a_head_without_its_repository_is_an_error(repository: Repository) -> None:
    commit(repository)
    head = Head(repository)
    head.read()
    Path(repository.remote).rename(f"{repository.remote}.gone")
    with pytest.raises(RemoteUnreachable):
        head.read()


def test_ports_stay_with_their_models_and_begin_anew_from_another_base(tmp_path: Path) -> None:
    ports = Ports(tmp_path)
    ports.set_base(9000)
    ports.remember("a.staging", 9000)
    ports.remember("b.staging", 9002)
    assert ports.candidates("b.staging")[:3] == [9002, 9001, 9003]
    assert ports.candidates("c.staging")[:2] == [9001, 9003]
    Ports(tmp_path).set_base(9000)
    assert ports.known("a.staging") == 9000
    ports.set_base(9100)
    assert ports.known("a.staging") is None
    assert ports.candidates("a.staging")[0] == 9100


def test_who_listens_on_a_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert f"(pid {os.getpid()})" in holder(port)
    assert is_free(port)
    assert holder(port) == ""


def test_a_process_is_known_by_its_start_as_well_as_its_pid() -> None:
    mine = ProcessMark.of()
    assert mine.is_alive()
    assert not mine.model_copy(update={"created": mine.created - 60}).is_alive()


def test_what_a_supervisor_left_is_ended_even_when_it_does_not_want_to_go(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    book = ProcessBook(tmp_path)
    book.add(process.pid, "tiny.staging.1.abcdef")
    (tmp_path / "12.cut-short.json").write_text('{"pid": 1')
    assert book.has(process.pid)
    assert book.end_all(patience=0.3) == ["tiny.staging.1.abcdef"]
    assert process.wait(timeout=5) == -9
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_a_long_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert tail(log) == ""
    log.write_text("x" * 100_000 + "\n\nlast but one\nlast\n\n")
    assert tail(log, 2) == "last but one\nlast"


def test_a_record_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    record = RolloutRecord(
        time=1.0, usecase="a", environment="staging", commit="c", bento="a:1", outcome="live", seconds=1.0
    )
    append_rollout(tmp_path, record)
    with (tmp_path / "rollouts.jsonl").open("a") as file:
        file.write('{"time": 2.0, "usec')
    append_rollout(tmp_path, record)
    assert rollouts(tmp_path) == [record, record]
    assert ReconcilerState.of(tmp_path) == ReconcilerState()
