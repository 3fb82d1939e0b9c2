"""Replace what serves a target by another version without a failed request, or not at all.

fetch and verify → start beside the old, in standby → ready → golden sample → make it the active one → drain the old
"""

import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bento.server_state import ServerState
from pipelines.documents import write_atomically
from pipelines.embedded.golden import check_golden
from pipelines.embedded.ports import HOST, Ports, holder
from pipelines.embedded.processes import tail
from pipelines.embedded.state import DeployedRelease, RunFiles, ServingTarget, run_folder
from pipelines.embedded.supervisor_client import Supervisor, SupervisorRefused
from pipelines.errors import MlopsError
from pipelines.packaging.bentos import fetch_bento
from pipelines.release.release import Release
from pipelines.settings import Settings

READY_SECONDS = 60.0
ACTIVE_SECONDS = 10.0
DRAIN_SECONDS = 30.0
POLL_SECONDS = 0.02
LOG_LINES = 6
LOGS_KEPT = 5
PASSED_ON = ("OTEL_", "MLOPS_LOG_")  # every variable that begins so
RECORDING = ("MLOPS_MONITOR_URL", "MLOPS_MONITOR_TOKEN", "MLOPS_SPOOL_BYTES", "MLOPS_SPOOL_HOURS")
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class NotReady(MlopsError):
    """The new version ended, or did not become ready in time."""


class NotTakingOver(MlopsError):
    """The new version was ready but did not take the requests."""


class NoFreePort(MlopsError):
    """Every port that could be used is taken."""


class Superseded(MlopsError):
    """While this version was on its way, a commit asked for another."""


@dataclass
class Rollout:
    """One version on its way to serve one target. `notes` are things a person should know, though it went well."""

    settings: Settings
    supervisor: Supervisor
    ports: Ports
    target: ServingTarget
    release: Release
    commit: str
    still_wanted: Callable[[], bool]
    parts: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = f"{self.target}.{self.release.version}.{secrets.token_hex(3)}"
        self.files = RunFiles(run_folder(self.settings.home))
        self._began = time.monotonic()

    def run(self) -> DeployedRelease:
        """Do it; on any error the new version is on its way out and the old one serves on."""
        before = self.files.active(self.target)
        try:
            folder = fetch_bento(self.settings.bentos, self.release.image)
            self._took("fetch")
            deployed = self._start(folder)
            state = self._await_standby()
            self._took("start")
            check_golden(f"http://{HOST}:{state.private_port}", folder / "src" / "model", self.release.bento)
            self._took("check")
            self._take_over()
            self._took("switch")
        except BaseException:
            self._withdraw(before)
            raise
        if before is not None:
            self._drain(before)
        return deployed

    def _start(self, folder: Path) -> DeployedRelease:
        port = self._open_port()
        deployed = DeployedRelease(
            name=self.name,
            target=self.target,
            commit=self.commit,
            release=self.release,
            url=f"http://{HOST}:{port}",
            started=time.time(),
        )
        deployed.write(self.files.deployed_file(self.name))
        # Run in the Bento's own folder, so that its packed code is what answers, not the checkout's.
        command = [sys.executable, "-m", "bento.server", "--bento", str(folder), "--name", self.name, "--fd", "0"]
        command += ["--standby", str(self.files.active_file(self.target))]
        command += ["--state", str(self.files.state_file(self.name)), "--drain-timeout", str(DRAIN_SECONDS)]
        self._drop_old_logs()
        self.supervisor.start(
            self.name, command, folder / "src", self._environment(), socket=str(self.target), keep=False
        )
        return deployed

    def _open_port(self) -> int:
        """The target's own port; when another program has it, the next free one, and a note that says so."""
        had = self.ports.known(str(self.target))
        for port in self.ports.candidates(str(self.target)):
            opened = self.supervisor.listen(str(self.target), HOST, port)
            if opened is not None:
                if had not in (None, opened):
                    self.notes.append(f"port {had} is taken{holder(had or 0)}; now on port {opened}")
                if opened != had:
                    self.ports.remember(str(self.target), opened)
                return opened
        raise NoFreePort(f"no port from {self.ports.base} on is free", hint="choose others: mlops up --port NUMBER")

    def _environment(self) -> dict[str, str]:
        return {
            **{key: os.environ[key] for key in (*INHERITED, *RECORDING) if key in os.environ},
            **{key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)},
            "PYTHONUNBUFFERED": "1",
            "BENTOML_HOME": str(self.settings.home / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "ORT_DISABLE_TELEMETRY": "1",
            "MLOPS_ENVIRONMENT": self.target.environment,
            "MLOPS_RELEASE_COMMIT": self.commit,
            "MLOPS_SPOOL": str(self.settings.home / "spool"),
        }

    def _await_standby(self) -> ServerState:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            state = self.files.state(self.name)
            if state is not None and _is_ready(state):
                return state
            self._require_running()
            if not self.still_wanted():
                raise Superseded(f"{self.release.bento} is no longer what {self.target} asks for")
            time.sleep(POLL_SECONDS)
        raise NotReady(f"{self.release.bento} was not ready within {READY_SECONDS:.0f} s{self._last_words()}")

    def _require_running(self) -> None:
        server = self.supervisor.watched().get(self.name)
        if server is None or server.stopped:
            code = "" if server is None or server.exit_code is None else f" with exit status {server.exit_code}"
            raise NotReady(f"{self.release.bento} ended{code} while it started{self._last_words()}")

    def _take_over(self) -> None:
        try:
            self.supervisor.keep(self.name)
        except SupervisorRefused:
            raise NotReady(f"{self.release.bento} ended after its check{self._last_words()}") from None
        write_atomically(self.files.active_file(self.target), self.name)
        deadline = time.monotonic() + ACTIVE_SECONDS
        while time.monotonic() < deadline:
            state = self.files.state(self.name)
            if state is not None and state.state == "active":
                return
            time.sleep(POLL_SECONDS)
        raise NotTakingOver(
            f"{self.release.bento} did not take requests within {ACTIVE_SECONDS:.0f} s{self._last_words()}"
        )

    def _withdraw(self, before: str | None) -> None:
        """The version before is the active one (it never stopped serving); the new one goes."""
        if self.files.active(self.target) == self.name:
            if before is not None:
                write_atomically(self.files.active_file(self.target), before)
            else:
                self.files.active_file(self.target).unlink(missing_ok=True)
        self._drain(self.name)

    def _drain(self, name: str) -> None:
        """Ask it to finish its requests and go. The reconciler tidies up when it has gone."""
        try:
            self.supervisor.drain(name)
        except SupervisorRefused:  # it was never started, or has gone already
            self.files.forget(name)

    def _drop_old_logs(self) -> None:
        """Each server has a log of its own; the last few of a target are kept, and that of the one that serves."""
        logs = sorted(self.settings.logs.glob(f"{self.target}.*.log"), key=lambda path: path.stat().st_mtime)
        serving = f"{self.files.active(self.target)}.log"
        for path in [log for log in logs if log.name != serving][: -LOGS_KEPT + 1]:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.1").unlink(missing_ok=True)

    def _last_words(self) -> str:
        log = self.settings.logs / f"{self.name}.log"
        words = tail(log, LOG_LINES)
        return f"; the end of {log}:\n{words}" if words else f"; {log} is empty"

    def _took(self, part: str) -> None:
        self.parts[part] = round(time.monotonic() - self._began - sum(self.parts.values()), 3)


def _is_ready(state: ServerState) -> bool:
    import httpx

    try:
        return httpx.get(f"http://{HOST}:{state.private_port}/readyz", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
