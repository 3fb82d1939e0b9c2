"""A trigger table in a file, a clock that is set by hand, and requests to make."""

from datetime import datetime, timedelta
from pathlib import Path

from pipelines.predictions.store.database import Database
from pipelines.retraining.dispatcher import Dispatcher
from pipelines.retraining.queue import TriggerTable
from pipelines.retraining.triggers import RunOutcome, Trigger
from pipelines.usecase.model import Retrain
from tests.monitoring_cases import NOW

RETRAIN = Retrain(schedule="0 3 * * 1", on=["drift", "quality", "missing-labels", "new-data"], cooldown="6h")


class SetClock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


def open_table(url: str | Path) -> TriggerTable:
    return TriggerTable(Database(url if isinstance(url, str) else f"sqlite:///{url}"))


def dispatcher(table: TriggerTable, clock, runner=lambda record: RunOutcome(outcome="released"), **more) -> Dispatcher:
    known = {"tiny": RETRAIN, "small": RETRAIN, "quiet": Retrain()}
    return Dispatcher(table, lambda usecase, _environment: known.get(usecase), runner, clock=clock, **more)


def drift(fingerprint: str = "psi", usecase: str = "tiny", **more) -> Trigger:
    evidence = "temperature psi 3.10 > 0.2 on 4,210 predictions since 2013-04-01"
    known = {"environment": "staging", "reason": "drift", "evidence": evidence, **more}
    return Trigger(usecase=usecase, fingerprint=fingerprint, **known)


def by_hand(usecase: str = "tiny", **more) -> Trigger:
    return Trigger(usecase=usecase, environment="staging", reason="manual", fingerprint="by hand", **more)
