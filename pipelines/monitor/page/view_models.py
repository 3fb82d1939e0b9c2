"""What the page shows, as documents: the templates print them, and scripts get them as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.assessment.assess import AssessmentKind, AssessmentStatus
from pipelines.documents import Value
from pipelines.monitor.inventory.inventory import ServingState

Mark = Literal["problem", "attention", "fine", "unreleased"]
Bound = Literal["at_least", "at_most"]


class Judged(Value):
    """The newest assessment of one kind. `current`: it is about the version that is released now.

    `subject`: the metric, or the column that is farthest from its training data.
    """

    kind: AssessmentKind
    status: AssessmentStatus
    summary: str
    time: datetime
    window_start: datetime
    window_end: datetime
    bento: str
    current: bool
    value: float | None = None
    threshold: float | None = None
    bound: Bound = "at_most"
    subject: str | None = None
    interval: tuple[float, float] | None = None
    predictions: int | None = None
    labelled: int | None = None
    lag_median_seconds: float | None = None
    report: str | None = None
    report_problem: str | None = None


class Trend(Value):
    """Values over equal parts of the time that the whole page shows; None where there was none."""

    kind: AssessmentKind
    values: tuple[float | None, ...]


class Released(Value):
    """What Git says is released."""

    bento: str
    model: str
    version: str
    image: str
    data: str
    code: str
    mlflow_run: str
    metrics: dict[str, float]
    since: datetime | None = None
    commit: str | None = None
    commit_url: str | None = None
    mlflow_url: str | None = None
    card_url: str | None = None


class Server(Value):
    """Whether the model answers. `last_prediction`: the newest that was recorded."""

    state: ServingState
    bento: str | None = None
    since: datetime | None = None
    url: str | None = None
    detail: str | None = None
    problem: str | None = None
    last_prediction: datetime | None = None


class Entry(Value):
    """A request for a run and what became of it, or a run that nobody had to ask for.

    `state` is the trigger's, or the run's outcome where there is no trigger. `verdict`: what the gate said.
    """

    at: datetime
    reason: str
    evidence: str
    state: str
    note: str | None = None
    next_attempt: datetime | None = None
    attempts: int = 0
    joined: int = 0
    run_id: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    verdict: str | None = None
    broken_rules: list[str] = []
    bento: str | None = None
    commit: str | None = None
    commit_url: str | None = None
    mlflow_url: str | None = None
    card_url: str | None = None


class Line(Value):
    """One model in one environment. `why`: what is wrong with it, the worst first."""

    usecase: str
    environment: str
    mark: Mark
    why: list[str]
    server: Server
    released: Released | None = None
    quality: Judged | None = None
    inputs: Judged | None = None
    predictions: Judged | None = None
    labels: Judged | None = None
    last_run: Entry | None = None
    waiting: list[Entry] = []
    trends: list[Trend] = []

    @property
    def judged(self) -> list[Judged]:
        return [one for one in (self.quality, self.inputs, self.predictions, self.labels) if one]

    @property
    def drift(self) -> Judged | None:
        """Of inputs and predictions the one that matters more: an alert, or else the higher score."""
        both = [one for one in (self.inputs, self.predictions) if one]
        return max(both, key=lambda one: (one.status == "alert", one.value or 0.0, one.kind == "inputs"), default=None)

    def trend(self, kind: AssessmentKind) -> tuple[float | None, ...]:
        return next((trend.values for trend in self.trends if trend.kind == kind), ())


class Overview(Value):
    """All models, problems first. `problems`: what of it cannot be told now."""

    as_of: datetime
    commit: str | None
    commit_url: str | None = None
    seen_at: datetime | None
    problems: list[str]
    models: list[Line]
    trends_from: datetime | None = None
    trends_until: datetime | None = None

    def count(self, mark: Mark) -> int:
        return sum(model.mark == mark for model in self.models)


class Point(Value):
    """One assessment on a chart."""

    kind: AssessmentKind
    time: datetime
    status: AssessmentStatus
    bento: str
    value: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None


class Column(Value):
    """One column's distance from its training data."""

    kind: AssessmentKind
    column: str
    score: float | None
    drifted: bool
    note: str | None = None
    new_categories: list[str] = []


class Slice(Value):
    """The live quality of a part of the predictions."""

    column: str
    value: str
    rows: int
    score: float | None


class ReportLink(Value):
    """Evidently's own report of one evaluation."""

    time: datetime
    alert: bool
    url: str


class Contract(Value):
    """What usecase.yaml says of the model, as far as people ask for it here."""

    purpose: str
    team: str
    contact: str
    accountable: str
    risk: str
    drift: str | None
    quality: str | None
    retrain: str


class ModelPage(Value):
    """Everything of one model in one environment."""

    as_of: datetime
    commit: str | None
    problems: list[str]
    line: Line
    contract: Contract
    environments: list[str]
    grafana_url: str | None
    days: int
    points: list[Point]
    columns: list[Column]
    left_out: dict[str, str]
    slices: list[Slice]
    history: list[Entry]
    reports: list[ReportLink]

    def points_of(self, kind: AssessmentKind) -> list[Point]:
        return [point for point in self.points if point.kind == kind]
