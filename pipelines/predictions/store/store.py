"""The store as everybody uses it: one object, one method for each question."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.predictions.store import (
    assessment_rows,
    label_rows,
    prediction_rows,
    reading,
    retention,
    summaries,
)
from pipelines.predictions.store.database import Database
from pipelines.predictions.store.rows import Counts, Expired, Kept, Labelled, LabelRow, Loss, Origin, PredictionRow

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection

    from pipelines.documents import Value
    from pipelines.predictions.source import Coverage

EXPIRED_AT_ONCE = 50_000


class Store:
    """Predictions, labels and assessments. It is a PredictionSource. Threads may share one.

    Every method may raise StoreUnavailable, after which the same call may be made again: nothing was done by half.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, url: str) -> Store:
        """The store at MLOPS_STORE. The database is asked, and its tables are made or upgraded, at the first call."""
        return cls(Database(url))

    def close(self) -> None:
        self.database.close()

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction, for tables of other rooms in the same database."""
        return self.database.writing()

    def reading(self) -> AbstractContextManager[Connection]:
        return self.database.reading()

    # --- what models answered ---------------------------------------------------------------------------------

    def save_predictions(
        self, origin: Origin, rows: Sequence[PredictionRow], now: datetime, losses: Sequence[Loss] = ()
    ) -> Kept:
        """All or nothing; rows whose id is there already are left as they are."""
        with self.database.writing() as connection:
            return prediction_rows.save_predictions(connection, origin, rows, losses, now)

    def save_losses(self, usecase: str, environment: str, losses: Sequence[Loss], now: datetime) -> None:
        with self.database.writing() as connection:
            prediction_rows.save_losses(connection, usecase, environment, losses, now)

    def predictions(
        self, usecase: str, environment: str, since: datetime, until: datetime, limit: int, *, bento: str | None = None
    ) -> pd.DataFrame:
        """At most `limit` predictions: id, time, bento, inputs, label, confidence, value."""
        with self.database.reading() as connection:
            return reading.read_predictions(connection, (usecase, environment, since, until, bento), limit)

    def joined(
        self, usecase: str, environment: str, since: datetime, until: datetime, limit: int, *, bento: str | None = None
    ) -> pd.DataFrame:
        """The same of those with a true value, and output, truth, observed_at."""
        with self.database.reading() as connection:
            return reading.read_joined(connection, (usecase, environment, since, until, bento), limit)

    def coverage(
        self, usecase: str, environment: str, since: datetime, until: datetime, *, bento: str | None = None
    ) -> Coverage:
        """Of how many the true value is known. A lag is the time from a prediction until its label was here."""
        with self.database.reading() as connection:
            return reading.read_coverage(connection, (usecase, environment, since, until, bento))

    def counts(self, usecase: str) -> Counts:
        with self.database.reading() as connection:
            return reading.read_counts(connection, usecase)

    def signature(self, usecase: str) -> dict[str, Any] | None:
        """The signature of the model that answered last; None when none has."""
        with self.database.reading() as connection:
            return reading.read_signature(connection, usecase)

    # --- what turned out to be true ---------------------------------------------------------------------------

    def save_labels(self, rows: Sequence[LabelRow], source: str, now: datetime) -> Labelled:
        with self.database.writing() as connection:
            return label_rows.save_labels(connection, rows, source, now)

    def save_key_labels(self, rows: Sequence[LabelRow], source: str, now: datetime) -> Labelled:
        """Of one use case, by join key."""
        with self.database.writing() as connection:
            return label_rows.save_key_labels(connection, rows, source, now)

    # --- what was judged of both ------------------------------------------------------------------------------

    def save_assessments(self, found: Sequence[Value]) -> int:
        """How many of them are new."""
        with self.database.writing() as connection:
            return assessment_rows.save_assessments(connection, found)

    def assessments(
        self, usecase: str, environment: str, *, kind: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """The newest first; `Assessment.model_validate` reads each."""
        with self.database.reading() as connection:
            return assessment_rows.read_assessments(connection, usecase, environment, kind, limit)

    # --- all models at a glance -------------------------------------------------------------------------------

    def newest_assessments(self, places: Sequence[summaries.Place]) -> list[dict[str, Any]]:
        """The newest of each kind, of every use case and environment that is named."""
        with self.database.reading() as connection:
            return summaries.read_newest(connection, places)

    def first_assessment(self, places: Sequence[summaries.Place], since: datetime) -> datetime | None:
        """When the first of them was made, of those that are not older than `since`."""
        with self.database.reading() as connection:
            return summaries.read_first(connection, places, since)

    def assessed_values(
        self, places: Sequence[summaries.Place], kinds: Sequence[str], moments: Sequence[datetime]
    ) -> dict[tuple[str, str, str], list[float | None]]:
        """Of each kind the last value after each moment and not after the next one; None where there is none."""
        with self.database.reading() as connection:
            return summaries.read_values(connection, places, kinds, moments)

    def assessed_over_time(self, place: summaries.Place, moments: Sequence[datetime]) -> list[dict[str, Any]]:
        """Of each kind the newest assessment after each moment and not after the next one, by time."""
        with self.database.reading() as connection:
            return summaries.read_trend(connection, place, moments)

    def last_predictions(self, places: Sequence[summaries.Place]) -> dict[summaries.Place, datetime]:
        """When each model answered last, as far as it was recorded."""
        with self.database.reading() as connection:
            return summaries.read_last_predicted(connection, places)

    # --- letting go -------------------------------------------------------------------------------------------

    def expire(
        self, usecase: str, before: datetime, labels_before: datetime, most_rows: int = EXPIRED_AT_ONCE
    ) -> Expired:
        """Delete what is older: predictions with their labels, and labels whose prediction never came."""
        return retention.expire(self.database, usecase, before, labels_before, most_rows)
