"""Replace what serves a target by another version, without a failed request, or not at all.

fetch and verify → start beside the old, in standby → ready → golden sample → make it the active one → drain the old
"""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bento.predictor import class_key
from bento.signature import GOLDEN_FILE, SIGNATURE_FILE, Golden, Signature
from pipelines.documents import write_atomically
from pipelines.embedded.ports import HOST, Ports
from pipelines.embedded.records import Deployed, RunFiles, Target
from pipelines.embedded.supervisor import PortTaken, Supervisor, run_folder
from pipelines.errors import MlopsError
from pipelines.release.package import fetch_bento
from pipelines.release.release import Release
from pipelines.settings import Settings

READY_SECONDS = 60.0
ACTIVE_SECONDS = 10.0
DRAIN_SECONDS = 10.0
POLL_SECONDS = 0.02
LOG_LINES = 5


class NotReady(MlopsError):
    """The new version ended, or did not become ready in time."""


class GoldenMismatch(MlopsError):
    """The new version answers its golden sample otherwise than when it was made."""


class NoFreePort(MlopsError):
    """Every port that could be used is taken."""


@dataclass
class Rollout:
    """One version on its way to serve one target."""

    settings: Settings
    target: Target
    release: Release
    commit: str
    parts: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.settings.home)
        self.files = RunFiles(run_folder(self.settings.home))
        self.name = f"{self.target}.{self.release.digest.removeprefix('sha256:')[:8]}"
        self._began = time.monotonic()

    def run(self) -> Deployed:
        """Do it; on any error the new version is gone and the old one serves on."""
        started = False
        try:
            folder = fetch_bento(self.settings.bentos, self.release.image)
            self._took("fetch")
            deployed = self._start(folder)
            started = True
            self._await_ready()
            self._took("start")
            self._check(folder)
            self._took("check")
            self._activate()
            self._took("switch")
        except BaseException:
            if started:
                self._withdraw()
            raise
        self._retire_others()
        return deployed

    def _start(self, folder: Path) -> Deployed:
        if self.name in self.supervisor.names():
            self.supervisor.retire(self.name)
        self.files.forget(self.name)
        fd, port = self._open_port()
        source = folder / "src"
        command = [sys.executable, "-m", "bento.server", "--bento", str(folder), "--name", self.name]
        command += ["--fd", str(fd), "--standby", str(self.files.active_file(self.target))]
        command += ["--state", str(self.files.state_file(self.name)), "--drain-timeout", str(DRAIN_SECONDS)]
        deployed = Deployed(
            name=self.name,
            target=self.target,
            commit=self.commit,
            release=self.release,
            url=f"http://{HOST}:{port}",
            started=time.time(),
        )
        deployed.write(self.files.deployed_file(self.name))
        self.supervisor.add(self.name, command, source, self._environment(source))
        return deployed

    def _open_port(self) -> tuple[int, int]:
        ports = Ports(self.settings.home)
        for port in ports.candidates(str(self.target)):
            try:
                fd, opened = self.supervisor.listen(str(self.target), HOST, port)
            except PortTaken:
                continue
            ports.remember(str(self.target), opened)
            return fd, opened
        raise NoFreePort(f"no port from {ports.base} on is free", hint="choose another range: `mlops up --port`")

    def _environment(self, source: Path) -> dict[str, str]:
        """The Bento's own packed code is what runs; nothing of the checkout is on its path."""
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
        return {
            **{key: os.environ[key] for key in kept if key in os.environ},
            "PYTHONPATH": str(source),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENTOML_HOME": str(self.settings.home / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "ORT_DISABLE_TELEMETRY": "1",
            "MLOPS_ENVIRONMENT": self.target.environment,
            "MLOPS_RELEASE_COMMIT": self.commit,
        }

    def _await_ready(self) -> None:
        import httpx

        first_pid: int | None = None
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            pids = self.supervisor.pids(self.name) if first_pid is None else [first_pid]
            first_pid = first_pid or (pids[0] if pids else None)
            if first_pid and not _is_running(first_pid):
                raise NotReady(f"{self.release.bento} ended while it started: {self._last_words()}")
            state = self.files.state(self.name)
            if state:
                try:
                    if httpx.get(f"http://{HOST}:{state.private_port}/readyz", timeout=5).status_code == httpx.codes.OK:
                        return
                except httpx.HTTPError:
                    pass
            time.sleep(POLL_SECONDS)
        raise NotReady(f"{self.release.bento} was not ready within {READY_SECONDS:.0f} s: {self._last_words()}")

    def _check(self, folder: Path) -> None:
        """Ask the golden sample on the private port."""
        import httpx

        model = folder / "src" / "model"
        golden, signature = Golden.read(model / GOLDEN_FILE), Signature.read(model / SIGNATURE_FILE)
        state = self.files.state(self.name)
        assert state is not None  # noqa: S101 - it was ready
        url = f"http://{HOST}:{state.private_port}/predict"
        try:
            answer = httpx.post(url, json={"instances": golden.instances}, timeout=30)
        except httpx.HTTPError as error:
            raise NotReady(f"{self.release.bento} did not answer its golden sample: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise GoldenMismatch(
                f"{self.release.bento} answered its golden sample with {answer.status_code}: {answer.text[:300]}"
            )
        for index, (prediction, expected) in enumerate(zip(answer.json()["predictions"], golden.outputs, strict=True)):
            got = _outputs(prediction, signature)
            difference = max(abs(a - b) for a, b in zip(got, expected, strict=True))
            if not difference <= golden.tolerance:
                raise GoldenMismatch(
                    f"{self.release.bento} answers golden instance {index} with {got}, expected {expected} within {golden.tolerance}"
                )

    def _activate(self) -> None:
        write_atomically(self.files.active_file(self.target), self.name)
        deadline = time.monotonic() + ACTIVE_SECONDS
        while time.monotonic() < deadline:
            state = self.files.state(self.name)
            if state and state.state == "active":
                return
            time.sleep(POLL_SECONDS)
        raise NotReady(f"{self.release.bento} did not take over within {ACTIVE_SECONDS:.0f} s: {self._last_words()}")

    def _retire_others(self) -> None:
        for name in self.supervisor.names():
            if name.startswith(f"{self.target}.") and name != self.name:
                self.supervisor.retire(name)
                self.files.forget(name)

    def _withdraw(self) -> None:
        """The new version never served, or must not: the one before is the active one again."""
        others = [d for d in self.files.all_deployed() if d.target == self.target and d.name != self.name]
        if self.files.active(self.target) == self.name:
            if others:
                write_atomically(self.files.active_file(self.target), others[0].name)
            else:
                self.files.active_file(self.target).unlink()
        if self.name in self.supervisor.names():
            self.supervisor.retire(self.name)
        self.files.forget(self.name)

    def _last_words(self) -> str:
        log = self.settings.logs / f"{self.name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        return " | ".join(lines[-LOG_LINES:]) or f"nothing in {log}"

    def _took(self, part: str) -> None:
        self.parts[part] = round(time.monotonic() - self._began - sum(self.parts.values()), 3)


def _outputs(prediction: dict[str, Any], signature: Signature) -> list[float]:
    if signature.classes:
        return [prediction["probabilities"][class_key(name)] for name in signature.classes]
    return [prediction["value"]]


def _is_running(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
