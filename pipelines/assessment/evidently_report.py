"""Evidently's report of one evaluation, for people: both distributions of each column, side by side.

Nothing is decided here: the verdict is made by then, and each column is titled with it. Evidently is used by its public
API alone, and takes seconds and hundreds of megabytes to import; so only the process of a round ever calls this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.usecase.model import Drift

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.assessment.comparison import Pair
    from pipelines.assessment.reports import HtmlReport

# Evidently's methods of these names are p-values, which shrink with the number of rows. It scores by another distance.
OTHER_DISTANCE = "jensenshannon"
SHARED = {"numbers": ("psi", "jensenshannon", "wasserstein"), "categories": ("psi", "jensenshannon")}


def draw_report(rule: Drift, pairs: Sequence[Pair], distances: Mapping[str, float]) -> HtmlReport:
    """The report of what was compared; `distances`: our own score of each pair, by its name."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report

    titles = [_title(rule, pair, distances[pair.name]) for pair in pairs]
    definition = DataDefinition(
        numerical_columns=[title for title, pair in zip(titles, pairs, strict=True) if not pair.category],
        categorical_columns=[title for title, pair in zip(titles, pairs, strict=True) if pair.category],
    )
    current, reference = (
        Dataset.from_pandas(_table(titles, [getattr(pair, side) for pair in pairs]), data_definition=definition)
        for side in ("current", "reference")
    )
    metrics = [_metric(rule, pair, title) for title, pair in zip(titles, pairs, strict=True)]
    drawn: HtmlReport = Report(metrics, include_tests=True).run(current, reference)
    return drawn


def _title(rule: Drift, pair: Pair, distance: float) -> str:
    sign = ">" if distance > rule.threshold else "≤"
    return f"{pair.name}, {rule.method} {distance:.3f} {sign} {rule.threshold:g}"


def _table(titles: Sequence[str], columns: Sequence[pd.Series]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({title: column.reset_index(drop=True) for title, column in zip(titles, columns, strict=True)})


def _metric(rule: Drift, pair: Pair, title: str) -> Any:
    """Evidently tests what it measures as we do; the rest it only draws."""
    from evidently.metrics import ValueDrift

    if rule.method in SHARED["categories" if pair.category else "numbers"]:
        return ValueDrift(column=title, method=rule.method, threshold=rule.threshold)
    return ValueDrift(column=title, method=OTHER_DISTANCE, tests=[])
