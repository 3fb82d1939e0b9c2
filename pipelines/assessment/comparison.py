"""One column, now and in the training data, made fit to be compared.

Drift methods meet columns as they are, and some of what they do with them misleads: one outlier stretches the bins
until they see nothing else, a hundred rare categories look like drift in a small window, a column that is empty is an
error. Here a column becomes up to two pairs of series that they treat well: its values, and whether it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.assessment.distances import FEW_VALUES

if TYPE_CHECKING:
    import pandas as pd

MISSING, RARE, NEW = "(missing)", "(rare)", "(new)"
PRESENT = "present"
RAREST_SHARE = 0.01
OUTER = 0.01
NEW_NAMED = 10


@dataclass(frozen=True)
class Pair:
    """Two series to compare; both are whole: nothing is missing in them."""

    name: str
    category: bool
    current: pd.Series
    reference: pd.Series


@dataclass(frozen=True)
class Comparison:
    """What there is to compare of one column, and what can be said of it without comparing.

    `lost`: why it has drifted by definition. `unjudged`: why its values are not compared.
    """

    column: str
    values: Pair | None = None
    presence: Pair | None = None
    lost: str | None = None
    unjudged: str | None = None
    new_categories: tuple[str, ...] = ()


def compare_number(column: str, current: pd.Series, reference: pd.Series, fewest: int) -> Comparison:
    """Numbers: extremes are drawn in to a frame three times as wide as nearly all of the training data."""
    import numpy as np

    current, reference = (
        series.astype("float64").replace([np.inf, -np.inf], np.nan) for series in (current, reference)
    )
    there, was = current.dropna(), reference.dropna()
    presence = _presence(column, current, reference)
    lost, unjudged = _emptiness(there, was, len(current), fewest)
    if lost or unjudged:
        return Comparison(column, presence=presence, lost=lost, unjudged=unjudged)
    if was.nunique() > FEW_VALUES:
        low, high = _frame(was)
        there, was = there.clip(low, high), was.clip(low, high)
    return Comparison(column, values=Pair(column, False, there, was), presence=presence)


def compare_category(column: str, current: pd.Series, reference: pd.Series, fewest: int) -> Comparison:
    """Texts: those that were rare in the training data count as one, and so do those that it never had."""
    there, was = current.dropna().astype(str), reference.dropna().astype(str)
    presence = _presence(column, current, reference)
    lost, unjudged = _emptiness(there, was, len(current), fewest)
    if lost or unjudged:
        return Comparison(column, presence=presence, lost=lost, unjudged=unjudged)
    shares = was.value_counts(normalize=True)
    common, known = set(shares[shares >= RAREST_SHARE].index), set(shares.index)

    def fold(series: pd.Series) -> pd.Series:
        return series.map(lambda text: text if text in common else RARE if text in known else NEW)

    strangers = there[~there.isin(known)].value_counts()
    names = sorted(strangers.index, key=lambda name: (-strangers[name], name))
    return Comparison(
        column,
        values=Pair(column, True, fold(there), fold(was)),
        presence=presence,
        new_categories=tuple(str(name) for name in names[:NEW_NAMED]),
    )


def _presence(column: str, current: pd.Series, reference: pd.Series) -> Pair | None:
    """Whether a value is there, where it sometimes is not."""
    if current.notna().all() and reference.notna().all():
        return None
    told = {True: PRESENT, False: MISSING}
    return Pair(f"{column} {MISSING}", True, current.notna().map(told), reference.notna().map(told))


def _emptiness(there: pd.Series, was: pd.Series, rows: int, fewest: int) -> tuple[str | None, str | None]:
    """Why it is drift by definition, and why the values cannot be compared; at most one of them."""
    if there.empty and was.empty:
        return None, "missing now as in all of the training data"
    if there.empty:
        return f"missing in all {rows:,} predictions", None
    if was.empty:
        return f"missing in all of the training data, and now in {len(there):,} of {rows:,} predictions", None
    if len(there) < fewest:
        return None, f"only {len(there):,} of {rows:,} predictions have it; fewer than {fewest:,} are not compared"
    return None, None


def _frame(was: pd.Series) -> tuple[float, float]:
    low, high = float(was.quantile(OUTER)), float(was.quantile(1 - OUTER))
    if low == high:  # nearly all are the same number, such as a precipitation of 0
        low, high = float(was.min()), float(was.max())
    return low - (high - low), high + (high - low)
