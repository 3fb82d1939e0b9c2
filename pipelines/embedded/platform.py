"""Start and stop the embedded platform of a state folder, and see what it does."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.embedded.monitor_process import choose_url, read_token, start_monitor
from pipelines.embedded.origin import ensure_origin
from pipelines.embedded.ports import HOST, Ports, holder, holders, is_free
from pipelines.embedded.processes import ProcessBook, end, tail
from pipelines.embedded.state import ReconcilerState
from pipelines.embedded.status import MLFLOW, ModelStatus, PlatformStatus, platform_status
from pipelines.embedded.supervisor_client import RECONCILER, Supervisor
from pipelines.embedded.wait import RolloutFailed, RolloutResult, RolloutSuperseded, RolloutTimedOut, wait_for
from pipelines.errors import MlopsError
from pipelines.settings import Settings, require_writable

__all__ = [
    "ModelStatus",
    "PlatformStatus",
    "RolloutFailed",
    "RolloutResult",
    "RolloutSuperseded",
    "RolloutTimedOut",
    "down",
    "status",
    "up",
    "wait_for",
]

START_SECONDS = 30.0
SETTLE_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
MLFLOW_PORT = 8500


class DidNotStart(MlopsError):
    """The platform's supervisor or its reconciler did not come up."""


class PortUnavailable(MlopsError):
    """The port that was asked for is taken by another program."""


class PortsInUse(MlopsError):
    """Other ports were asked for while models are served."""


def up(settings: Settings, port: int | None = None, mlflow_ui: bool = False, monitor: bool = False) -> PlatformStatus:
    """Start what does not run yet, and wait until what is released is served again, or known not to be.

    `port` is the first port of the model servers. Without it 8600, or the next that is free. With `monitor`, what the
    servers answer is recorded, watched, and set right by new runs.
    """
    home = settings.home
    require_writable(home)
    settings.logs.mkdir(exist_ok=True)
    if settings.remote == str(home / "origin.git"):
        ensure_origin(Path(settings.remote), settings.root, settings.branch)
    supervisor = Supervisor(home)
    running = supervisor.info is not None
    if port is not None:
        _choose_port(home, port, running)
    if not running:
        spawned = _spawn_supervisor(settings, _recording(settings) if monitor else {})
        _await(lambda: _reconciles(supervisor), home, spawned)
    _await(lambda: ReconcilerState.of(home).commit is not None or bool(ReconcilerState.of(home).problems), home)
    if mlflow_ui:
        _start_mlflow(settings, supervisor)
    if monitor and not settings.monitor:
        start_monitor(settings, supervisor)
    _await_settled(home)
    return status(settings)


def down(settings: Settings) -> bool:
    """Stop everything of this state folder; False when nothing ran. What is released, trained and logged stays."""
    info = Supervisor(settings.home).info
    if info is not None:
        end([info.process], STOP_SECONDS)
    left = ProcessBook(settings.home / "processes").end_all()
    return info is not None or bool(left)


def status(settings: Settings) -> PlatformStatus:
    """What runs now, and what should but does not; what is released, when nothing runs."""
    return platform_status(settings)


def _choose_port(home: Path, port: int, running: bool) -> None:
    ports = Ports(home)
    if running:
        if port != ports.base:
            raise PortsInUse(
                f"models are served from port {ports.base} on; to serve from {port} on, stop them first",
                hint=f"mlops down && mlops up --port {port}",
            )
        return
    book = ProcessBook(home / "processes")
    left_behind = any(book.has(pid) for pid in holders(port))  # by a killed supervisor; the new one ends them first
    if not left_behind and not is_free(port):
        raise PortUnavailable(f"port {port} is taken{holder(port)}", hint="choose another one: mlops up --port NUMBER")
    ports.set_base(port)


def _recording(settings: Settings) -> dict[str, str]:
    """Where servers send what they answer: the platform's own monitor, unless MLOPS_MONITOR_URL names another."""
    if settings.monitor:
        return {}
    return {"MLOPS_MONITOR_URL": choose_url(settings.home), "MLOPS_MONITOR_TOKEN": read_token(settings.home)}


def _spawn_supervisor(settings: Settings, recording: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Detached from this terminal and its pipes, so that `mlops up | tee` ends when mlops does."""
    packages = Path(__file__).parents[2]
    environment = {
        **os.environ,
        **recording,
        **settings.environ,
        "PYTHONPATH": os.pathsep.join(part for part in (str(packages), os.environ.get("PYTHONPATH")) if part),
        "PYTHONUNBUFFERED": "1",
    }
    with (settings.logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.embedded.supervisor"],
            cwd=settings.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _start_mlflow(settings: Settings, supervisor: Supervisor) -> None:
    """MLflow's page over the same store; one worker and no job runners take 420 MB instead of 1.2 GB."""
    if MLFLOW in supervisor.watched():
        return
    port = next((port for port in range(MLFLOW_PORT, MLFLOW_PORT + 100) if is_free(port)), MLFLOW_PORT)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", settings.tracking_uri]
    command += ["--default-artifact-root", (settings.home / "artifacts").as_uri()]
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    (settings.home / "mlflow.url").write_text(f"http://{HOST}:{port}", encoding="utf-8")
    supervisor.start(MLFLOW, command, settings.home, environment)


def _reconciles(supervisor: Supervisor) -> bool:
    try:
        return RECONCILER in supervisor.watched()
    except MlopsError:
        return False


def _await(condition: Callable[[], bool], home: Path, process: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        ended = process is not None and process.poll() not in (None, 4)  # 4: another `up` was faster
        if ended or time.monotonic() > deadline:
            raise _did_not_start(home)
        time.sleep(POLL_SECONDS)


def _did_not_start(home: Path) -> DidNotStart:
    words = [tail(home / "logs" / f"{name}.log", 6) for name in ("supervisor", RECONCILER)]
    said = "\n".join(word for word in words if word) or "nothing was logged"
    return DidNotStart(f"the platform of {home} did not start:\n{said}", hint=f"logs: {home / 'logs'}")


def _await_settled(home: Path) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while ReconcilerState.of(home).rolling_out and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
