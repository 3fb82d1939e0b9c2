"""Wait until a commit is what answers."""

import time
from pathlib import Path

from pipelines.documents import Value
from pipelines.embedded.state import (
    DeployedRelease,
    Failure,
    ReconcilerState,
    RunFiles,
    ServingTarget,
    rollouts,
    run_folder,
)
from pipelines.embedded.supervisor_client import Supervisor, SupervisorDown
from pipelines.errors import MlopsError
from pipelines.git.process import run_git
from pipelines.git.repository import Repository
from pipelines.release.release import Release, release_path
from pipelines.settings import Settings

POLL_SECONDS = 0.05


class RolloutFailed(MlopsError):
    """The new version never took a request; the one before, if any, serves on."""


class RolloutSuperseded(MlopsError):
    """A later commit asks for another version."""


class RolloutTimedOut(MlopsError):
    """The commit was not live in time."""


class CommitUnknown(MlopsError):
    """The repository has no such commit, or nothing is released there."""


class RolloutResult(Value):
    """A commit that is live. `seconds`: from when the reconciler began until it took requests."""

    usecase: str
    environment: str
    commit: str
    bento: str
    url: str
    seconds: float


def wait_for(settings: Settings, usecase: str, environment: str, commit: str, timeout: float) -> RolloutResult:
    """Until what this commit releases is what answers; without a commit, the branch's head.

    Raises RolloutFailed, RolloutSuperseded, RolloutTimedOut, CommitUnknown, SupervisorDown.
    """
    target = ServingTarget(usecase=usecase, environment=environment)
    repository = _repository(settings)
    commit = commit or repository.remote_head() or ""
    release = _release_at(repository, target, commit)
    files = RunFiles(run_folder(settings.home))
    deadline = time.monotonic() + timeout
    judged: ReconcilerState | None = None
    while time.monotonic() < deadline:
        if Supervisor(settings.home).info is None:
            raise SupervisorDown(f"no platform runs for {settings.home}", hint="`mlops up` starts it")
        serving = files.serving(target)
        told = ReconcilerState.of(settings.home)
        if serving is not None and serving.serves(release) and _takes_requests(files, serving):
            seconds = _rollout_seconds(settings.home, serving)
            if seconds is not None or str(target) not in told.rolling_out:
                return RolloutResult(
                    usecase=usecase,
                    environment=environment,
                    commit=commit,
                    bento=serving.release.bento,
                    url=serving.url,
                    seconds=seconds or 0.0,
                )
        if told != judged:
            judged = told
            _raise_if_failed(settings, repository, told, target, release, commit)
            _raise_if_superseded(repository, told, target, release, commit)
        time.sleep(POLL_SECONDS)
    raise RolloutTimedOut(
        f"{release.bento} of commit {commit[:9]} did not answer for {target} within {timeout:.0f} s",
        hint=f"`mlops status` says how far it is; logs: {settings.logs}",
    )


def _repository(settings: Settings) -> Repository:
    """A bare repository on this disk is read where it is, so that many may wait at once without a cache to share."""
    on_disk = (Path(settings.remote) / "objects").is_dir()
    cache = Path(settings.remote) if on_disk else settings.home / "cache" / "waiting.git"
    return Repository(settings.remote, settings.branch, cache)


def _refresh(repository: Repository) -> None:
    if repository.cache != Path(repository.remote):
        repository.fetch()


def _takes_requests(files: RunFiles, serving: DeployedRelease) -> bool:
    state = files.state(serving.name)
    return state is not None and state.state == "active"


def _rollout_seconds(home: Path, serving: DeployedRelease) -> float | None:
    """How long it took to bring this server up, once that is written down."""
    wanted = (serving.target.usecase, serving.target.environment, serving.commit, "live")
    found = [r for r in rollouts(home) if (r.usecase, r.environment, r.commit, r.outcome) == wanted]
    return found[-1].seconds if found and found[-1].time >= serving.started else None


def _raise_if_failed(
    settings: Settings,
    repository: Repository,
    told: ReconcilerState,
    target: ServingTarget,
    release: Release,
    commit: str,
) -> None:
    failure: Failure | None = next((f for f in told.failures if f.target == target and f.image == release.image), None)
    if failure is None or str(target) in told.rolling_out or not _contains(repository, failure.head, commit):
        return
    raise RolloutFailed(
        f"{failure.bento} was not rolled out to {target.environment}: {failure.reason}",
        hint=f"the version before serves on; `mlops rollback {target.usecase}` takes the release back; "
        f"logs: {settings.logs}",
    )


def _raise_if_superseded(
    repository: Repository, told: ReconcilerState, target: ServingTarget, release: Release, commit: str
) -> None:
    if told.commit is None or told.commit == commit or not _contains(repository, told.commit, commit):
        return
    text = repository.read(release_path(target.usecase, target.environment), told.commit)
    now = Release.from_yaml(text, "release.yaml") if text else None
    if now is None or now.image != release.image:
        what = now.bento if now else "nothing"
        raise RolloutSuperseded(f"commit {told.commit[:9]} asks for {what} in {target}, no longer for {release.bento}")


def _release_at(repository: Repository, target: ServingTarget, commit: str) -> Release:
    path = release_path(target.usecase, target.environment)
    text = repository.read(path, commit)
    if text is None:
        _refresh(repository)
        text = repository.read(path, commit)
    if text is None:
        raise CommitUnknown(f"{path} is not there at commit {commit[:9]} of {repository.remote}")
    return Release.from_yaml(text, path)


def _contains(repository: Repository, later: str, earlier: str) -> bool:
    """Whether the later commit comes after the earlier one, or is it."""
    if later == earlier:
        return True
    asked = ["merge-base", "--is-ancestor", earlier, later]
    done = run_git(asked, cwd=repository.cache, check=False)
    if done.returncode not in (0, 1):  # a commit that the cache does not have yet
        _refresh(repository)
        done = run_git(asked, cwd=repository.cache, check=False)
    return done.returncode == 0
