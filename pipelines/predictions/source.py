"""Where the monitor reads what a model has answered. The prediction store is one; tests have their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Coverage:
    """How many predictions there are, and of how many the true value is known. Lags are None without labels."""

    predictions: int
    labelled: int
    lag_median_seconds: float | None = None
    lag_p95_seconds: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.labelled / self.predictions if self.predictions else None


class PredictionSource(Protocol):
    """Reads predictions made from `since` (inclusive) until `until` (exclusive), of one released version."""

    def predictions(
        self, usecase: str, environment: str, since: datetime, until: datetime, limit: int, *, bento: str | None = None
    ) -> pd.DataFrame:
        """At most `limit` of them, chosen evenly at random and always the same ones.

        Columns: id, time, inputs (a dict), label, confidence, value.
        """
        ...

    def joined(
        self, usecase: str, environment: str, since: datetime, until: datetime, limit: int, *, bento: str | None = None
    ) -> pd.DataFrame:
        """The same of those whose true value is known, with the columns output (a dict), truth and observed_at."""
        ...

    def coverage(
        self, usecase: str, environment: str, since: datetime, until: datetime, *, bento: str | None = None
    ) -> Coverage:
        """Counts of all of them, without sampling."""
        ...
