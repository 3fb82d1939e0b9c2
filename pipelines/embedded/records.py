"""What the embedded platform writes down: the releases that run, what the reconciler knows, every rollout."""

import json
from pathlib import Path
from typing import Literal

from pipelines.documents import Document
from pipelines.release.release import Release

RECONCILER_FILE = "reconciler.json"
ROLLOUTS_FILE = "rollouts.jsonl"

Outcome = Literal["live", "failed", "stopped"]


class Target(Document):
    """What serves a use case in an environment."""

    usecase: str
    environment: str

    def __str__(self) -> str:
        return f"{self.usecase}.{self.environment}"


class Deployed(Document):
    """A server process and the release it was started for."""

    name: str
    target: Target
    commit: str
    release: Release
    url: str
    started: float


class ServerState(Document):
    """What a server says of itself."""

    pid: int
    private_port: int
    state: Literal["standby", "active", "draining"]


class Failure(Document):
    """A release that could not be rolled out, and when it is tried again."""

    target: Target
    commit: str
    bento: str
    digest: str
    reason: str
    attempts: int
    retry_at: float


class ReconcilerState(Document):
    """What the reconciler last saw and knows."""

    commit: str | None = None
    seen_at: float = 0.0
    failures: list[Failure] = []
    problems: list[str] = []
    rolling_out: list[str] = []


class RolloutRecord(Document):
    """One act of the reconciler."""

    time: float
    usecase: str
    environment: str
    commit: str
    bento: str
    outcome: Outcome
    seconds: float
    reason: str = ""
    parts: dict[str, float] = {}


def append_rollout(home: Path, record: RolloutRecord) -> None:
    with (home / ROLLOUTS_FILE).open("a", encoding="utf-8") as file:
        file.write(record.model_dump_json() + "\n")


def rollouts(home: Path) -> list[RolloutRecord]:
    """Every rollout so far, oldest first."""
    path = home / ROLLOUTS_FILE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [RolloutRecord.model_validate(json.loads(line)) for line in lines if line.endswith("\n")]


class RunFiles:
    """The files in <home>/run that say which version of each target is active, and how each server is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def active_file(self, target: Target) -> Path:
        """Its text is the name of the server that may take the target's traffic."""
        return self.folder / f"{target}.active"

    def state_file(self, name: str) -> Path:
        return self.folder / f"{name}.state.json"

    def deployed_file(self, name: str) -> Path:
        return self.folder / f"{name}.deployed.json"

    def active(self, target: Target) -> str | None:
        path = self.active_file(target)
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None

    def state(self, name: str) -> ServerState | None:
        path = self.state_file(name)
        return ServerState.read(path) if path.is_file() else None

    def deployed(self, name: str) -> Deployed | None:
        path = self.deployed_file(name)
        return Deployed.read(path) if path.is_file() else None

    def all_deployed(self) -> list[Deployed]:
        if not self.folder.is_dir():
            return []
        return [Deployed.read(path) for path in sorted(self.folder.glob("*.deployed.json"))]

    def all_states(self) -> list[ServerState]:
        if not self.folder.is_dir():
            return []
        return [ServerState.read(path) for path in self.folder.glob("*.state.json")]

    def forget(self, name: str) -> None:
        self.deployed_file(name).unlink(missing_ok=True)
        self.state_file(name).unlink(missing_ok=True)
