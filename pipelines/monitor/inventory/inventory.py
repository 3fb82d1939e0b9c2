"""What is watched at a moment, however it was found: from Git and the checkout, or in a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from pipelines.monitor.metrics.inventory import ReleasedVersion, WatchedModels
from pipelines.release.release import Release
from pipelines.usecase import UseCase

ServingState = Literal["serving", "starting", "restarting", "failed", "down", "unknown"]


@dataclass(frozen=True)
class Health:
    """Whether the model answers. `bento`: the version that does; `url`: where people reach it, if they can."""

    state: ServingState
    bento: str | None = None
    since: datetime | None = None
    url: str | None = None
    detail: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class DeployedModelState:
    """A use case in an environment. Without a release it is known, and there is nothing to watch yet."""

    usecase: UseCase
    environment: str
    release: Release | None = None
    commit: str = ""
    since: datetime | None = None
    health: Health = Health("unknown")

    @property
    def place(self) -> tuple[str, str]:
        return self.usecase.name, self.environment

    @property
    def watched(self) -> WatchedModels:
        """As the metrics tell it."""
        version = (
            ReleasedVersion(self.release.bento, self.release.model, self.commit, self.since) if self.release else None
        )
        return WatchedModels(self.usecase, self.environment, version)


@dataclass(frozen=True)
class Sight:
    """All that is watched, and what of it cannot be read. `commit`: the one that was looked at, where there is one."""

    models: tuple[DeployedModelState, ...] = ()
    problems: tuple[str, ...] = ()
    commit: str | None = None
    seen_at: datetime | None = None

    def usecase(self, name: str) -> UseCase | None:
        """As it is in the first environment that has it."""
        return next((model.usecase for model in self.models if model.usecase.name == name), None)

    def model(self, usecase: str, environment: str) -> DeployedModelState | None:
        return next((model for model in self.models if model.place == (usecase, environment)), None)


class Watching(Protocol):
    """Finds what is watched."""

    def look(self) -> Sight:
        """What there is now. What cannot be reached is a problem of the sight, and the last known stays."""
        ...

    def bento(self, release: Release) -> Path:
        """The folder of a released Bento, fetched where it is not here yet. Raises MlopsError."""
        ...


Look = Callable[[], Sight]
