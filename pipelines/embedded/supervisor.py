"""The one process that keeps the others: circus, with one command of our own.

It owns the public listening sockets, as systemd's socket activation does: versions of a model come and go behind a
port that never closes, and a connection made while a server restarts waits instead of failing.

    python -m pipelines.embedded.supervisor --home .mlops
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from pipelines.documents import Document
from pipelines.errors import MlopsError

RECONCILER = "reconciler"
LOG_BYTES = 5_000_000
LOG_BACKUPS = 2
BUSY = "already running"
CALL_TIMEOUT = 10.0


class SupervisorDown(MlopsError):
    """The embedded platform is not running."""


class SupervisorRefused(MlopsError):
    """The supervisor could not do what was asked."""


class PortTaken(MlopsError):
    """Another program listens on the port."""


class SupervisorInfo(Document):
    """Who supervises a state folder, so that a pid used again by another program is not mistaken for it."""

    pid: int
    created: float
    endpoint: str

    def is_alive(self) -> bool:
        return same_process(self.pid, self.created)


class Supervisor:
    """What the reconciler and the command line ask of the supervisor."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def info(self) -> SupervisorInfo | None:
        """The live supervisor of this state folder."""
        path = info_file(self.home)
        if not path.is_file():
            return None
        found = SupervisorInfo.read(path)
        return found if found.is_alive() else None

    def listen(self, name: str, host: str, port: int) -> tuple[int, int]:
        """Open a public socket, or find it open; gives its file descriptor in every child, and its port."""
        answer = self._call("listen", name=name, host=host, port=port)
        return int(answer["fd"]), int(answer["port"])

    def add(self, name: str, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        """Start a process that is started again when it ends."""
        import shlex

        self._call(
            "add", name=name, cmd=shlex.join(command), start=True, options=_watcher_options(self.home, name, cwd, env)
        )

    def names(self) -> list[str]:
        """Every supervised process."""
        return [str(name) for name in self._call("list")["watchers"]]

    def pids(self, name: str) -> list[int]:
        return [int(pid) for pid in self._call("list", name=name).get("pids", [])]

    def retire(self, name: str) -> None:
        """Supervise it no longer and ask it to leave. It drains by itself: waiting here would hold up every other command."""
        pids = self.pids(name)
        self._call("rm", name=name, nostop=True, waiting=True)
        for pid in pids:
            with _gone_is_fine():
                os.kill(pid, signal.SIGTERM)

    def quit(self) -> None:
        self._call("quit", waiting=False)

    def _call(self, command: str, **properties: Any) -> dict[str, Any]:
        from circus.client import CircusClient
        from circus.exc import CallError

        info = self.info
        if info is None:
            raise SupervisorDown(f"no platform runs for {self.home}", hint="`mlops up` starts it")
        client = CircusClient(endpoint=info.endpoint, timeout=CALL_TIMEOUT)
        deadline = time.monotonic() + CALL_TIMEOUT
        try:
            while True:
                answer: dict[str, Any] = client.send_message(command, **properties)
                if answer.get("status") != "error":
                    return answer
                # circus does one such command at a time
                if BUSY not in answer["reason"] or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        except CallError as error:
            raise SupervisorDown(f"the supervisor of {self.home} does not answer: {error}") from error
        finally:
            client.stop()
        if "port" in properties and "in use" in answer["reason"]:
            raise PortTaken(answer["reason"])
        raise SupervisorRefused(f"{command} {properties.get('name', '')}: {answer['reason']}")


def info_file(home: Path) -> Path:
    return home / "supervisor.json"


def run_folder(home: Path) -> Path:
    """State of the running servers; made anew at every start."""
    return home / "run"


def same_process(pid: int, created: float) -> bool:
    """Whether the pid still is the process that was started then."""
    try:
        return (
            abs(psutil.Process(pid).create_time() - created) < 1
            and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


class _gone_is_fine:  # noqa: N801 - reads as a sentence
    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return isinstance(error, ProcessLookupError)


def _watcher_options(home: Path, name: str, cwd: Path, env: dict[str, str]) -> dict[str, Any]:
    log = {
        "class": "FileStream",
        "filename": str(home / "logs" / f"{name}.log"),
        "max_bytes": LOG_BYTES,
        "backup_count": LOG_BACKUPS,
    }
    return {
        "working_dir": str(cwd),
        "env": env,
        "copy_env": False,
        "use_sockets": True,
        "graceful_timeout": 15,
        "stdout_stream": log,
        "stderr_stream": log,
        "max_retry": -1,
        "singleton": True,
    }


def _endpoint(home: Path, name: str) -> str:
    """A socket file in a private folder with a short path: a state folder's own path may be too long for one."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"mlops-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise SupervisorRefused(f"{folder} belongs to another user")
    return f"ipc://{folder / name}"


def _define_listen() -> None:
    """Teach circus to open a socket while it runs. Defining the class registers the command."""
    from circus.commands.base import Command
    from circus.exc import MessageError
    from circus.sockets import CircusSocket

    class Listen(Command):  # type: ignore[misc]
        """Open a listening socket that all later children inherit."""

        name = "listen"
        properties = ["name", "host", "port"]

        def execute(self, arbiter: Any, props: dict[str, Any]) -> dict[str, int]:
            opened = arbiter.sockets.get(props["name"])
            if opened is None:
                opened = CircusSocket(name=props["name"], host=props["host"], port=int(props["port"]))
                try:
                    opened.bind_and_listen()
                except OSError as error:
                    opened.close()
                    raise MessageError(f"port {props['port']}: {error.strerror or error}") from error
                arbiter.sockets[props["name"]] = opened
            return {"fd": opened.fileno(), "port": opened.getsockname()[1]}


def main(arguments: list[str] | None = None) -> int:
    """Run until told to quit."""
    parser = argparse.ArgumentParser(description="Supervise the embedded platform of one state folder.")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args(arguments).home.resolve()

    from circus.arbiter import Arbiter
    from circus.watcher import Watcher

    _define_listen()
    endpoint = _endpoint(home, "control")
    options = _watcher_options(home, RECONCILER, home, dict(os.environ)) | {"use_sockets": False}
    reconciler = Watcher(RECONCILER, f"{sys.executable} -m pipelines.embedded.reconciler", **_with_streams(options))
    arbiter = Arbiter([reconciler], endpoint, _endpoint(home, "events"), check_delay=0.5)
    own = psutil.Process()
    SupervisorInfo(pid=own.pid, created=own.create_time(), endpoint=endpoint).write(info_file(home))
    try:
        arbiter.start()
    finally:
        arbiter.stop()
        info_file(home).unlink(missing_ok=True)
    return 0


def _with_streams(options: dict[str, Any]) -> dict[str, Any]:
    """A Watcher made here takes stream objects, where the add command takes their description."""
    from circus.stream import get_stream

    return {
        **options,
        "stdout_stream": get_stream(dict(options["stdout_stream"])),
        "stderr_stream": get_stream(dict(options["stderr_stream"])),
    }


if __name__ == "__main__":
    sys.exit(main())
