"""Do the requests, and the answers, still look like the training data?

All methods are distances (see `distances`), so that above the threshold always means drift:

    psi            numbers and categories: population stability index
    jensenshannon  numbers and categories: Jensen-Shannon distance
    wasserstein    numbers: Wasserstein distance in standard deviations of the reference; categories: total variation
    ks             numbers: the Kolmogorov-Smirnov distance (not its p-value); categories: total variation
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.assessment import distances as formulas
from pipelines.assessment.comparison import Comparison, Pair, compare_category, compare_number
from pipelines.documents import Value
from pipelines.errors import MlopsError
from pipelines.usecase.model import Drift

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

DIGITS = 6


class DriftUndefined(MlopsError):
    """A column that has values on both sides got a score that is no finite number."""


class ColumnDrift(Value):
    """One column against its reference. `score` is None where nothing could be compared; `note` says why.

    A column that is gone has drifted by definition: its score is that of its absence, and never below the threshold.
    """

    column: str
    score: float | None
    drifted: bool = False
    note: str | None = None
    new_categories: list[str] = []


class TableDrift(Value):
    """All columns of one table, the worst first."""

    method: str
    threshold: float
    rows: int
    reference_rows: int
    columns: list[ColumnDrift]

    @property
    def worst(self) -> ColumnDrift | None:
        return next((column for column in self.columns if column.score is not None), None)

    @property
    def drifted(self) -> bool:
        return any(column.drifted for column in self.columns)


def compare_tables(
    rule: Drift, current: pd.DataFrame, reference: pd.DataFrame, is_category: Callable[[str], bool]
) -> list[Comparison]:
    """Each column of the reference with what there is of it now; one that is not there at all is missing everywhere."""
    import pandas as pd

    fewest = max(1, rule.min_rows // 2)
    comparisons = []
    for column in reference.columns:
        now = current[column] if column in current else pd.Series([None] * len(current), dtype=object)
        compare = compare_category if is_category(column) else compare_number
        comparisons.append(compare(column, now, reference[column], fewest))
    return comparisons


def judge_drift(rule: Drift, comparisons: Sequence[Comparison], distances: dict[str, float]) -> list[ColumnDrift]:
    """A verdict for each column, the worst first; `distances` by the names of the pairs."""
    judged = [_judge(rule, comparison, distances) for comparison in comparisons]
    return sorted(judged, key=lambda one: (one.score is None, -(one.score or 0), one.column))


def _judge(rule: Drift, comparison: Comparison, distances: dict[str, float]) -> ColumnDrift:
    values = distances[comparison.values.name] if comparison.values else None
    presence = distances[comparison.presence.name] if comparison.presence else None
    note = comparison.lost or comparison.unjudged
    if comparison.lost:
        # The absence of a column is at most so far from its presence, which may be less than a generous threshold.
        return ColumnDrift(
            column=comparison.column, score=max(presence or 0, 2 * rule.threshold), drifted=True, note=note
        )
    known = [score for score in (values, presence) if score is not None]
    score = max(known) if known else None
    if presence is not None and score == presence and presence > rule.threshold:
        note = note or "it is missing more or less often than in the training data"
    return ColumnDrift(
        column=comparison.column,
        score=score,
        drifted=score is not None and score > rule.threshold,
        note=note,
        new_categories=list(comparison.new_categories),
    )


def measure_distances(rule: Drift, pairs: Sequence[Pair]) -> dict[str, float]:
    """The rule's distance of each pair by its name, rounded to six digits.

    Raises:
        DriftUndefined: a distance is no finite number.
    """
    return {pair.name: _measure(rule, pair) for pair in pairs}


def _measure(rule: Drift, pair: Pair) -> float:
    distance = _category_distance(rule, pair) if pair.category else _number_distance(rule, pair)
    if not math.isfinite(distance):
        raise DriftUndefined(f"{rule.method} of {pair.name} is {distance}")
    return round(distance, DIGITS)


def _number_distance(rule: Drift, pair: Pair) -> float:
    reference, current = (series.to_numpy(dtype="float64") for series in (pair.reference, pair.current))
    match rule.method:
        case "psi":
            return formulas.population_stability(formulas.binned_shares(reference, current))
        case "jensenshannon":
            return formulas.jensen_shannon(formulas.binned_shares(reference, current))
        case "wasserstein":
            return formulas.wasserstein(reference, current)
        case "ks":
            return formulas.kolmogorov_smirnov(reference, current)


def _category_distance(rule: Drift, pair: Pair) -> float:
    shares = formulas.category_shares(pair.reference.to_numpy(dtype=object), pair.current.to_numpy(dtype=object))
    match rule.method:
        case "psi":
            return formulas.population_stability(shares)
        case "jensenshannon":
            return formulas.jensen_shannon(shares)
        case "wasserstein" | "ks":
            return formulas.total_variation(shares)
