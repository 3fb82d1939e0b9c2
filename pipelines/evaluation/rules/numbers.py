"""Limits on numbers, and numbers in sentences: what the rules share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipelines.evaluation.markdown import number

NAMED_AT_MOST = 8


@dataclass(frozen=True)
class Limit:
    """`at_least: 0.65` or `at_most: 0.2`."""

    bound: Literal["at_least", "at_most"]
    value: float

    @classmethod
    def of(cls, at_least: float | None, at_most: float | None) -> Limit:
        """From two settings of which exactly one is given."""
        if at_least is not None:
            return cls("at_least", at_least)
        assert at_most is not None  # noqa: S101 - the schema asks for one of them
        return cls("at_most", at_most)

    def __str__(self) -> str:
        return f"{self.bound.replace('_', ' ')} {self.value:g}"

    def holds(self, value: float) -> bool:
        """Whether the value is at the limit or on its good side."""
        return at_least(value, self.value) if self.bound == "at_least" else at_most(value, self.value)

    @property
    def side(self) -> str:
        """Where a value is that breaks the limit."""
        return "below" if self.bound == "at_least" else "above"

    @property
    def worst_first(self) -> bool:
        """How to sort values so that the worst comes first: True for descending."""
        return self.bound == "at_most"


def at_least(value: float, limit: float) -> bool:
    """Equal passes, and so does a rounding error: 0.3 - 0.1 is not quite 0.2."""
    return value >= limit or math.isclose(value, limit, rel_tol=1e-12, abs_tol=1e-12)


def at_most(value: float, limit: float) -> bool:
    """The same, from above."""
    return at_least(-value, -limit)


def finite(value: float | None) -> float | None:
    """The value, or None where it is missing, NaN or infinite."""
    return value if value is not None and math.isfinite(value) else None


def no_value(metric: str, problems: dict[str, str]) -> str:
    """Why a metric cannot be judged."""
    return f"{metric} cannot be evaluated: {problems.get(metric, 'it has no value')}"


def distinct(value: float, other: float) -> tuple[str, str]:
    """Both numbers short, but with as many digits as it takes to tell them apart: 0.64996 is not 0.65."""
    for digits in range(4, 17):
        texts = f"{value:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1] or value == other:
            break
    return (number(value), number(other)) if digits == 4 else texts


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
