"""A monitor on a store of its own, told by the test what is released, with runs that take no time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipelines.assessment.assess import Assessment
from pipelines.assessment.worker import AssessmentJob, JudgedUsecase
from pipelines.monitor.app import make_app
from pipelines.monitor.inventory.inventory import DeployedModelState, Sight
from pipelines.monitor.monitor import Monitor
from pipelines.monitor.options import Options
from pipelines.release.release import Release
from pipelines.retraining.triggers import RunOutcome, TriggerRecord
from pipelines.settings import Settings
from pipelines.usecase import UseCase
from tests.asgi import AppClient
from tests.monitoring_cases import watched
from tests.page_cases import release

USECASE = "tiny-table"
TOKEN = "a-token-of-these-tests"
LOGIN = {"authorization": f"Bearer {TOKEN}"}


def usecase(name: str = USECASE, **retrain: object) -> UseCase:
    """The tiny one, with what its model server takes."""
    values = watched().model_dump(mode="json", exclude_unset=True)
    values["name"] = name
    values["data"]["features"] = {
        "distance": {"type": "number"},
        "temperature": {"type": "number", "max_missing": 0.1},
        "origin": {"type": "category"},
        "carrier": {"type": "category"},
    }
    values["evaluation"]["slices"] = ["carrier"]
    values["retrain"] = {"on": ["drift", "quality", "missing-labels"], "cooldown": "6h", **retrain}
    return UseCase.model_validate(values)


def released(name: str = USECASE, environment: str = "staging", **retrain: object) -> DeployedModelState:
    return DeployedModelState(
        usecase(name, **retrain), environment, release(name, "7"), "c" * 40, datetime(2026, 11, 1, tzinfo=UTC)
    )


@dataclass
class Told:
    """What is watched, as a test says it. `folders`: where the Bentos lie; `problem`: looking fails with it."""

    models: list[DeployedModelState] = field(default_factory=lambda: [released()])
    folders: dict[str, Path] = field(default_factory=dict)
    problem: Exception | None = None

    def look(self) -> Sight:
        if self.problem:
            raise self.problem
        return Sight(tuple(self.models), seen_at=datetime.now(UTC))

    def bento(self, release: Release) -> Path:
        from pipelines.packaging.bentos import BentoMissing

        if release.bento in self.folders:
            return self.folders[release.bento]
        raise BentoMissing(f"{release.bento} is not in the store")


class Runs:
    """A runner that counts, and waits until it is let go on."""

    def __init__(self, outcome: RunOutcome | None = None) -> None:
        self.outcome = outcome or RunOutcome(outcome="released", run_id="r-1")
        self.begun: list[TriggerRecord] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self, record: TriggerRecord) -> RunOutcome:
        self.begun.append(record)
        assert self.may_end.wait(60)
        return self.outcome


def judged(score: float = 0.01, quality: float = 0.9):
    """A judge that takes no second, and what it says of every job."""

    def judge(jobs: Sequence[AssessmentJob]) -> list[JudgedUsecase]:
        return [JudgedUsecase(job=number, assessments=verdicts(job, score, quality)) for number, job in enumerate(jobs)]

    return judge


def verdicts(job: AssessmentJob, score: float, quality: float) -> list[Assessment]:
    name, drifted, bad = job.usecase["name"], score > 0.2, quality < 0.7

    def one(kind, status, value, threshold, **detail):
        return Assessment(
            id=f"{name}.{job.environment}.{kind}.{job.now:%Y%m%dT%H%M%S%fZ}",
            usecase=name,
            environment=job.environment,
            kind=kind,
            time=job.now,
            window_start=job.now,
            window_end=job.now,
            status=status,
            summary=f"{kind} {value}",
            value=value,
            threshold=threshold,
            detail=detail,
            bento=f"{name}:7",
        )

    column = {"column": "temperature", "score": score, "drifted": drifted}
    return [
        one("inputs", "alert" if drifted else "ok", score, 0.2, columns=[column]),
        one("quality", "alert" if bad else "ok", quality, 0.7, metric="roc_auc", bound="at_least"),
    ]


@dataclass
class Service:
    """A monitor with its HTTP side, begun and ended with the test."""

    folder: Path
    store: str = ""
    told: Told = field(default_factory=Told)
    runs: Runs = field(default_factory=Runs)
    options: Options = field(default_factory=Options)
    judge: object = field(default_factory=judged)

    def __post_init__(self) -> None:
        env = {"MLOPS_MONITOR_TOKEN": TOKEN, "MLOPS_STORE": self.store or f"sqlite:///{self.folder / 'monitor.db'}"}
        self.settings = Settings.load(env, root=self.folder, home=self.folder)
        self.monitor = Monitor(self.settings, self.options, self.told, attempt=self.runs, judge=self.judge)
        self.client = AppClient(make_app(self.monitor))

    def __enter__(self) -> Service:
        self.client.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.runs.may_end.set()
        self.client.__exit__(*error)

    def post(self, path: str, body: bytes | dict | list, **headers: str):
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.client.post(path, headers={**LOGIN, **headers}, **content)

    def metrics(self) -> dict[str, float]:
        from prometheus_client.parser import text_string_to_metric_families

        text = self.client.get("/metrics").text
        return {
            sample.name + "{" + ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items())) + "}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def webhook(*alerts: dict) -> dict:
    """As Alertmanager posts it."""
    return {"version": "4", "groupKey": "g", "status": "firing", "receiver": "monitor", "alerts": list(alerts)}


def alert(number: int = 1, status: str = "firing", usecase: str = USECASE, retrain: str | None = "drift"):
    told = {"alertname": "InputsDrifted", "usecase": usecase, "environment": "staging"}
    if retrain:
        told["retrain"] = retrain
    return {
        "status": status,
        "labels": told,
        "annotations": {"summary": f"inputs of {usecase} drifted ({number})"},
        "fingerprint": f"f{number:015x}",
        "startsAt": "2026-11-21T12:00:00Z",
    }
