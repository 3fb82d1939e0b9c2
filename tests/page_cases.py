"""A platform to look at: real use cases, a real store with real evaluations, triggers, runs and reports in folders.

The evaluations are the monitor's own, on the tiny model's predictions; longer stories repeat them at other times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.assessment.assess import Assessment, assess
from pipelines.assessment.reports import Reports
from pipelines.evaluation.gate import RuleResult, Verdict
from pipelines.monitor.inventory.inventory import DeployedModelState, Health, Sight
from pipelines.monitor.page.sources import Links, Sources
from pipelines.predictions.store.rows import Origin, PredictionRow
from pipelines.predictions.store.store import Store
from pipelines.release.release import Release
from pipelines.retraining.queue import TriggerTable
from pipelines.retraining.triggers import RunOutcome, Trigger
from pipelines.runs.index import list_runs
from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import RunRequest
from pipelines.runs.run import REQUEST_FILE, RUN, Run
from pipelines.runs.tracking import PUBLISHED_FILE, Published
from pipelines.usecase import UseCase, load_usecase
from tests.monitoring_cases import BENTO, NOW, FrameSource, labelled, predictions, reference, sizes, watched
from tests.pipeline_cases import NAME, STEPS

ROOT = Path(__file__).parents[1]
STAGING, PRODUCTION = "staging", "production"
COMMIT = "4f1c9a7be2d05386c1a0f7d9e8b6345a2c1d0e9f"
LINKS = Links(
    mlflow="http://mlflow.example.com",
    grafana="https://grafana.example.com/",
    commit="https://git.example.com/team/models/commit/{commit}",
)


@cache
def evaluated(shift: float = 0.0, wrong: float = 0.0, labels: bool = True) -> tuple[Assessment, ...]:
    """What the monitor finds in predictions that are so far shifted, with so many of the true values turned over."""
    frame = predictions(sizes(1200, shift=shift), at=NOW)
    old = predictions(sizes(600, seed=1), at=NOW - timedelta(days=3, hours=2))
    known = labelled(old, wrong=wrong) if labels else old
    import pandas as pd

    source = FrameSource(pd.concat([known, frame], ignore_index=True))
    return tuple(assess(watched(), STAGING, source, reference(), NOW))


def release(usecase: str, version: str = "7") -> Release:
    return Release(
        bento=f"{usecase}:{version}",
        image=f"registry.example.com/models/{usecase}@sha256:{'5c' * 32}",
        model=f"{usecase}/{version}",
        run="ab07b575f35d4f1c9d6a5b5814d06f4f",
        data="e828521b81ca",
        code="cd0260d78a99202cb0d961ad3639e2fee2115809",
        metrics={"roc_auc": 0.7412, "brier": 0.1873},
    )


def usecase(name: str) -> UseCase:
    """One of the checkout's, or the tiny one under another name."""
    if (ROOT / "apps" / name / "usecase.yaml").is_file():
        return load_usecase(ROOT, name)
    return watched().model_copy(update={"name": name})


def model(name: str = NAME, environment: str = STAGING, version: str | None = "7", **more: Any) -> DeployedModelState:
    known = {"commit": COMMIT, "since": NOW - timedelta(days=3), "health": Health("serving", f"{name}:{version}")}
    if version is None:
        return DeployedModelState(usecase(name), environment)
    return DeployedModelState(usecase(name), environment, release(name, version), **{**known, **more})


@dataclass
class Platform:
    """Everything that the page reads, in one folder. `away` stands for a database that is gone."""

    folder: Path
    models: list[DeployedModelState] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    links: Links = LINKS
    now: datetime = NOW
    url: str | None = None

    def __post_init__(self) -> None:
        self.store = Store.open(self.url or f"sqlite:///{self.folder / 'monitor.db'}")
        self.triggers = TriggerTable(self.store.database)
        self.links = replace(self.links, state=self.folder)

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def sources(self) -> Sources:
        return Sources(
            sight=lambda: Sight(tuple(self.models), self.problems, COMMIT, self.now - timedelta(seconds=4)),
            store=self.store,
            triggers=self.triggers,
            runs=lambda name: list_runs(self.runs, name),
            reports=self.reports,
            links=self.links,
            clock=lambda: self.now,
        )

    def keep(self, found: tuple[Assessment, ...], name: str = NAME, environment: str = STAGING, **more: Any) -> None:
        """Store them as another model's, or as of another time."""
        self.store.save_assessments([moved(one, name, environment, **more) for one in found])

    def answer(self, name: str, environment: str, at: datetime) -> None:
        origin = Origin(name, environment, f"{name}:7", f"{name}/7", "run", COMMIT, {})
        row = PredictionRow(id=f"{name}.7.{at:%H%M%S}{environment}", time=at, inputs={}, output={})
        self.store.save_predictions(origin, [row], at)

    def ask(self, name: str, reason: str, evidence: str, at: datetime, outcome: RunOutcome | None = None) -> str:
        """A trigger, and its run if it has ended."""
        known: dict[str, Any] = {"usecase": name, "environment": STAGING, "reason": reason, "evidence": evidence}
        record = self.triggers.request(Trigger(**known, fingerprint=f"{reason}:{at}"), at)
        if outcome:
            begun = self.triggers.claim(record, timedelta(0), "monitor", at + timedelta(seconds=1))
            assert begun
            assert self.triggers.finish(begun, outcome, at + timedelta(minutes=4))
        return record.id

    def run(self, run_id: str, at: datetime, *, until: str = "release", card: bool = True, **more: Any) -> Run:
        """A run in its folder, as its steps leave it."""
        name = run_id.rsplit("-", 3)[0]
        folder, journal = self.runs / run_id, Journal(self.runs / run_id)
        request = RunRequest(usecase=name, run_id=run_id, environment=STAGING, **more)
        request.write(folder / REQUEST_FILE)
        Published(mlflow_run="0123456789abcdef0123456789abcdef", records=1).write(folder / PUBLISHED_FILE)
        seconds = at.timestamp()
        journal.append(Record(step=RUN, event="started", time=seconds))
        for number, step in enumerate(STEPS[: STEPS.index(until) + 1]):
            passed = until != "gate"
            results: dict[str, Any] = {
                "gate": verdict(name, passed).model_dump(mode="json"),
                "package": {"tag": f"{name}:8", "image": "models@sha256:00"},
            }
            tags = {"commit": COMMIT} if step == "release" else {}
            done = {"time": seconds + 10 + number, "seconds": 1.0, "result": results.get(step), "tags": tags}
            journal.append(Record(step=step, event="finished", **done))
        if card:
            (folder / "evaluation").mkdir()
            (folder / "evaluation" / "model-card.html").write_text(
                "<!doctype html><title>Card</title><h1>Model card</h1>"
            )
        return next(run for run in list_runs(self.runs, name) if run.request.run_id == run_id)


def verdict(name: str, passed: bool) -> Verdict:
    told = "0.7412 is within the limit" if passed else "0.5914 is below 0.62"
    rules = [
        RuleResult(rule="every answer on the test rows is finite and valid", passed=True, reason="9000 rows answered"),
        RuleResult(rule="roc_auc at least 0.62", metric="roc_auc", passed=passed, reason=told),
    ]
    return Verdict(usecase=name, passed=passed, first_release=False, champion=f"{name}:6", rules=rules)


def moved(
    one: Assessment, name: str, environment: str, at: datetime = NOW, version: str = "7", **changed: Any
) -> Assessment:
    gone = at - one.time
    known = {
        "id": f"{name}.{environment}.{one.kind}.{at:%Y%m%dT%H%M%S%fZ}",
        "usecase": name,
        "environment": environment,
        "time": at,
        "window_start": one.window_start + gone,
        "window_end": one.window_end + gone,
        "bento": one.bento.replace(BENTO, f"{name}:{version}"),
    }
    return one.model_copy(update={**known, **changed})


def at_values(one: Assessment, value: float) -> Assessment:
    """The same with another value, and the status that follows from it."""
    if one.value is None or one.threshold is None or one.kind == "labels":
        return one
    beyond = value < one.threshold if one.kind == "quality" else value > one.threshold
    interval = {"interval": [value - 0.02, value + 0.02]} if one.kind == "quality" else {}
    status = "alert" if beyond else "ok"
    return one.model_copy(update={"value": value, "status": status, "detail": one.detail | interval})


def a_busy_week(folder: Path) -> Platform:
    """Four models: one that drifts and whose quality falls, one that is fine, one whose server is gone, one to come."""
    platform = Platform(folder)
    platform.models = [
        model("flight-delays", STAGING, "7", since=NOW - timedelta(days=5)),
        model("flight-delays", PRODUCTION, "6", since=NOW - timedelta(days=19)),
        model("fashion-mnist", STAGING, "3", health=Health("down")),
        model("churn", STAGING, None),
    ]
    platform.store.save_assessments(list(_a_week_of_evaluations()))
    psi = "temperature psi 3.10 > 0.2 on 4,210 predictions since 2026-11-18 06:00"
    asked = NOW - timedelta(hours=9)
    platform.run("flight-delays-20261121-030002-1a2b", asked, until="gate", reason=f"drift: {psi}")
    rejected = RunOutcome(outcome="rejected", run_id="flight-delays-20261121-030002-1a2b")
    platform.ask("flight-delays", "drift", psi, asked, rejected)
    platform.run("flight-delays-20261116-120000-3c4d", NOW - timedelta(days=5), reason="schedule: 0 3 * * 1")
    platform.ask("flight-delays", "quality", "roc_auc 0.601 < 0.62", NOW - timedelta(minutes=2))
    for name, environment in (("flight-delays", STAGING), ("flight-delays", PRODUCTION)):
        platform.answer(name, environment, NOW - timedelta(seconds=12))
    return platform


def _a_week_of_evaluations() -> Iterator[Assessment]:
    """Every two hours. In staging flights drift and their quality falls since the third day, when version 7 came."""
    fine = {one.kind: one for one in evaluated()}
    hours = 7 * 24
    for hour in range(0, hours, 2):
        at = NOW - timedelta(hours=hours - hour)
        wave, late = math.sin(hour / 9), max(0.0, (hour - 90) / (hours - 90))
        for (name, environment), fall in (
            (("flight-delays", STAGING), late),
            (("flight-delays", PRODUCTION), 0.0),
            (("fashion-mnist", STAGING), 0.1 * late),
        ):
            values = {
                "inputs": 0.07 + 0.02 * wave + 0.4 * fall,
                "predictions": 0.04 + 0.01 * wave + 0.1 * fall,
                "quality": 0.76 + 0.01 * wave - 0.14 * fall,
            }
            version = "3" if name == "fashion-mnist" else "6" if environment == PRODUCTION or hour < 48 else "7"
            for one in fine.values():
                yield moved(at_values(one, values.get(one.kind, 0.0)), name, environment, at, version)
    for name, environment, version in (("flight-delays", PRODUCTION, "6"), ("fashion-mnist", STAGING, "3")):
        yield from (moved(one, name, environment, NOW, version) for one in evaluated())
    yield from (moved(one, "flight-delays", STAGING, NOW, "7") for one in evaluated(2.0, 0.45))


def report_of(platform: Platform, name: str = "flight-delays", environment: str = STAGING) -> Assessment:
    """One evaluation with Evidently's own report."""
    source = FrameSource(predictions(sizes(1200, shift=2.0), at=NOW))
    found = assess(watched(), STAGING, source, reference(), NOW, reports=Reports(platform.folder / "made"))
    path = Path(found[0].report_path or "")
    kept = platform.reports / environment / name / path.name
    kept.parent.mkdir(parents=True)
    path.rename(kept)
    return moved(found[0], name, environment, at=NOW + timedelta(seconds=1), report_path=str(kept))
