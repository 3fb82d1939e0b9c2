"""From what Vertex AI has to what Git says: the steps, worked out from both sides alone, nothing remembered.

    endpoint → version → deploy beside the old (canary) → hold → all traffic → undeploy the old → labels

A step is done when the next look shows it; so a run that was killed anywhere is gone on with by the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.vertex.errors import KeyIsFixed
from pipelines.vertex.machines import MachineSize
from pipelines.vertex.target import VertexTarget

NEW = "0"  # Vertex AI's own name, in a traffic split, for the model that is being deployed


@dataclass(frozen=True)
class DeployedModel:
    """A version on an endpoint."""

    id: str
    version: str
    size: MachineSize
    traffic: int
    created: datetime
    account: str = ""

    def __str__(self) -> str:
        return f"version {self.version} ({self.id})"


@dataclass(frozen=True)
class Observed:
    """What there is. `version`: of the model, the one with the image that Git names; None before it is uploaded."""

    exists: bool = False
    model_exists: bool = False
    version: str | None = None
    deployed: tuple[DeployedModel, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    etag: str = ""


@dataclass(frozen=True)
class CreateEndpoint:
    def __str__(self) -> str:
        return "create the endpoint"


@dataclass(frozen=True)
class UploadVersion:
    image: str

    def __str__(self) -> str:
        return f"upload {self.image}"


@dataclass(frozen=True)
class Deploy:
    size: MachineSize
    traffic: Mapping[str, int]

    def __str__(self) -> str:
        low, high = self.size.replicas
        return f"deploy it on {low} to {high} {self.size.machine}, {self.traffic[NEW]} % of the traffic"


@dataclass(frozen=True)
class Hold:
    until: datetime | None
    seconds: float

    def __str__(self) -> str:
        return f"hold {self.seconds:.0f} s" + (f", until {self.until:%H:%M:%S} UTC" if self.until else "")


@dataclass(frozen=True)
class Shift:
    traffic: Mapping[str, int]

    def __str__(self) -> str:
        told = ", ".join(f"{share} % to {'the new' if name == NEW else name}" for name, share in self.traffic.items())
        return f"move the traffic: {told}"


@dataclass(frozen=True)
class Resize:
    id: str
    size: MachineSize

    def __str__(self) -> str:
        return f"resize {self.id} to {self.size.replicas[0]} to {self.size.replicas[1]} machines"


@dataclass(frozen=True)
class Undeploy:
    deployed: DeployedModel

    def __str__(self) -> str:
        return f"undeploy {self.deployed}"


@dataclass(frozen=True)
class Label:
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"label the endpoint with {self.labels.get('bento', 'no release')}"


PlanStep = CreateEndpoint | UploadVersion | Deploy | Hold | Shift | Resize | Undeploy | Label


def plan(target: VertexTarget, seen: Observed, now: datetime) -> list[PlanStep]:
    """What is to be done, in order. Empty: Vertex AI has what Git says."""
    if target.release is None or target.size is None:
        return _retire(target, seen)
    if seen.exists and seen.key != (target.key or ""):
        raise KeyIsFixed(
            f"the endpoint {target.resource} is encrypted with {seen.key or 'a key of Google'}, and Git says "
            f"{target.key or 'none'}; an endpoint keeps the key it was made with",
            hint="move its callers to another endpoint, delete this one, and reconcile: it is made anew",
        )
    current = _current(target, target.size, seen)
    steps: list[PlanStep] = [] if seen.exists else [CreateEndpoint()]
    if current is None:
        if seen.version is None:
            steps.append(UploadVersion(target.release.image))
        steps += _replace(target, target.size, seen)
    else:
        steps += _finish(target, target.size, current, seen, now)
    if not steps and dict(seen.labels) == target.labels:
        return []
    return [*steps, Label(target.labels)]


def _current(target: VertexTarget, size: MachineSize, seen: Observed) -> DeployedModel | None:
    """The deployment that Git means; the one with the most traffic, should there be two."""
    wanted = (seen.version, size.machine, target.service_account or "")
    fitting = [each for each in seen.deployed if (each.version, each.size.machine, each.account) == wanted]
    return max(fitting, key=lambda each: (each.traffic, each.created), default=None)


def _replace(target: VertexTarget, size: MachineSize, seen: Observed) -> list[PlanStep]:
    """A version beside the one that serves; what an unfinished rollout left goes first."""
    main = max(seen.deployed, key=lambda each: (each.traffic, each.created), default=None)
    if main is None:
        return [Deploy(size, {NEW: 100})]
    left = [each for each in seen.deployed if each is not main]
    steps: list[PlanStep] = [Shift({main.id: 100})] if main.traffic < 100 else []
    steps += [Undeploy(each) for each in left]
    canary = None if target.is_rollback else target.canary
    if canary is None:
        return [*steps, Deploy(size, {NEW: 100}), Undeploy(main)]
    split = {NEW: canary.percent, main.id: 100 - canary.percent}
    hold = Hold(None, canary.hold.total_seconds())
    return [*steps, Deploy(size, split), hold, Shift({NEW: 100}), Undeploy(main)]


def _finish(
    target: VertexTarget, size: MachineSize, current: DeployedModel, seen: Observed, now: datetime
) -> list[PlanStep]:
    """The version is there: its size, then its traffic, then nothing beside it."""
    others = [each for each in seen.deployed if each is not current]
    steps: list[PlanStep] = []
    if current.size.replicas != size.replicas:
        steps.append(Resize(current.id, size))
    if current.traffic < 100:
        canary = None if target.is_rollback else target.canary
        is_canary = canary and current.traffic <= canary.percent and any(each.traffic for each in others)
        if canary and is_canary and current.created + canary.hold > now:
            until = current.created + canary.hold
            steps.append(Hold(until, (until - now).total_seconds()))
        steps.append(Shift({current.id: 100}))
    return steps + [Undeploy(each) for each in others]


def _retire(target: VertexTarget, seen: Observed) -> list[PlanStep]:
    """Nothing is released: machines cost money. The endpoint stays, with its address; it costs nothing."""
    left = sorted(seen.deployed, key=lambda each: each.traffic)
    steps: list[PlanStep] = [Shift({left[-1].id: 100})] if left and left[-1].traffic < 100 else []
    steps += [Undeploy(each) for each in left]
    if seen.exists and (steps or dict(seen.labels) != target.labels):
        steps.append(Label(target.labels))
    return steps
