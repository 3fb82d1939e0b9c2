"""Embedded: the checkout says which use cases there are, the branch's head what is released, the platform what runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipelines.embedded.status import ModelStatus, platform_status
from pipelines.errors import MlopsError
from pipelines.git.head import Head
from pipelines.git.repository import Repository
from pipelines.monitor.inventory.inventory import DeployedModelState, Health, Sight
from pipelines.packaging.bentos import fetch_bento
from pipelines.release.release import Release
from pipelines.release.releases import Releases
from pipelines.settings import Settings
from pipelines.usecase import UseCase, load_usecase, usecase_names
from pipelines.usecase.load import OVERRIDES_FILE, USECASE_FILE

Stamps = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class _Released:
    """A release with the commit that made it."""

    release: Release
    commit: str
    since: datetime


class GitWatching:
    """What is watched on a laptop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # A clone of its own: the reconciler fetches into its at the same time.
        repository = Repository(settings.remote, settings.branch, settings.home / "cache" / "monitor.git")
        self._releases = Releases(repository)
        self._head = Head(repository)
        self._commit: str | None = None
        self._released: dict[tuple[str, str], _Released] = {}
        self._unreadable: tuple[str, ...] = ()
        self._read_before: dict[tuple[str, str], tuple[Stamps, UseCase | str]] = {}

    def look(self) -> Sight:
        problems: list[str] = []
        try:
            self._read_releases()
        except MlopsError as error:
            problems.append(error.message)
        problems += self._unreadable
        usecases = self._usecases(problems)
        health = self._health(problems)
        first = self._settings.environments.default.name
        models = [
            self._model(usecase, environment, health.get((usecase.name, environment)))
            for (_, environment), usecase in sorted(usecases.items())
            if environment == first or (usecase.name, environment) in self._released
        ]
        return Sight(tuple(models), tuple(dict.fromkeys(problems)), self._commit, datetime.now(UTC))

    def bento(self, release: Release) -> Path:
        return fetch_bento(self._settings.bentos, release.image)

    def _model(self, usecase: UseCase, environment: str, health: Health | None) -> DeployedModelState:
        released = self._released.get((usecase.name, environment))
        if released is None:
            return DeployedModelState(usecase, environment)
        known = health or Health("unknown")
        return DeployedModelState(usecase, environment, released.release, released.commit, released.since, known)

    def _read_releases(self) -> None:
        head = self._head.read()
        if head is None or head == self._commit:
            return
        repository = self._releases.repository
        head = repository.fetch()
        found, unreadable = self._releases.all(head)
        served = self._settings.environments.embedded
        self._released = {
            place: self._with_commit(head, release, place[1]) for place, release in found.items() if place[1] in served
        }
        self._unreadable = tuple(sorted(unreadable.values()))
        self._commit = head

    def _with_commit(self, head: str, release: Release, environment: str) -> _Released:
        commit = self._releases.commit_of(head, release, environment)
        return _Released(release, commit.sha, commit.time)

    def _usecases(self, problems: list[str]) -> dict[tuple[str, str], UseCase]:
        found = {}
        for name in usecase_names(self._settings.root):
            for environment in self._settings.environments.embedded:
                read = self._read(name, environment)
                if isinstance(read, UseCase):
                    found[name, environment] = read
                else:
                    problems.append(read)
        return found

    def _read(self, name: str, environment: str) -> UseCase | str:
        """The use case, or why there is none; read again when its files have changed."""
        stamps = _stamps(self._settings.root / "apps" / name, environment)
        known = self._read_before.get((name, environment))
        if known is None or known[0] != stamps:
            try:
                known = stamps, load_usecase(self._settings.root, name, environment)
            except MlopsError as error:
                known = stamps, error.message
            self._read_before[name, environment] = known
        return known[1]

    def _health(self, problems: list[str]) -> dict[tuple[str, str], Health]:
        told = platform_status(self._settings)
        problems += told.problems
        return {(model.usecase, model.environment): _health_of(model) for model in told.models}


def _stamps(folder: Path, environment: str) -> Stamps:
    """When and how large the files are that a use case is read from; None for one that is not there."""
    found: list[tuple[int, int] | None] = []
    for path in (folder / USECASE_FILE, folder / environment / OVERRIDES_FILE):
        try:
            seen = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((seen.st_mtime_ns, seen.st_size))
    return tuple(found)


def _health_of(model: ModelStatus) -> Health:
    return Health(
        state=model.state,
        bento=model.bento,
        since=datetime.fromtimestamp(model.since, UTC) if model.since else None,
        url=model.url,
        detail=f"{model.memory_mb:.0f} MB" if model.memory_mb else None,
        problem=model.problem,
    )
