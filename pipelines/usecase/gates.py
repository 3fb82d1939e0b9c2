"""`evaluation.gates`: the settings of each kind of rule. What judges by them is in pipelines.evaluation.rules.

`type` may be left out where another key says it: `{metric: roc_auc, at_least: 0.65}` is of type `limit`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import core_schema

from pipelines.errors import did_you_mean
from pipelines.metric_catalog import METRICS
from pipelines.usecase.pluggable import Pluggable, type_of
from pipelines.usecase.strict import Misfit, Strict

KeyPath = tuple[str | int, ...]
MetricName = Annotated[str, Field(json_schema_extra={"enum": list(METRICS)})]

BOUNDS = ("at_least", "at_most")
ONE_LIMIT = "a gate has exactly one of at_least, at_most and champion"


class GateSettings(Strict):
    """The base of every rule's settings; each narrows `type` to its own name.

    signs    keys that say that a gate is of this type, where `type` is left out
    belongs  for keys of this type: what to say of one that stands in a gate of another type
    """

    signs: ClassVar[tuple[str, ...]] = ()
    belongs: ClassVar[dict[str, str]] = {}

    type: str

    def named_metrics(self) -> Iterator[tuple[str, KeyPath]]:
        """The metrics that must be computed for this rule, each with the path to its key."""
        yield from ()

    def named_columns(self) -> Iterator[tuple[str, KeyPath]]:
        """The columns that must be scored value by value, each with the path to its key."""
        yield from ()

    def named_limits(self) -> Iterator[tuple[str, float, KeyPath]]:
        """Values that a metric is held to, each with the path to its key: one outside its range can never hold."""
        yield from ()


class MetricGate(GateSettings):
    """The base of rules about one metric."""

    metric: MetricName

    def named_metrics(self) -> Iterator[tuple[str, KeyPath]]:
        """Its metric."""
        yield self.metric, ("metric",)


class _Bounded(MetricGate):
    """The base of rules that hold a metric to one limit."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [bound]} for bound in BOUNDS]})

    at_least: float | None = Field(default=None, description="The value must not be below.", examples=[0.65])
    at_most: float | None = Field(default=None, description="The value must not be above.", examples=[0.2])

    @model_validator(mode="after")
    def _has_one_limit(self) -> Self:
        given = [bound for bound in BOUNDS if getattr(self, bound) is not None]
        if len(given) != 1:
            raise Misfit(f"{ONE_LIMIT}; this one has {' and '.join(given) or 'none'}", *given[1:])
        return self

    def named_limits(self) -> Iterator[tuple[str, float, KeyPath]]:
        """Its limit."""
        for bound in BOUNDS:
            if (limit := getattr(self, bound)) is not None:
                yield self.metric, limit, (bound,)


class LimitGate(_Bounded):
    """The metric on all test rows meets a limit: exactly one of `at_least` and `at_most`."""

    signs = BOUNDS
    belongs = dict.fromkeys(BOUNDS, ONE_LIMIT)

    type: Literal["limit"] = Field(default="limit", description="Optional: `at_least` or `at_most` implies it.")
    metric: MetricName = Field(description="The metric to judge.", examples=["roc_auc"])
    at_least: float | None = Field(default=None, description="The value must not be below.", examples=[0.65])
    at_most: float | None = Field(default=None, description="The value must not be above.", examples=[0.2])


class ChampionGate(MetricGate):
    """The candidate against the released model, on the same test rows. A first release has nothing to compare with."""

    signs = ("champion",)
    belongs = {"champion": ONE_LIMIT, "margin": "margin goes with champion: not-worse"}

    type: Literal["champion"] = Field(default="champion", description="Optional: `champion` implies it.")
    metric: MetricName = Field(description="The metric to compare.", examples=["roc_auc"])
    champion: Literal["not-worse"] = Field(description="What is required of the candidate.", examples=["not-worse"])
    margin: float = Field(
        default=0.0, ge=0, description="How much worse than the champion it may be.", examples=[0.005]
    )


class SliceGate(_Bounded):
    """The metric meets a limit for every value of some columns: exactly one of `at_least` and `at_most`."""

    signs = ("slices",)
    belongs = {
        "slices": "slices go with at_least or at_most, not with champion",
        "min_rows": "min_rows goes with slices: it is the fewest test rows of a slice",
    }

    type: Literal["slices"] = Field(default="slices", description="Optional: `slices` implies it.")
    metric: MetricName = Field(description="The metric to judge.", examples=["roc_auc"])
    slices: list[str] = Field(
        min_length=1, description="The limit holds for every value of these columns.", examples=[["carrier", "origin"]]
    )
    at_least: float | None = Field(default=None, description="No value of the columns may be below.", examples=[0.55])
    at_most: float | None = Field(default=None, description="No value of the columns may be above.", examples=[0.3])
    min_rows: int = Field(
        default=100, ge=1, description="Values with fewer test rows than this are not judged.", examples=[200]
    )

    def named_columns(self) -> Iterator[tuple[str, KeyPath]]:
        """The columns of `slices`."""
        for index, column in enumerate(self.slices):
            yield column, ("slices", index)


# The more special ones first: slices have a limit, too.
BUILT_IN: tuple[type[GateSettings], ...] = (ChampionGate, SliceGate, LimitGate)


@dataclass(frozen=True, eq=False)
class _Gates(Pluggable):
    """Gates may leave out their `type`, and a key of another type is explained by that type."""

    def validate(self, value: Any, built_in: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, dict):
            value = value if value.get("type") is not None else {**value, "type": _infer(value)}
            model = next((model for model in BUILT_IN if type_of(model) == value["type"]), None)
            value = _without_others(value, model) if model else value
        return super().validate(value, built_in)


def _infer(value: dict[Any, Any]) -> str | None:
    """The type by its signs."""
    for model in BUILT_IN:
        if any(value.get(sign) not in (None, []) for sign in model.signs):
            return type_of(model)
    known = {key for model in BUILT_IN for key in model.model_fields}
    mistyped = [str(key) for key in value if key not in known]
    if not mistyped:
        raise Misfit(f"{ONE_LIMIT}; this one has none")
    close = [model for model in BUILT_IN if any(did_you_mean(key, model.signs) for key in mistyped)]
    return type_of((close or [LimitGate])[0])


def _without_others(value: dict[Any, Any], model: type[GateSettings]) -> dict[Any, Any]:
    """A key of another type is an error, unless it says nothing, such as `margin: 0`."""
    kept = {}
    for key, said in value.items():
        owner = next((other for other in BUILT_IN if key in other.model_fields), None)
        if owner is None or key in model.model_fields:
            kept[key] = said
        elif said not in (None, [], owner.model_fields[key].default):
            why = next((m.belongs[key] for m in BUILT_IN if key in m.belongs), f"it goes with type: {type_of(owner)}")
            signs = [sign for sign in model.signs if sign in value]
            raise Misfit(f"{why}; this one has {' and '.join([key, *signs])}" if why == ONE_LIMIT else why, key)
    return kept


GATES = _Gates("gate_rules", GateSettings, (LimitGate, ChampionGate, SliceGate))
AnyGate = Annotated[GateSettings, GATES]
