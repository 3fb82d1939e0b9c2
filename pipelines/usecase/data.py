"""`data`: where the rows come from, what each column is, how they are split and what they must fulfil."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from pipelines.errors import did_you_mean
from pipelines.usecase.durations import Duration, PositiveDuration
from pipelines.usecase.sources import AnySource
from pipelines.usecase.strict import (
    ClassName,
    Misfit,
    Strict,
    Words,
    require_distinct,
    require_order,
)

# --- what the model is shown --------------------------------------------------------------------------------


class NumberFeature(Strict):
    """A number. It reaches the model as float32."""

    type: Literal["number"] = Field(description="An integer or decimal number.")
    min: float | None = Field(default=None, description="Smallest allowed value.", examples=[0])
    max: float | None = Field(default=None, description="Largest allowed value.", examples=[5000])
    max_missing: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Maximum share of missing values; above 0, null is allowed in a request.",
        examples=[0.05],
    )
    unit: str | None = Field(default=None, description="The unit, for human readers.", examples=["miles"])

    @model_validator(mode="after")
    def _min_is_below_max(self) -> "NumberFeature":
        require_order(self.min, self.max)
        return self


class CategoryFeature(Strict):
    """One of a set of strings. It reaches the model as a string."""

    type: Literal["category"] = Field(description="A string.")
    one_of: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Any other value is refused. Left out, the model decides what an unknown value means.",
        examples=[["EWR", "JFK", "LGA"]],
    )
    max_missing: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Maximum share of missing values; above 0, null is allowed in a request.",
        examples=[0.05],
    )

    @model_validator(mode="after")
    def _values_differ(self) -> "CategoryFeature":
        require_distinct(self.one_of or [], "one_of")
        return self


class TensorFeature(Strict):
    """A picture, a vector or any array of fixed shape; it is the model's only feature."""

    type: Literal["tensor"] = Field(description="An array.")
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, strict=False, description="The size of each axis of one example.", examples=[[28, 28]]
    )
    dtype: Literal["uint8", "float32"] = Field(
        default="float32", description="The type of each value, as clients send it.", examples=["uint8"]
    )
    min: float | None = Field(default=None, description="Smallest allowed value.", examples=[0])
    max: float | None = Field(default=None, description="Largest allowed value.", examples=[255])

    @model_validator(mode="after")
    def _min_is_below_max(self) -> "TensorFeature":
        require_order(self.min, self.max)
        return self


Feature = Annotated[NumberFeature | CategoryFeature | TensorFeature, Field(discriminator="type")]

# --- how the rows are split ---------------------------------------------------------------------------------


class TimeSplit(Strict):
    """The newest rows are the test set, those before them the validation set, all older ones the training set.

    Needs `data.time`.
    """

    by: Literal["time"] = Field(description="By `data.time`.")
    test: PositiveDuration = Field(description="The test set starts this long before the newest row.", examples=["14d"])
    validation: PositiveDuration = Field(
        description="The validation set starts this long before the test set.", examples=["7d"]
    )


class RandomSplit(Strict):
    """Shares drawn at random with the run's seed; stratified by the target for classification."""

    by: Literal["random"] = Field(description="At random.")
    test: float = Field(gt=0, lt=1, description="The test set's share of the rows.", examples=[0.2])
    validation: float = Field(gt=0, lt=1, description="The validation set's share of the rows.", examples=[0.1])

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "RandomSplit":
        if self.test + self.validation >= 1:
            raise Misfit(
                f"test {self.test} and validation {self.validation} leave nothing to train on; "
                "their sum must be below 1",
                "validation",
            )
        return self


class GivenSplit(Strict):
    """A column of the data says `train`, `validation` or `test` for each row."""

    by: Literal["column"] = Field(description="By a column of the data.")
    column: Words = Field(description="The name of that column.", examples=["part"])


Split = Annotated[TimeSplit | RandomSplit | GivenSplit, Field(discriminator="by")]

# --- what they must fulfil ----------------------------------------------------------------------------------


class Checks(Strict):
    """What the whole table must fulfil before anything is trained on it."""

    min_rows: int = Field(default=100, ge=1, description="Minimum number of rows.", examples=[10000])
    max_rows: int | None = Field(default=None, ge=1, description="Maximum number of rows.", examples=[5000000])
    unique: list[str] = Field(
        default=[], description="Columns that together identify a row.", examples=[["departure", "flight"]]
    )
    min_share_per_class: float = Field(
        default=0.0, ge=0, le=0.5, description="Minimum share of each target class.", examples=[0.05]
    )

    @model_validator(mode="after")
    def _rows_are_a_range(self) -> "Checks":
        if self.max_rows is not None and self.max_rows < self.min_rows:
            raise Misfit(f"max_rows {self.max_rows} is below min_rows {self.min_rows}; swap them", "max_rows")
        return self


class Data(Strict):
    """The rows a model learns from."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"split": {"properties": {"by": {"const": "time"}}, "required": ["by"]}}},
            "then": {"required": ["time"]},
        }
    )

    source: AnySource = Field(description="Where the rows come from: `python`, `file` or `sql`.")
    target: Words = Field(description="The column to predict.", examples=["late"])
    classes: list[ClassName] | None = Field(
        default=None,
        min_length=2,
        description="Names of the target's classes, in the model's order. "
        "Left out, they are taken from the training data.",
        examples=[["cat", "dog"], [False, True]],
    )
    time: Words | None = Field(
        default=None,
        description="Column with the time of each row; needed to split by time and for runs as of a date.",
        examples=["scheduled_departure"],
    )
    labels_after: Duration | None = Field(
        default=None,
        description="How long after its time a row's target is known. "
        "A run as of a date leaves out rows whose target was not known then.",
        examples=["1d"],
    )
    features: dict[Words, Feature] = Field(
        min_length=1,
        description="The columns that the model sees, in order, by name: `number`, `category` or one `tensor`.",
        examples=[{"distance": {"type": "number", "min": 0}}],
    )
    keep: list[str] = Field(
        default=[],
        description="More columns for slices and joins; the model does not see them.",
        examples=[["flight"]],
    )
    split: Split = Field(
        description="How rows are split into training, validation and test: by `time`, `random` or `column`."
    )
    checks: Checks = Field(default=Checks(), description="What the whole table must fulfil.")

    @property
    def columns(self) -> list[str]:
        """Every column of the snapshot, in order: features, target, time, split, kept ones."""
        split_column = [self.split.column] if isinstance(self.split, GivenSplit) else []
        names = [*self.features, self.target, *([self.time] if self.time else []), *split_column, *self.keep]
        return list(dict.fromkeys(names))

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> "Data":
        if self.target in self.features:
            raise Misfit(f"the target {self.target!r} is also a feature: the model would be shown the answer", "target")
        if self.time == self.target:
            raise Misfit(f"{self.time!r} is also the target; a time cannot be predicted", "time")
        if self.time in self.features:
            raise Misfit(f"{self.time!r} is also a feature; let load() make numbers of it, such as the hour", "time")
        if isinstance(self.split, GivenSplit) and self.split.column in (self.target, self.time, *self.features):
            raise Misfit(
                f"{self.split.column!r} is also the target, the time or a feature; a split has a column of its own",
                "split",
                "column",
            )
        return self

    @model_validator(mode="after")
    def _times_need_a_time(self) -> "Data":
        if isinstance(self.split, TimeSplit) and not self.time:
            raise Misfit("a split by time needs data.time, the column with each row's time", "split", "by")
        if self.labels_after and not self.time:
            raise Misfit("needs data.time, the column with each row's time", "labels_after")
        return self

    @model_validator(mode="after")
    def _a_tensor_stands_alone(self) -> "Data":
        tensors = [name for name, feature in self.features.items() if isinstance(feature, TensorFeature)]
        if tensors and len(self.features) > 1:
            others = ", ".join(name for name in self.features if name != tensors[0])
            raise Misfit(f"a tensor is a model's only feature, and beside it there is {others}", "features", tensors[0])
        return self

    @model_validator(mode="after")
    def _names_are_known_and_differ(self) -> "Data":
        require_distinct(self.classes or [], "classes")
        for index, name in enumerate(self.checks.unique):
            if name not in self.columns:
                raise Misfit(unknown_column(name, self.columns), "checks", "unique", index)
        return self


def unknown_column(name: str, columns: list[str]) -> str:
    return f"{name!r} is no column{did_you_mean(name, columns)}; columns: {', '.join(columns)}"
