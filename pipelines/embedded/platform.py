"""Start, stop and see the embedded platform."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pipelines.documents import Document
from pipelines.embedded.origin import ensure_origin
from pipelines.embedded.ports import HOST, Ports
from pipelines.embedded.records import (
    RECONCILER_FILE,
    Deployed,
    ReconcilerState,
    RolloutRecord,
    RunFiles,
    Target,
    rollouts,
)
from pipelines.embedded.supervisor import Supervisor, SupervisorDown, info_file, run_folder
from pipelines.errors import MlopsError
from pipelines.settings import Settings

START_SECONDS = 30.0
STOP_SECONDS = 25.0
POLL_SECONDS = 0.05
MLFLOW = "mlflow"
MLFLOW_PORT = 8500


class DidNotStart(MlopsError):
    """The platform's supervisor did not come up."""


class DidNotStop(MlopsError):
    """A process of the platform did not end."""


class RolloutFailed(MlopsError):
    """The new version never replaced the old one, which serves on."""


class RolloutTimedOut(MlopsError):
    """The commit was not live in time."""


class PortUnavailable(MlopsError):
    """The port that was asked for is taken by another program."""


class ModelStatus(Document):
    """One target: what serves it, or why nothing does."""

    usecase: str
    environment: str
    bento: str
    model: str | None = None
    commit: str | None = None
    url: str | None = None
    state: str
    pid: int | None = None
    since: float | None = None
    memory_mb: float | None = None
    problem: str | None = None


class PlatformStatus(Document):
    """The whole platform."""

    running: bool
    pid: int | None = None
    commit: str | None = None
    models: list[ModelStatus] = []
    problems: list[str] = []


class RolloutResult(Document):
    """A commit that is live."""

    seconds: float
    url: str
    bento: str


def up(settings: Settings, port: int | None = None, mlflow_ui: bool = False) -> PlatformStatus:
    """Start what does not run yet: origin, supervisor, reconciler; the reconciler then starts what is released."""
    home = settings.home
    settings.logs.mkdir(parents=True, exist_ok=True)
    run_folder(home).mkdir(parents=True, exist_ok=True)
    ensure_origin(Path(settings.remote), settings.root, settings.branch)
    supervisor = Supervisor(home)
    if supervisor.info is None:
        _end_orphans(home)
        _clear_run_files(home)
        if port is not None:
            _require_free(port)
            Ports(home).set_base(port)
        _spawn_supervisor(settings)
        _await(lambda: _answers(supervisor), START_SECONDS, lambda: _start_failure(home))
    if mlflow_ui and MLFLOW not in supervisor.names():
        _start_mlflow(settings, supervisor)
    _await(lambda: _has_looked(home), START_SECONDS, lambda: _start_failure(home))
    _await_settled(settings)
    return status(settings)


def down(settings: Settings) -> bool:
    """Stop everything of this state folder; False when nothing ran."""
    supervisor = Supervisor(settings.home)
    info = supervisor.info
    if info is None:
        return _end_orphans(settings.home)
    children = _descendants(info.pid)
    supervisor.quit()
    stuck = _wait_gone([psutil.Process(info.pid), *children] if psutil.pid_exists(info.pid) else children, STOP_SECONDS)
    for process in stuck:
        with _already_gone():
            process.kill()
    _end_orphans(settings.home)
    info_file(settings.home).unlink(missing_ok=True)
    _clear_run_files(settings.home)
    return True


def status(settings: Settings) -> PlatformStatus:
    """What runs now, and what should but does not."""
    home = settings.home
    info = Supervisor(home).info
    if info is None:
        return PlatformStatus(running=False)
    files = RunFiles(run_folder(home))
    told = _reconciler_state(home)
    models = [_model_status(files, d) for d in files.all_deployed() if files.active(d.target) == d.name]
    for failure in told.failures:
        where = next(
            (m for m in models if (m.usecase, m.environment) == (failure.target.usecase, failure.target.environment)),
            None,
        )
        problem = f"{failure.bento} of commit {failure.commit[:9]} was not rolled out: {failure.reason}"
        if where:
            models[models.index(where)] = where.model_copy(update={"problem": problem})
        else:
            models.append(
                ModelStatus(
                    usecase=failure.target.usecase,
                    environment=failure.target.environment,
                    bento=failure.bento,
                    commit=failure.commit,
                    state="failed",
                    problem=problem,
                )
            )
    models.sort(key=lambda m: (m.usecase, m.environment))
    return PlatformStatus(running=True, pid=info.pid, commit=told.commit, models=models, problems=told.problems)


def wait_for(settings: Settings, usecase: str, environment: str, commit: str, timeout: float) -> RolloutResult:
    """Until the release of this commit is what answers; an error when it failed or took too long."""
    target = Target(usecase=usecase, environment=environment)
    files = RunFiles(run_folder(settings.home))
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if Supervisor(settings.home).info is None:
            raise SupervisorDown(f"no platform runs for {settings.home}", hint="`mlops up` starts it")
        record = _last_record(settings.home, target, commit)
        active = files.active(target)
        deployed = files.deployed(active) if active else None
        if record and record.outcome == "failed" and not (deployed and deployed.commit == commit):
            raise RolloutFailed(
                f"{record.bento} of commit {commit[:9]} was not rolled out: {record.reason}",
                hint=f"what was there before serves on; the log is {settings.logs}; `mlops rollback {usecase} --environment {environment}`",
            )
        if deployed and deployed.commit == commit and record:
            return RolloutResult(seconds=record.seconds, url=deployed.url, bento=deployed.release.bento)
        time.sleep(POLL_SECONDS)
    raise RolloutTimedOut(
        f"commit {commit[:9]} of {target} was not live within {timeout:.0f} s", hint="`mlops status` says how far it is"
    )


def _last_record(home: Path, target: Target, commit: str) -> RolloutRecord | None:
    wanted = (target.usecase, target.environment, commit)
    found = [r for r in rollouts(home) if (r.usecase, r.environment, r.commit) == wanted]
    return found[-1] if found else None


def _model_status(files: RunFiles, deployed: Deployed) -> ModelStatus:
    state = files.state(deployed.name)
    alive = state is not None and psutil.pid_exists(state.pid)
    memory = None
    if state and alive:
        with _already_gone():
            memory = round(psutil.Process(state.pid).memory_info().rss / 1e6, 1)
    return ModelStatus(
        usecase=deployed.target.usecase,
        environment=deployed.target.environment,
        bento=deployed.release.bento,
        model=deployed.release.model,
        commit=deployed.commit,
        url=deployed.url,
        state=state.state if state and alive else "starting",
        pid=state.pid if state and alive else None,
        since=deployed.started,
        memory_mb=memory,
    )


def _spawn_supervisor(settings: Settings) -> None:
    """Detached from this terminal and its pipes, so that `mlops up | tee` ends when mlops does."""
    environment = {
        **os.environ,
        "MLOPS_ROOT": str(settings.root),
        "MLOPS_HOME": str(settings.home),
        "MLOPS_REMOTE": settings.remote,
        "MLOPS_BRANCH": settings.branch,
        "MLOPS_BENTOS": str(settings.bentos),
        "PYTHONUNBUFFERED": "1",
    }
    with _log_file(settings.home).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.embedded.supervisor", "--home", str(settings.home)],
            cwd=settings.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )


def _start_mlflow(settings: Settings, supervisor: Supervisor) -> None:
    """MLflow's page over the same store; one worker, no job runners: 420 MB instead of 1.2 GB."""
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", HOST, "--port", str(MLFLOW_PORT)]
    command += ["--workers", "1", "--backend-store-uri", settings.tracking_uri]
    command += ["--default-artifact-root", (settings.home / "artifacts").as_uri()]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    supervisor.add(MLFLOW, command, settings.home, environment)


def _answers(supervisor: Supervisor) -> bool:
    try:
        return bool(supervisor.names())
    except MlopsError:
        return False


def _has_looked(home: Path) -> bool:
    return _reconciler_state(home).commit is not None


def _await_settled(settings: Settings) -> None:
    """What was released before is served again before `up` returns, or known not to be."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and _reconciler_state(settings.home).rolling_out:
        time.sleep(POLL_SECONDS)


def _reconciler_state(home: Path) -> ReconcilerState:
    path = home / RECONCILER_FILE
    return ReconcilerState.read(path) if path.is_file() else ReconcilerState()


def _require_free(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortUnavailable(
                f"port {port} is taken{_holder(port)}: {error.strerror}", hint="choose another one: `mlops up --port`"
            ) from error


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.laddr
                and connection.laddr.port == port
                and connection.status == psutil.CONN_LISTEN
                and connection.pid
            ):
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return ""
    return ""


def _log_file(home: Path) -> Path:
    return home / "logs" / "supervisor.log"


def _start_failure(home: Path) -> MlopsError:
    logs = [_log_file(home), home / "logs" / "reconciler.log"]
    words = [
        line for log in logs if log.is_file() for line in log.read_text(errors="replace").strip().splitlines()[-5:]
    ]
    return DidNotStart(
        f"the platform did not start within {START_SECONDS:.0f} s:\n" + "\n".join(words), hint=f"logs: {home / 'logs'}"
    )


def _await(condition: Callable[[], bool], seconds: float, failure: Callable[[], MlopsError]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(POLL_SECONDS)
    raise failure()


def _clear_run_files(home: Path) -> None:
    for path in run_folder(home).glob("*"):
        path.unlink(missing_ok=True)
    (home / RECONCILER_FILE).unlink(missing_ok=True)


def _end_orphans(home: Path) -> bool:
    """End servers whose supervisor was killed: known by the pids they wrote down, and by what they serve."""
    orphans = []
    for state in RunFiles(run_folder(home)).all_states():
        with _already_gone():
            process = psutil.Process(state.pid)
            if any(str(run_folder(home)) in argument for argument in process.cmdline()):
                orphans.append(process)
    for process in orphans:
        with _already_gone():
            process.send_signal(signal.SIGTERM)
    for process in _wait_gone(orphans, 15):
        with _already_gone():
            process.kill()
    return bool(orphans)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _wait_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


class _already_gone:  # noqa: N801 - reads as a sentence
    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        return isinstance(error, psutil.Error)
