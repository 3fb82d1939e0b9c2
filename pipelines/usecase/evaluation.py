"""`evaluation`: how a candidate is scored, and what it must pass to be released."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from pipelines.metric_catalog import METRICS
from pipelines.usecase.strict import ClassName, Misfit, Strict

LIMITS = ("at_least", "at_most", "champion")

MetricName = Annotated[str, Field(json_schema_extra={"enum": list(METRICS)})]


class Gate(Strict):
    """One rule a candidate must pass: exactly one of `at_least`, `at_most` and `champion`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [limit]} for limit in LIMITS]})

    metric: MetricName = Field(description="What is judged.", examples=["roc_auc"])
    at_least: float | None = Field(default=None, description="The value must not be below.", examples=[0.65])
    at_most: float | None = Field(default=None, description="The value must not be above.", examples=[0.2])
    champion: Literal["not-worse"] | None = Field(
        default=None,
        description="Compares with the released model on the same test rows. "
        "The first release has none to compare with.",
        examples=["not-worse"],
    )
    margin: float = Field(
        default=0.0, ge=0, description="How much worse than the champion it may be.", examples=[0.005]
    )
    slices: list[str] = Field(
        default=[],
        description="The limit holds for every value of these columns.",
        examples=[["carrier", "origin"]],
    )
    min_rows: int = Field(
        default=100, ge=1, description="Values with fewer test rows than this are not judged.", examples=[200]
    )

    @model_validator(mode="after")
    def _says_exactly_one_thing(self) -> "Gate":
        limits = [name for name in LIMITS if getattr(self, name) is not None]
        if len(limits) != 1:
            raise Misfit(
                "a gate has exactly one of at_least, at_most and champion; "
                f"this one has {' and '.join(limits) or 'none'}",
                *limits[-1:],
            )
        if self.champion and self.slices:
            raise Misfit("slices go with at_least or at_most, not with champion", "slices")
        if self.margin and not self.champion:
            raise Misfit("margin goes with champion: not-worse", "margin")
        if self.min_rows != type(self).model_fields["min_rows"].default and not self.slices:
            raise Misfit("min_rows goes with slices: it is the fewest test rows of a slice", "min_rows")
        return self


class Evaluation(Strict):
    """How a candidate is scored and judged."""

    metrics: list[MetricName] = Field(
        min_length=1,
        description="Computed for candidate and champion; the first ones are shown in the release.",
        examples=[["roc_auc", "log_loss"]],
    )
    positive: ClassName | None = Field(
        default=None,
        description="The class that precision, recall and the curves are about, in a classification of two. "
        "Left out, it is the second class.",
        examples=[True, "late"],
    )
    slices: list[str] = Field(
        default=[],
        description="Columns whose values are reported one by one, besides those the gates name.",
        examples=[["origin"]],
    )
    gates: list[Gate] = Field(
        min_length=1,
        description="A candidate that misses one of them is not released.",
        examples=[[{"metric": "roc_auc", "at_least": 0.65}]],
    )
    agreement: float = Field(
        default=1e-4,
        gt=0,
        description="Largest difference allowed between the trained and the exported model's outputs.",
        examples=[1e-4],
    )
