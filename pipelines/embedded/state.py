"""What the embedded platform writes down: the servers that run, what the reconciler knows, every rollout.

    <home>/run/<model>.active             the name of the server that takes the model's requests
    <home>/run/<server>.deployed.json     what a server was started for
    <home>/run/<server>.state.json        what the server says of itself
    <home>/reconciler.json                the last commit read, what failed, what is under way
    <home>/rollouts.jsonl                 every act, one JSON object a line

A model is `<use case>.<environment>`; a server adds the version and a random part, so no name is used twice.
"""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

import bento.errors
from bento.server_state import ServerState
from pipelines.documents import Document, SchemaTooNew, Value
from pipelines.release.release import Release

RECONCILER_FILE = "reconciler.json"
ROLLOUTS_FILE = "rollouts.jsonl"

# Such a file is as good as none: whoever starts anew must not fail on what another version has left.
UNREADABLE = (OSError, ValueError, SchemaTooNew, bento.errors.SchemaTooNew)

RolloutOutcome = Literal["live", "failed", "stopped", "superseded"]


class ServingTarget(Value):
    """A use case in an environment: what one release.yaml is about."""

    usecase: str
    environment: str

    def __str__(self) -> str:
        return f"{self.usecase}.{self.environment}"


class DeployedRelease(Document):
    """A server process and the release it was started for. `started`: seconds since 1970."""

    KIND = "deployed"

    name: str
    target: ServingTarget
    commit: str
    release: Release
    url: str
    started: float

    def serves(self, release: Release) -> bool:
        """Whether this release needs no other server: the same Bento, whatever else its file says."""
        return (self.release.image, self.release.bento) == (release.image, release.bento)


class Failure(Value):
    """A release that could not be rolled out: at which head of the branch, and when it is tried again."""

    target: ServingTarget
    commit: str
    head: str
    bento: str
    image: str
    reason: str
    attempts: int
    retry_at: float


class ReconcilerState(Document):
    """What the reconciler last saw and knows. `rolling_out` are targets by name."""

    KIND = "reconciler-state"

    commit: str | None = None
    seen_at: float = 0.0
    failures: list[Failure] = []
    problems: list[str] = []
    rolling_out: list[str] = []

    @classmethod
    def of(cls, home: Path) -> "ReconcilerState":
        """What is written down; nothing when there is no such file or another version wrote it."""
        try:
            return cls.read(home / RECONCILER_FILE)
        except UNREADABLE:
            return cls()


class RolloutRecord(Document):
    """One act of the reconciler. `time`: its end, seconds since 1970; `parts`: seconds by stage."""

    KIND = "rollout"

    time: float
    usecase: str
    environment: str
    commit: str
    bento: str
    outcome: RolloutOutcome
    seconds: float
    reason: str = ""
    parts: dict[str, float] = {}


def append_rollout(home: Path, record: RolloutRecord) -> None:
    """Add a line; one that a crash cut short is ended first, so that it spoils no other."""
    path = home / ROLLOUTS_FILE
    whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("" if whole else "\n") + record.to_json() + "\n")


def rollouts(home: Path) -> list[RolloutRecord]:
    """Every act so far, oldest first; a line that a crash cut short is left out."""
    path = home / ROLLOUTS_FILE
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(RolloutRecord.parse(line, str(path)))
        except ValidationError:
            continue
    return found


def run_folder(home: Path) -> Path:
    """State of the running servers; made anew whenever a supervisor starts."""
    return home / "run"


class RunFiles:
    """The files in <home>/run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def active_file(self, target: ServingTarget) -> Path:
        """Its text is the name of the server that may take the target's traffic."""
        return self.folder / f"{target}.active"

    def state_file(self, name: str) -> Path:
        return self.folder / f"{name}.state.json"

    def deployed_file(self, name: str) -> Path:
        return self.folder / f"{name}.deployed.json"

    def active(self, target: ServingTarget) -> str | None:
        try:
            return self.active_file(target).read_text(encoding="utf-8").strip()
        except OSError:
            return None

    def serving(self, target: ServingTarget) -> DeployedRelease | None:
        """What the active server was started for."""
        name = self.active(target)
        return self.deployed(name) if name else None

    def state(self, name: str) -> ServerState | None:
        try:
            return ServerState.read(self.state_file(name))
        except UNREADABLE:
            return None

    def deployed(self, name: str) -> DeployedRelease | None:
        try:
            return DeployedRelease.read(self.deployed_file(name))
        except UNREADABLE:
            return None

    def all_deployed(self) -> list[DeployedRelease]:
        suffix = ".deployed.json"
        names = sorted(path.name.removesuffix(suffix) for path in self.folder.glob(f"*{suffix}"))
        return [found for name in names if (found := self.deployed(name))]

    def forget(self, name: str) -> None:
        self.deployed_file(name).unlink(missing_ok=True)
        self.state_file(name).unlink(missing_ok=True)
