"""A container runtime of a test's own: Debian's containerd, started by hand and driven with its own `ctr`."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.serving import wait_until

PULL_SECONDS = 120
TMPFS = "type=tmpfs,src=tmpfs,dst=/tmp,options=rw:nosuid:nodev:mode=1777"


class Containerd:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = folder / "c.sock"
        self.log = folder / "containerd.log"

    def ctr(self, *arguments: str, seconds: float = 30, check: bool = True) -> str:
        command = ["ctr", "--address", str(self.address), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def pull(self, image: str) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        self.ctr("images", "pull", "--plain-http", image, seconds=PULL_SECONDS)
        return time.monotonic() - began

    @contextmanager
    def running(
        self, image: str, name: str, *command: str, env: Mapping[str, str] | None = None
    ) -> Iterator["Container"]:
        """As the Deployment runs it: read-only, no privileges to gain, /tmp in memory; a network of its own."""
        options = ["--read-only", "--cgroup", "", "--mount", TMPFS]
        options += [word for key, value in (env or {}).items() for word in ("--env", f"{key}={value}")]
        self.ctr("run", "--detach", *options, "--log-uri", f"file://{self.folder}/{name}.log", image, name, *command)
        container = Container(self, name)
        try:
            yield container
        finally:
            self.ctr("task", "kill", "--signal", "SIGKILL", name, check=False)
            self.ctr("task", "delete", "--force", name, check=False)
            self.ctr("container", "delete", name, check=False)


class Container:
    def __init__(self, runtime: Containerd, name: str) -> None:
        self.runtime, self.name = runtime, name
        self._execs = 0

    @property
    def log(self) -> str:
        return (self.runtime.folder / f"{self.name}.log").read_text()

    @property
    def status(self) -> str:
        for line in self.runtime.ctr("task", "ls").splitlines():
            if line.split()[0] == self.name:
                return line.split()[2]
        return "GONE"

    def python(self, program: str) -> Any:
        """Run a program inside, as the container's user; gives the JSON that it prints."""
        self._execs += 1
        said = self.runtime.ctr("task", "exec", "--exec-id", f"e{self._execs}", self.name, "python", "-c", program)
        return json.loads(said)

    def ask(self, path: str, body: Any = None, port: int = 3000) -> tuple[int, str]:
        """Status and text of a request from inside; status 0 when nobody listens."""
        sent = None if body is None else json.dumps(body)
        program = (
            "import json, urllib.error, urllib.request\n"
            f"sent, url = {sent!r}, 'http://127.0.0.1:{port}{path}'\n"
            "asked = urllib.request.Request(url, sent and sent.encode(), {'Content-Type': 'application/json'})\n"
            "try:\n"
            "    answer = urllib.request.urlopen(asked, timeout=5)\n"
            "    print(json.dumps([answer.status, answer.read().decode()]))\n"
            "except urllib.error.HTTPError as error: print(json.dumps([error.code, error.read().decode()]))\n"
            "except OSError as error: print(json.dumps([0, str(error)]))\n"
        )
        status, text = self.python(program)
        return status, text

    def until_ready(self, seconds: float = 30) -> None:
        def ready() -> bool:
            assert self.status == "RUNNING", self.log
            return self.ask("/readyz")[0] == 200

        wait_until(ready, f"{self.name} ready", seconds)

    def terminate(self, seconds: float = 15) -> None:
        """SIGTERM, as a kubelet sends it; returns when the process has ended."""
        self.runtime.ctr("task", "kill", "--signal", "SIGTERM", self.name)
        wait_until(lambda: self.status == "STOPPED", f"{self.name} ended after SIGTERM", seconds)


@contextmanager
def containerd() -> Iterator[Containerd]:
    """A running containerd; skips where one cannot run."""
    if os.geteuid() != 0:
        pytest.skip("containerd needs root")
    missing = [program for program in ("containerd", "ctr", "runc") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; apt-get install containerd")
    folder = Path(tempfile.mkdtemp(prefix="ctd-"))
    runtime = Containerd(folder)
    config = folder / "config.toml"
    config.write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{runtime.address}"\n'
    )
    with runtime.log.open("wb") as log:
        process = subprocess.Popen(["containerd", "-c", str(config)], stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: _answers(runtime, process), "containerd", 30)
        yield runtime
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(runtime: Containerd, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        pytest.skip(f"containerd does not run here: {runtime.log.read_text()[-500:]}")
    done = subprocess.run(
        ["ctr", "--address", str(runtime.address), "version"], capture_output=True, check=False, timeout=10
    )
    return done.returncode == 0
