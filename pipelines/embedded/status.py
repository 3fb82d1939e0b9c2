"""What runs on the embedded platform, and what should but does not."""

from pathlib import Path
from typing import Literal

from pipelines.documents import Value
from pipelines.embedded.monitor_process import MONITOR, url_file
from pipelines.embedded.state import DeployedRelease, Failure, ReconcilerState, RunFiles, ServingTarget, run_folder
from pipelines.embedded.supervisor_client import RECONCILER, Supervisor, WatchedProcess
from pipelines.errors import MlopsError
from pipelines.settings import Settings

MLFLOW = "mlflow"

ModelState = Literal["serving", "starting", "restarting", "failed", "down"]


class ModelStatus(Value):
    """One target.

    `state`: serving; starting (its first server is on its way); restarting (it crashed); failed (nothing serves it);
    down (released, but the platform does not run). `problem` says why a newer version does not serve. `since`: seconds
    since 1970.
    """

    usecase: str
    environment: str
    state: ModelState
    bento: str | None = None
    model: str | None = None
    commit: str | None = None
    url: str | None = None
    pid: int | None = None
    since: float | None = None
    memory_mb: float | None = None
    problem: str | None = None


class PlatformStatus(Value):
    """The whole platform. `commit`: the last one the reconciler read."""

    running: bool
    pid: int | None = None
    commit: str | None = None
    models: list[ModelStatus] = []
    mlflow: str | None = None
    monitor: str | None = None
    problems: list[str] = []


def platform_status(settings: Settings) -> PlatformStatus:
    """Ask the supervisor and read what the reconciler wrote down; when nothing runs, ask Git what is released."""
    home = settings.home
    supervisor = Supervisor(home)
    info = supervisor.info
    if info is None:
        return _at_rest(settings)
    told = ReconcilerState.of(home)
    problems = list(told.problems)
    try:
        watched = supervisor.watched()
    except MlopsError as error:
        watched, problems = {}, [*problems, error.message]
    for name in (RECONCILER, MONITOR):
        process = watched.get(name)
        if process is not None and process.crashes > 1:
            problems.append(f"the {name} crashed {process.crashes} times; log: {home / 'logs' / name}.log")
    mlflow = watched.get(MLFLOW)
    url = (home / "mlflow.url").read_text(encoding="utf-8") if mlflow and not mlflow.stopped else None
    return PlatformStatus(
        running=True,
        pid=info.process.pid,
        commit=told.commit,
        models=_models(RunFiles(run_folder(home)), told, watched),
        mlflow=url,
        monitor=_address(home, watched),
        problems=problems,
    )


def _address(home: Path, watched: dict[str, WatchedProcess]) -> str | None:
    """Where the monitor listens, if it runs."""
    monitor = watched.get(MONITOR)
    return url_file(home).read_text(encoding="utf-8").strip() if monitor and not monitor.stopped else None


def _at_rest(settings: Settings) -> PlatformStatus:
    """What `mlops up` would serve."""
    if settings.remote == str(settings.home / "origin.git") and not Path(settings.remote).exists():
        return PlatformStatus(running=False)
    from pipelines.release.releases import open_releases  # not needed while the platform runs

    releases = open_releases(settings)
    try:
        head = releases.repository.fetch()
        found, unreadable = releases.all(head)
    except MlopsError as error:
        return PlatformStatus(running=False, problems=[error.message])
    models = [
        ModelStatus(
            usecase=usecase,
            environment=environment,
            state="down",
            bento=release.bento,
            model=release.model,
            commit=releases.commit_of(head, release, environment).sha,
        )
        for (usecase, environment), release in sorted(found.items())
        if environment in settings.environments.embedded
    ]
    return PlatformStatus(running=False, commit=head, models=models, problems=sorted(unreadable.values()))


def _models(files: RunFiles, told: ReconcilerState, watched: dict[str, WatchedProcess]) -> list[ModelStatus]:
    serving = {d.target: d for d in files.all_deployed() if files.active(d.target) == d.name}
    failures = {failure.target: failure for failure in told.failures}
    starting = {_target(name) for name in told.rolling_out}
    targets = sorted({*serving, *failures, *starting}, key=lambda target: (target.usecase, target.environment))
    models = []
    for target in targets:
        failure = failures.get(target)
        if target in serving:
            models.append(_served(serving[target], watched.get(serving[target].name), failure))
        else:
            models.append(
                ModelStatus(
                    usecase=target.usecase,
                    environment=target.environment,
                    state="starting" if target in starting else "failed",
                    bento=failure.bento if failure else None,
                    commit=failure.commit if failure else None,
                    problem=_problem(failure),
                )
            )
    return models


def _served(deployed: DeployedRelease, server: WatchedProcess | None, failure: Failure | None) -> ModelStatus:
    import psutil

    pid = server.pid if server else None
    memory = None
    if pid is not None:
        try:
            memory = round(psutil.Process(pid).memory_info().rss / 2**20, 1)
        except psutil.Error:
            pid = None
    problem = _problem(failure)
    if problem is None and server is not None and server.crashes > 1:
        problem = f"crashed {server.crashes} times, last with exit status {server.exit_code}"
    return ModelStatus(
        usecase=deployed.target.usecase,
        environment=deployed.target.environment,
        state="serving" if pid is not None else "restarting",
        bento=deployed.release.bento,
        model=deployed.release.model,
        commit=deployed.commit,
        url=deployed.url,
        pid=pid,
        since=deployed.started,
        memory_mb=memory,
        problem=problem,
    )


def _problem(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    return f"{failure.bento} of commit {failure.commit[:9]} was not rolled out: {failure.reason}"


def _target(name: str) -> ServingTarget:
    usecase, environment = name.rsplit(".", 1)
    return ServingTarget(usecase=usecase, environment=environment)
