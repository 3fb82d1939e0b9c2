"""`pipeline`: what the steps need when an orchestrator runs each one in its own container."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipelines.definitions.find import step_names
from pipelines.usecase.durations import PositiveDuration
from pipelines.usecase.strict import CPU_PATTERN, MEMORY_PATTERN, NAME_PATTERN, Misfit, Strict, Words

if TYPE_CHECKING:
    StepName = str
else:
    StepName = Literal[step_names()]  # so that another name is an error that lists these

Retries = Annotated[int, Field(ge=0, le=10)]
Gpus = Annotated[int, Field(ge=0, le=16)]
PoolName = Annotated[str, Field(pattern=NAME_PATTERN)]


class StepNeeds(Strict):
    """Requirements of a single step. Keys that are left out are taken from `pipeline`."""

    cpu: str | None = Field(default=None, pattern=CPU_PATTERN, description="Its cores.", examples=["4"])
    memory: str | None = Field(default=None, pattern=MEMORY_PATTERN, description="Its memory.", examples=["8Gi"])
    gpus: Gpus | None = Field(default=None, description="Its GPUs.", examples=[1])
    timeout: PositiveDuration | None = Field(
        default=None, description="After this time it is stopped and counts as failed.", examples=["6h"]
    )
    retries: Retries | None = Field(default=None, description="How often it is retried.", examples=[0])
    pool: PoolName | None = Field(default=None, description="The node pool it runs in.", examples=["training"])


class SecretKey(Strict):
    """One value of a Secret in the pipelines' namespace."""

    name: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", description="The name of the Secret.", examples=["warehouse"]
    )
    key: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="The key in the Secret.", examples=["password"])


class Pipeline(Strict):
    """Requirements of each step's container. The embedded runner has no containers and ignores all of this."""

    image: str | None = Field(
        default=None,
        pattern=NAME_PATTERN,
        description="Which of the images in `clusters/<environment>/pipelines/images.yaml`; left out, `default`.",
        examples=["tensorflow"],
    )
    cpu: str = Field(default="500m", pattern=CPU_PATTERN, description="Cores of each step.", examples=["500m"])
    memory: str = Field(default="2Gi", pattern=MEMORY_PATTERN, description="Memory of each step.", examples=["2Gi"])
    gpus: Gpus = Field(default=0, description="GPUs of each step.", examples=[0])
    timeout: PositiveDuration = Field(
        default=timedelta(hours=2),
        description="After this time a step is stopped and counts as failed.",
        examples=["2h"],
    )
    retries: Retries = Field(default=2, description="How often a step is retried, with growing pauses.", examples=[2])
    pool: PoolName | None = Field(
        default=None,
        description="The node pool that steps run in, tainted or not. Left out, any node with room.",
        examples=["training"],
    )
    steps: dict[StepName, StepNeeds] = Field(
        default={},
        description="Steps with different requirements.",
        examples=[{"train": {"cpu": "4", "memory": "8Gi", "pool": "training"}}],
    )
    secrets: dict[Words, SecretKey] = Field(
        default={},
        description="Environment variables of the step that loads the data, and of no other step, such as a database's "
        "password that `data.source.url` names.",
        examples=[{"WAREHOUSE_PASSWORD": {"name": "warehouse", "key": "password"}}],
    )

    def needs_of(self, step: str) -> "Pipeline":
        """What one step needs, all of it said."""
        own = self.steps.get(step)
        if own is None:
            return self
        return self.model_copy(update=own.model_dump(exclude_none=True, exclude={"timeout"}) | _timeout(own))


def _timeout(own: StepNeeds) -> dict[str, timedelta]:
    return {"timeout": own.timeout} if own.timeout else {}


def require_own_names(names: list[str]) -> None:
    """The framework's own variables are not for a use case to set."""
    for name in names:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            wanted = "an environment variable is capital letters, digits and underscores"
            raise Misfit(f"{name!r} cannot be one; {wanted}", "pipeline", "secrets", name)
        if name.startswith("MLOPS_"):
            raise Misfit(f"{name} is a setting of the pipeline itself; take another name", "pipeline", "secrets", name)
