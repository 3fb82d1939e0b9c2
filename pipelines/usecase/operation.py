"""`serving`, `monitoring` and `retrain`: how big the model's server is, what is watched, when to train again."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from pipelines.usecase.cron import check_cron
from pipelines.usecase.durations import Duration, PositiveDuration
from pipelines.usecase.gates import MetricName
from pipelines.usecase.strict import CPU_PATTERN, MEMORY_PATTERN, Misfit, Strict, Words, require_distinct

Count = Annotated[int, Field(ge=1)]


class Serving(Strict):
    """The size of the model's server and what it promises."""

    replicas: tuple[Count, Count] = Field(
        default=(1, 2), strict=False, description="Minimum and maximum number of servers.", examples=[[2, 8]]
    )
    cpu: str = Field(default="500m", pattern=CPU_PATTERN, description="Cores of one server.", examples=["500m", "2"])
    memory: str = Field(
        default="512Mi", pattern=MEMORY_PATTERN, description="Memory of one server.", examples=["512Mi"]
    )
    p99_ms: float = Field(
        default=100, gt=0, description="The latency, in milliseconds, that 99 of 100 responses meet.", examples=[50]
    )
    availability: float = Field(
        default=0.999,
        gt=0,
        lt=1,
        description="The share of requests that the server answers without a server error. "
        "Alerts depend on how fast the rest, the error budget, is used up.",
        examples=[0.999],
    )
    timeout: PositiveDuration = Field(
        default=timedelta(seconds=10), description="After this time a request is aborted.", examples=["10s"]
    )
    max_batch: int = Field(
        default=1000, ge=1, description="Maximum number of instances in one request.", examples=[1000]
    )

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> "Serving":
        if self.replicas[0] > self.replicas[1]:
            raise Misfit(f"{list(self.replicas)} go from the fewest to the most; swap them", "replicas")
        return self


class Drift(Strict):
    """Do the requests still look like the training data?"""

    method: Literal["psi", "wasserstein", "jensenshannon", "ks"] = Field(
        default="psi", description="How two distributions are compared.", examples=["psi"]
    )
    columns: list[str] = Field(
        default=[], description="Features to watch; all of them if left out.", examples=[["distance"]]
    )
    threshold: float = Field(gt=0, description="A column above it has drifted.", examples=[0.2])
    min_rows: int = Field(default=500, ge=1, description="Minimum number of predictions for a verdict.", examples=[500])
    window: PositiveDuration = Field(
        default=timedelta(hours=24), description="The time span of predictions to look at.", examples=["24h"]
    )


class Quality(Strict):
    """Are the answers still right, once the true values are known? Exactly one of `at_least` and `at_most`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["at_least"]}, {"required": ["at_most"]}]})

    metric: MetricName = Field(description="What is watched.", examples=["roc_auc"])
    at_least: float | None = Field(default=None, description="An alert is raised below it.", examples=[0.62])
    at_most: float | None = Field(default=None, description="An alert is raised above it.", examples=[0.25])
    labels_within: PositiveDuration = Field(
        description="How long after a prediction its true value is known.", examples=["3d"]
    )
    min_labels: int = Field(
        default=500, ge=1, description="Minimum number of true values for a verdict.", examples=[500]
    )

    @model_validator(mode="after")
    def _has_one_limit(self) -> "Quality":
        limits = [name for name in ("at_least", "at_most") if getattr(self, name) is not None]
        if len(limits) != 1:
            raise Misfit(
                f"quality has exactly one of at_least and at_most; this one has {' and '.join(limits) or 'none'}",
                *limits[-1:],
            )
        return self


class StoreSettings(Strict):
    """What is stored of every prediction, and for how long."""

    columns: dict[Words, Literal["store", "hash", "drop"]] = Field(
        default={},
        description="For a feature or key column: `store` it, keep only a keyed `hash`, or `drop` it "
        "before anything is stored.",
        examples=[{"customer_id": "hash", "birth_date": "drop"}],
    )
    retention: PositiveDuration = Field(
        default=timedelta(days=90), description="Older predictions are deleted, with their labels.", examples=["90d"]
    )


class Monitoring(Strict):
    """What is monitored while the model serves."""

    store: StoreSettings = Field(default=StoreSettings(), description="What is stored of every prediction.")
    drift: Drift | None = Field(default=None, description="Watch the inputs. Left out or null, they are not watched.")
    quality: Quality | None = Field(
        default=None, description="Watch the answers. Left out or null, they are not watched."
    )
    stale_after: PositiveDuration | None = Field(
        default=timedelta(days=90),
        description="A version that has been released for longer raises an alert. Null: never.",
        examples=["90d"],
    )


class Retrain(Strict):
    """When the pipeline runs automatically."""

    schedule: str | None = Field(
        default=None, description="Cron: minute, hour, day, month, weekday, in UTC.", examples=["0 3 * * 1"]
    )
    suspended: bool = Field(
        default=False,
        description="Keep the schedule, but start no runs from it; for one environment's overrides.",
        examples=[True],
    )
    on: list[Literal["drift", "quality", "missing-labels", "new-data"]] = Field(
        default=[], description="What triggers a run.", examples=[["drift", "new-data"]]
    )
    cooldown: Duration = Field(
        default=timedelta(hours=6), description="Minimum time between two runs.", examples=["6h"]
    )

    @field_validator("schedule")
    @classmethod
    def _schedule_is_cron(cls, value: str | None) -> str | None:
        if value is not None:
            check_cron(value)
        return value

    @model_validator(mode="after")
    def _reasons_differ(self) -> "Retrain":
        require_distinct(self.on, "on")
        return self
