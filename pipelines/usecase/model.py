"""UseCase: usecase.yaml as typed, validated config.

Every limit, size and owner of a use case stands here and nowhere else. Unknown keys and impossible
combinations are refused before anything runs.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.metric_catalog import METRICS, Task, metrics_for
from pipelines.usecase.durations import Duration

NAME_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
ENTRY_PATTERN = r"^[A-Za-z0-9_/.-]+\.py:[A-Za-z_][A-Za-z0-9_]*$"
CPU_PATTERN = r"^([0-9]+m|[0-9]+(\.[0-9]+)?)$"
MEMORY_PATTERN = r"^[0-9]+(Mi|Gi)$"

EntryPoint = Annotated[str, Field(pattern=ENTRY_PATTERN, examples=["model.py:train"])]


class Strict(BaseModel):
    """Immutable, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Owner(Strict):
    """Who answers for the model. A use case without an accountable owner cannot be released."""

    team: str = Field(min_length=1)
    contact: str = Field(min_length=3, description="Where a person can be reached, such as a mail address.")
    accountable: str = Field(min_length=1, description="The role or person who answers for this model's decisions.")


class Risk(Strict):
    """What can go wrong for people, and what is done about it (levels follow the EU AI Act)."""

    level: Literal["minimal", "limited", "high"]
    concerns: list[str] = []
    mitigations: list[str] = []

    @model_validator(mode="after")
    def _a_high_risk_needs_mitigations(self) -> "Risk":
        if self.level == "high" and not (self.concerns and self.mitigations):
            raise ValueError("a high risk needs concerns and mitigations; name at least one of each")
        return self


# --- data -------------------------------------------------------------------------------------------------


class PythonSource(Strict):
    """A function of the use case's own code. It takes no argument and gives an Arrow or pandas table."""

    type: Literal["python"]
    load: EntryPoint


class FileSource(Strict):
    """Files at any fsspec URL; `*` matches many, which are read in name order."""

    type: Literal["file"]
    url: str = Field(min_length=1, examples=["s3://bucket/flights/*.parquet", "data/flights.csv"])
    format: Literal["csv", "parquet", "json"] | None = Field(
        default=None,
        description="Read off the file's ending where it is left out; json means one object a line.",
    )
    options: dict[str, Any] = Field(default={}, description="Passed to fsspec, such as endpoint_url or anon.")


class SqlSource(Strict):
    """A query against any SQLAlchemy URL. `:as_of` in the query is bound to the run's date."""

    type: Literal["sql"]
    url: str = Field(
        min_length=1,
        description="`${NAME}` is read from the environment: no secret belongs in Git.",
        examples=["${FLIGHTS_URL}"],
    )
    query: str = Field(min_length=1)


Source = Annotated[PythonSource | FileSource | SqlSource, Field(discriminator="type")]


class NumberFeature(Strict):
    """A number. It reaches the model as float32."""

    type: Literal["number"]
    min: float | None = None
    max: float | None = None
    max_missing: float = Field(
        default=0.0, ge=0, le=1, description="Largest share of missing values; above 0, null is allowed."
    )
    unit: str | None = None

    @model_validator(mode="after")
    def _min_is_below_max(self) -> "NumberFeature":
        _require_order(self.min, self.max)
        return self


class CategoryFeature(Strict):
    """A text value. With `one_of` anything else is refused; without it the model decides what an unknown value means."""

    type: Literal["category"]
    one_of: list[str] | None = Field(default=None, min_length=1)
    max_missing: float = Field(default=0.0, ge=0, le=1)


class TensorFeature(Strict):
    """A picture, vector or any array of fixed shape."""

    type: Literal["tensor"]
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, examples=[[28, 28]])
    dtype: Literal["uint8", "float32"] = "float32"
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _min_is_below_max(self) -> "TensorFeature":
        _require_order(self.min, self.max)
        return self


Feature = Annotated[NumberFeature | CategoryFeature | TensorFeature, Field(discriminator="type")]


class TimeSplit(Strict):
    """The newest rows are the test, those before them the validation, all older ones the training."""

    by: Literal["time"]
    test: Duration
    validation: Duration


class RandomSplit(Strict):
    """Shares drawn at random by the run's seed; stratified by the target in a classification."""

    by: Literal["random"]
    test: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "RandomSplit":
        if self.test + self.validation >= 1:
            raise ValueError(
                f"test {self.test} and validation {self.validation} leave nothing to train on; their sum must be below 1"
            )
        return self


class GivenSplit(Strict):
    """A column of the data says `train`, `validation` or `test` for each row."""

    by: Literal["column"]
    column: str


Split = Annotated[TimeSplit | RandomSplit | GivenSplit, Field(discriminator="by")]


class Checks(Strict):
    """What the table as a whole must fulfil before anything is trained on it."""

    min_rows: int = Field(default=100, ge=1)
    max_rows: int | None = Field(default=None, ge=1)
    unique: list[str] = Field(default=[], description="Columns that together identify a row.")
    min_share_per_class: float = Field(default=0.0, ge=0, le=0.5, description="Smallest share of each target class.")


class Data(Strict):
    source: Source
    target: str
    classes: list[str | int | bool] | None = Field(
        default=None,
        description="Names of the target's classes: the model's k-th class is called the k-th name.",
        min_length=2,
    )
    time: str | None = Field(
        default=None, description="Column with each row's time; needed to split by time and for as-of runs."
    )
    labels_after: Duration | None = Field(
        default=None,
        description="How long after its time a row's target is known. An as-of run leaves out what was not known yet.",
    )
    features: dict[str, Feature] = Field(min_length=1)
    keep: list[str] = Field(default=[], description="Further columns for slices and joins; never shown to the model.")
    split: Split
    checks: Checks = Checks()

    @property
    def columns(self) -> list[str]:
        """Every column of the snapshot, in order: features, target, time, split, kept ones."""
        split_column = [self.split.column] if isinstance(self.split, GivenSplit) else []
        names = [*self.features, self.target, *([self.time] if self.time else []), *split_column, *self.keep]
        return list(dict.fromkeys(names))

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> "Data":
        if self.target in self.features:
            raise ValueError(f"the target {self.target!r} is also a feature: the model would be shown the answer")
        if isinstance(self.split, TimeSplit) and not self.time:
            raise ValueError("a split by time needs data.time, the column with each row's time")
        if self.labels_after and not self.time:
            raise ValueError("labels_after needs data.time, the column with each row's time")
        tensors = [name for name, feature in self.features.items() if isinstance(feature, TensorFeature)]
        if tensors and len(self.features) > 1:
            raise ValueError(f"a tensor stands alone, but {tensors[0]!r} is one of {len(self.features)} features")
        missing = [name for name in self.checks.unique if name not in self.columns]
        if missing:
            raise ValueError(f"checks.unique names {missing}, which is no column; columns: {self.columns}")
        return self


# --- training and evaluation --------------------------------------------------------------------------------


class Training(Strict):
    train: EntryPoint
    params: dict[str, int | float | str | bool | list[int] | list[float] | list[str] | None] = {}
    seed: int = Field(default=42, ge=0, lt=2**32)


class Gate(Strict):
    """One rule a candidate must pass.

    `at_least` / `at_most` is an absolute limit. `champion: not-worse` compares with the released model on the
    same test rows, and allows to be worse by `margin` at most. `slices` applies an absolute limit to every
    value of those columns that has at least `min_rows` test rows.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    champion: Literal["not-worse"] | None = None
    margin: float = Field(default=0.0, ge=0)
    slices: list[str] = []
    min_rows: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _says_exactly_one_thing(self) -> "Gate":
        limits = [name for name in ("at_least", "at_most", "champion") if getattr(self, name) is not None]
        if len(limits) != 1:
            raise ValueError(
                f"a gate has exactly one of at_least, at_most and champion; this one has {limits or 'none'}"
            )
        if self.champion and self.slices:
            raise ValueError("slices go with at_least or at_most, not with champion")
        if self.margin and not self.champion:
            raise ValueError("margin goes with champion: not-worse")
        return self


class Evaluation(Strict):
    metrics: list[str] = Field(min_length=1)
    positive: str | int | bool | None = Field(
        default=None,
        description="The class that precision, recall and the curves are about, in a classification of two.",
    )
    slices: list[str] = Field(
        default=[], description="Columns whose values are reported one by one, besides those the gates name."
    )
    gates: list[Gate] = Field(min_length=1)
    agreement: float = Field(
        default=1e-4,
        gt=0,
        description="Largest difference allowed between the trained and the exported model's outputs.",
    )


# --- serving, monitoring, retraining -------------------------------------------------------------------------


class Serving(Strict):
    replicas: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 2)
    cpu: str = Field(default="500m", pattern=CPU_PATTERN)
    memory: str = Field(default="512Mi", pattern=MEMORY_PATTERN)
    p99_ms: float = Field(default=100, gt=0, description="The latency this model promises.")
    timeout: Duration = timedelta(seconds=10)
    max_batch: int = Field(default=1000, ge=1, description="Most instances in one request.")

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> "Serving":
        if self.replicas[0] > self.replicas[1]:
            raise ValueError(f"replicas {list(self.replicas)} go from the fewest to the most; swap them")
        return self


class Drift(Strict):
    method: Literal["psi", "wasserstein", "jensenshannon", "ks"] = "psi"
    columns: list[str] = Field(default=[], description="Features to watch; all of them where empty.")
    threshold: float = Field(gt=0)
    min_rows: int = Field(default=500, ge=1)
    window: Duration = timedelta(hours=24)


class Quality(Strict):
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    labels_within: Duration
    min_labels: int = Field(default=500, ge=1)

    @model_validator(mode="after")
    def _has_one_limit(self) -> "Quality":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("quality has exactly one of at_least and at_most")
        return self


class Monitoring(Strict):
    drift: Drift | None = None
    quality: Quality | None = None


class Retrain(Strict):
    schedule: str | None = Field(default=None, description="Cron, five fields, UTC.", pattern=r"^\S+( \S+){4}$")
    on: list[Literal["drift", "quality", "missing-labels", "new-data"]] = []
    cooldown: Duration = timedelta(hours=6)


class UseCase(Strict):
    """One use case: what it is for, who answers for it, its data, model, limits and size."""

    name: str = Field(pattern=NAME_PATTERN, max_length=40, description="The name of its folder in apps/.")
    purpose: str = Field(min_length=10)
    owner: Owner
    risk: Risk
    task: Task
    data: Data
    training: Training
    evaluation: Evaluation
    serving: Serving = Serving()
    monitoring: Monitoring = Monitoring()
    retrain: Retrain = Retrain()

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> "UseCase":
        named = [*self.evaluation.metrics, *(gate.metric for gate in self.evaluation.gates)]
        if self.monitoring.quality:
            named.append(self.monitoring.quality.metric)
        for metric in named:
            if metric not in METRICS or METRICS[metric].task != self.task:
                raise ValueError(
                    f"{metric!r} is no metric for {self.task}; allowed: {', '.join(metrics_for(self.task))}"
                )
        return self

    @model_validator(mode="after")
    def _named_columns_exist(self) -> "UseCase":
        for where, names in (
            ("evaluation.slices", self.evaluation.slices),
            ("evaluation.gates.slices", [name for gate in self.evaluation.gates for name in gate.slices]),
        ):
            unknown = [name for name in names if name not in self.data.columns]
            if unknown:
                raise ValueError(f"{where} names {unknown}, which is no column; columns: {self.data.columns}")
        drift = self.monitoring.drift
        if drift and (strangers := [name for name in drift.columns if name not in self.data.features]):
            raise ValueError(
                f"monitoring.drift.columns names {strangers}, which is no feature; features: {list(self.data.features)}"
            )
        return self

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> "UseCase":
        if self.task == "regression" and self.data.classes:
            raise ValueError("data.classes belongs to a classification")
        positive = self.evaluation.positive
        if positive is not None and self.data.classes and positive not in self.data.classes:
            raise ValueError(f"evaluation.positive {positive!r} is none of data.classes {self.data.classes}")
        return self

    @property
    def reported_metrics(self) -> list[str]:
        """Every metric that is asked for anywhere, each once."""
        return list(dict.fromkeys([*self.evaluation.metrics, *(gate.metric for gate in self.evaluation.gates)]))

    @property
    def reported_slices(self) -> list[str]:
        """Every column whose values are reported one by one."""
        return list(
            dict.fromkeys([*self.evaluation.slices, *(c for gate in self.evaluation.gates for c in gate.slices)])
        )


def is_name(text: str) -> bool:
    """Whether it can name a use case: lower-case words joined by hyphens."""
    return bool(re.fullmatch(NAME_PATTERN, text)) and len(text) <= 40


def _require_order(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is above max {high}")
