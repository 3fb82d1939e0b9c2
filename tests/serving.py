"""Model servers as real processes, run as a platform runs them: in the Bento's own folder, by its own packed code."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 30


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def wait_until(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """What `condition` gives once it is true; fails, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds} s")


class ServerProcess:
    """One `python -m bento.server`. Its log and its state lie in `folder`."""

    def __init__(
        self,
        bento: Path,
        folder: Path,
        name: str,
        *options: object,
        fd: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = folder / f"{name}.log"
        self.state_file = folder / f"{name}.json"
        self.port = 0 if fd is not None else free_port()
        where = ["--fd", fd] if fd is not None else ["--port", self.port]
        command = ["-m", "bento.server", "--bento", bento, "--name", name, "--state", self.state_file]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, command), *map(str, where), *map(str, options)],
                cwd=bento / "src",
                env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "HOME": str(folder), **(env or {})},
                pass_fds=[] if fd is None else [fd],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def state(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            told: dict[str, Any] = json.loads(self.state_file.read_text())
            return told
        return {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def private_url(self) -> str:
        return f"http://127.0.0.1:{self.state['private_port']}"

    def until(self, state: str) -> "ServerProcess":
        def reached() -> bool:
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()}"
            return self.state.get("state") == state

        wait_until(reached, f"{self.name} {state}")
        return self

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self, seconds: float = START_SECONDS) -> int:
        """Its exit status."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(
    bento: Path, folder: Path, *options: object, env: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A server that answers on a port of its own."""
    server = ServerProcess(bento, folder, "server", *options, env=env)
    try:
        server.until("active")
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200, "ready")
        yield server
    finally:
        server.kill()
