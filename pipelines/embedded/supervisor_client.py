"""What the reconciler and the command line ask of the supervisor."""

import hashlib
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines.documents import Document, SchemaTooNew, Value
from pipelines.embedded.processes import ProcessMark
from pipelines.errors import MlopsError

RECONCILER = "reconciler"
ANSWER_SECONDS = 5.0
BUSY_SECONDS = 20.0
BUSY = "already running"
LONGEST_SOCKET_PATH = 90  # the system takes 107 bytes, macOS 103


class SupervisorDown(MlopsError):
    """The embedded platform is not running."""


class SupervisorRefused(MlopsError):
    """The supervisor could not do what was asked."""


class FolderNotPrivate(MlopsError):
    """The folder for the control socket belongs to someone else."""


class SupervisorInfo(Document):
    """Who supervises a state folder, and where it listens."""

    KIND = "supervisor"

    process: ProcessMark
    endpoint: str


class WatchedProcess(Value):
    """One supervised process. `kept`: it is started again when it ends."""

    name: str
    pid: int | None
    stopped: bool
    kept: bool
    crashes: int
    exit_code: int | None


class Supervisor:
    """The supervisor of a state folder. Every call opens its own connection, so threads may share this."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def info(self) -> SupervisorInfo | None:
        """The live supervisor; None when there is none."""
        try:
            found = SupervisorInfo.read(info_file(self.home))
        except (OSError, ValueError, SchemaTooNew):
            return None
        return found if found.process.is_alive() else None

    def watched(self) -> dict[str, WatchedProcess]:
        """Every supervised process by name."""
        told = self._ask("describe")["watched"]
        return {
            name: WatchedProcess.model_validate({"name": name, **values}, extra="ignore")
            for name, values in told.items()
        }

    def sockets(self) -> dict[str, int]:
        """The ports of the public sockets by name."""
        return dict(self._ask("describe")["sockets"])

    def listen(self, name: str, host: str, port: int) -> int | None:
        """Open the named public socket, or find it open; gives its port, None when the port is taken."""
        answer = self._ask("bind", name=name, host=host, port=port)
        return None if answer["taken"] else int(answer["port"])

    def close(self, name: str) -> None:
        """Close a public socket."""
        self._ask("unbind", name=name)

    def start(
        self, name: str, command: list[str], folder: Path, env: dict[str, str], *, socket: str = "", keep: bool = True
    ) -> None:
        """Start a process; the named public socket is its file descriptor 0; unless `keep`, it is not restarted."""
        options: dict[str, Any] = {"working_dir": str(folder), "env": env, "respawn": keep, "stop_children": True}
        if socket:
            options["stdin_socket"] = socket
        self._ask("launch", name=name, command=command, options=options, waiting=True)

    def keep(self, name: str) -> None:
        """Restart this process from now on when it crashes; refused when it has ended already."""
        self._ask("keep", name=name)

    def drain(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to finish and go; returns at once."""
        self._ask("drain", name=name, signal=int(how))

    def remove(self, name: str) -> None:
        """Forget a process that has ended."""
        self._ask("rm", name=name, waiting=True)

    def _ask(self, act: str, /, **properties: Any) -> dict[str, Any]:
        from circus.client import CircusClient
        from circus.exc import CallError

        info = self.info
        if info is None:
            raise SupervisorDown(f"no platform runs for {self.home}", hint="`mlops up` starts it")
        client = CircusClient(endpoint=info.endpoint, timeout=ANSWER_SECONDS)
        deadline = time.monotonic() + BUSY_SECONDS
        try:
            while True:
                answer: dict[str, Any] = client.call({"command": act, "properties": properties})
                if answer["status"] == "ok":
                    return answer
                # circus does one command at a time, and refuses the others meanwhile
                if BUSY not in answer["reason"] or time.monotonic() > deadline:
                    raise SupervisorRefused(f"{act} {properties.get('name', '')}: {answer['reason']}")
                time.sleep(0.02)
        except CallError as error:
            raise SupervisorDown(f"the supervisor of {self.home} does not answer: {error}") from error
        finally:
            client.stop()


def info_file(home: Path) -> Path:
    return home / "supervisor.json"


def make_endpoint(home: Path) -> str:
    """The control socket, in a folder that only this user can enter: who can write to it runs commands.

    Socket paths are short, so a state folder with a long path has it in the temporary folder.
    """
    folder = home / "control"
    if len(os.fsencode(folder)) > LONGEST_SOCKET_PATH:
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"mlops-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise FolderNotPrivate(f"{folder} belongs to another user", hint=f"remove it: rm -r {folder}")
    folder.chmod(0o700)
    return f"ipc://{folder / 'supervisor'}"
