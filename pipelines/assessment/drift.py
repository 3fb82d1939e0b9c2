"""Do the requests, and the answers, still look like the training data? Evidently says how far apart they are.

The method is always named: Evidently's own choice changes with the number of rows. All methods give a distance, so
that above the threshold always means drift:

    psi            numbers and categories: population stability index
    jensenshannon  numbers and categories: Jensen-Shannon distance
    wasserstein    numbers: Wasserstein distance in standard deviations of the reference; categories: total variation
    ks             numbers: the Kolmogorov-Smirnov distance (not its p-value); categories: total variation
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.assessment.comparison import Comparison, Pair, compare_category, compare_number
from pipelines.documents import Value
from pipelines.errors import MlopsError
from pipelines.usecase.model import Drift

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

TOTAL_VARIATION = "total_variation"
KS_DISTANCE = "ks_distance"
METHODS = {
    "psi": ("psi", "psi"),
    "jensenshannon": ("jensenshannon", "jensenshannon"),
    "wasserstein": ("wasserstein", TOTAL_VARIATION),
    "ks": (KS_DISTANCE, TOTAL_VARIATION),
}
DIGITS = 6


class DriftUndefined(MlopsError):
    """Evidently gave no score for a column that has values on both sides."""


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


def measure_distances(rule: Drift, pairs: Sequence[Pair]) -> tuple[dict[str, float], Any]:
    """Evidently's score of each pair by its name, and its snapshot, which can be written as HTML."""
    if not pairs:
        return {}, None
    report, current, reference = _report(rule, pairs)
    snapshot = report.run(current, reference)
    scores = {}
    for metric, pair in zip(snapshot.dict()["metrics"], pairs, strict=True):
        score = float(metric["value"])
        if math.isnan(score) and rule.method == "jensenshannon":
            score = 0.0  # the root of a rounding error below zero
        if not math.isfinite(score):
            raise DriftUndefined(f"Evidently's {rule.method} of {pair.name} is {score}")
        # It adds up in the order of a set of texts, which differs from process to process in the last digits.
        scores[pair.name] = round(score, DIGITS)
    return scores, snapshot


def _report(rule: Drift, pairs: Sequence[Pair]) -> tuple[Any, Any, Any]:
    import pandas as pd

    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    _teach_distances()
    definition = DataDefinition(
        numerical_columns=[pair.name for pair in pairs if not pair.category],
        categorical_columns=[pair.name for pair in pairs if pair.category],
    )
    metrics = [
        ValueDrift(column=pair.name, method=METHODS[rule.method][pair.category], threshold=rule.threshold)
        for pair in pairs
    ]
    tables = (
        pd.DataFrame({pair.name: getattr(pair, side).reset_index(drop=True) for pair in pairs})
        for side in ("current", "reference")
    )
    current, reference = (Dataset.from_pandas(table, data_definition=definition) for table in tables)
    return Report(metrics, include_tests=True), current, reference


def _teach_distances() -> None:
    """Two distances that Evidently does not have; its own of these names are p-values, which shrink with the rows."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from scipy.stats import ks_2samp

    def ks(reference: pd.Series, current: pd.Series, _kind: Any, threshold: float) -> tuple[float, bool]:
        distance = float(ks_2samp(reference, current, method="asymp").statistic)
        return distance, distance >= threshold

    def variation(reference: pd.Series, current: pd.Series, _kind: Any, threshold: float) -> tuple[float, bool]:
        was, now = (series.value_counts(normalize=True) for series in (reference, current))
        distance = float(was.sub(now, fill_value=0).abs().sum()) / 2
        return distance, distance >= threshold

    numbers, texts = [ColumnType.Numerical], [ColumnType.Categorical]
    register_stattest(StatTest(KS_DISTANCE, "Kolmogorov-Smirnov distance", numbers, 0.1), ks)
    register_stattest(StatTest(TOTAL_VARIATION, "total variation", texts, 0.1), variation)
