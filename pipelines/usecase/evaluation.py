"""`evaluation`: how a candidate is scored, and what it must pass to be released."""

from pydantic import Field

from pipelines.usecase.gates import AnyGate, MetricName
from pipelines.usecase.strict import ClassName, Strict


class Evaluation(Strict):
    """How a candidate is scored and judged."""

    metrics: list[MetricName] = Field(
        min_length=1,
        description="Computed for candidate and champion; the first ones are shown in the release.",
        examples=[["roc_auc", "log_loss"]],
    )
    positive: ClassName | None = Field(
        default=None,
        description="The class that precision, recall and the curves refer to, with two classes. "
        "Left out, it is the second class.",
        examples=[True, "late"],
    )
    slices: list[str] = Field(
        default=[],
        description="Columns whose values are reported separately, besides those the gates name.",
        examples=[["origin"]],
    )
    gates: list[AnyGate] = Field(
        min_length=1,
        description="A candidate that fails one of them is not released.",
        examples=[[{"metric": "roc_auc", "at_least": 0.65}]],
    )
    agreement: float = Field(
        default=1e-4,
        gt=0,
        description="Largest allowed difference between the trained and the exported model's outputs.",
        examples=[1e-4],
    )
