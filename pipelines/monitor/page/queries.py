"""What is known of all models at a moment, asked for once. A database that is away is told, not raised."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from pipelines.assessment.assess import Assessment, AssessmentKind
from pipelines.monitor.inventory.inventory import Sight
from pipelines.monitor.page.sources import Sources
from pipelines.predictions.store.errors import StoreError
from pipelines.predictions.store.store import Store
from pipelines.retraining.triggers import TriggerRecord

Place = tuple[str, str]
ASKED_RUNS = 300
ASSESSMENTS = TypeAdapter(list[Assessment])
TREND_KINDS: tuple[AssessmentKind, ...] = ("quality", "inputs", "predictions")
TREND_SPAN = timedelta(days=7)
TREND_STEPS = 20
TREND_KEPT = timedelta(minutes=1)
MOMENT = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Trends:
    """The last values of every model, over one span of time that all of them share."""

    start: datetime | None = None
    end: datetime | None = None
    values: dict[tuple[str, str, str], list[float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """`away`: why the database did not answer."""

    now: datetime
    sight: Sight
    newest: dict[Place, dict[AssessmentKind, Assessment]] = field(default_factory=dict)
    last_predicted: dict[Place, datetime] = field(default_factory=dict)
    asked: dict[Place, list[TriggerRecord]] = field(default_factory=dict)
    trends: Trends = Trends()
    away: str | None = None

    @property
    def problems(self) -> list[str]:
        away = f"The monitor's database does not answer; what it knows is missing here. {self.away}"
        return [*self.sight.problems, *([away] if self.away else [])]


class TrendReader:
    """Trends change slowly and cost more than all the rest of the page: they are read once a minute."""

    def __init__(self) -> None:
        self._kept: tuple[datetime, tuple[Place, ...], Trends] | None = None
        self._guard = threading.Lock()

    def read(self, store: Store, places: tuple[Place, ...], end: datetime | None, now: datetime) -> Trends:
        with self._guard:
            if self._kept is None or self._kept[1] != places or not self._kept[0] <= now < self._kept[0] + TREND_KEPT:
                self._kept = now, places, read_trends(store, places, end)
            return self._kept[2]


def gather(sources: Sources, trends: TrendReader | None = None) -> Facts:
    """Everything of all models; the database is asked five questions, however many models there are."""
    now, sight = sources.clock(), sources.sight()
    places = tuple(model.place for model in sight.models)
    try:
        newest = _by_place(sources.store.newest_assessments(places))
        end = max((one.time for kinds in newest.values() for one in kinds.values()), default=None)
        return Facts(
            now,
            sight,
            newest=newest,
            last_predicted=sources.store.last_predictions(places),
            asked=_asked(sources.triggers.newest(limit=ASKED_RUNS)),
            trends=(trends or TrendReader()).read(sources.store, places, end, now),
        )
    except StoreError as error:
        return Facts(now, sight, away=error.message)


def gather_one(sources: Sources, place: Place) -> Facts:
    """The same of one model alone, with more of its requests and without trends."""
    now, sight = sources.clock(), sources.sight()
    try:
        return Facts(
            now,
            sight,
            newest=_by_place(sources.store.newest_assessments([place])),
            last_predicted=sources.store.last_predictions([place]),
            asked=_asked(sources.triggers.newest(place[0], limit=ASKED_RUNS)),
        )
    except StoreError as error:
        return Facts(now, sight, away=error.message)


def read_trends(store: Store, places: Sequence[Place], end: datetime | None) -> Trends:
    """Over a week until the newest assessment, or since the first one if that is later."""
    start = store.first_assessment(places, end - TREND_SPAN) if end else None
    if start is None or end is None:
        return Trends()
    moments = steps_between(start, end, TREND_STEPS)
    return Trends(start, end, store.assessed_values(places, TREND_KINDS, moments))


def steps_between(start: datetime, end: datetime, most: int) -> list[datetime]:
    """The bounds of equal spans; both ends lie within, and no span is shorter than a second."""
    count = max(1, min(most, int((end - start).total_seconds())))
    return [start - MOMENT, *(start + (end - start) * number / count for number in range(1, count)), end]


def _by_place(rows: Sequence[dict[str, object]]) -> dict[Place, dict[AssessmentKind, Assessment]]:
    found: dict[Place, dict[AssessmentKind, Assessment]] = defaultdict(dict)
    for one in ASSESSMENTS.validate_python(rows):
        found[one.usecase, one.environment][one.kind] = one
    return dict(found)


def _asked(records: Sequence[TriggerRecord]) -> dict[Place, list[TriggerRecord]]:
    found: dict[Place, list[TriggerRecord]] = defaultdict(list)
    for record in records:
        found[record.usecase, record.environment].append(record)
    return dict(found)
