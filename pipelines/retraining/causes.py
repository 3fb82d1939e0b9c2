"""The causes that the monitor finds by itself: its assessments, the clock, and data that has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from pipelines.assessment.assess import Assessment
from pipelines.retraining.dispatcher import Dispatcher
from pipelines.retraining.queue import TriggerTable
from pipelines.retraining.triggers import Reason, Trigger, TriggerRecord, in_one_line
from pipelines.usecase import UseCase

REASONS: dict[str, Reason] = {
    "inputs": "drift",
    "predictions": "drift",
    "quality": "quality",
    "labels": "missing-labels",
}
SCHEDULE, SOURCE = "schedule", "source"


# What the data of a use case looks like from outside, cheaper than loading it: see pipelines.data.sources.fingerprint.
Fingerprint = Callable[[UseCase], str]


def act_on(dispatcher: Dispatcher, usecase: UseCase, assessments: Iterable[Assessment]) -> list[TriggerRecord]:
    """Alerts ask for a run where usecase.yaml wants one; assessments that are well again take the request back.

    What could not be judged says nothing about the cause: too few predictions after a release are no recovery, but
    that release is the answer to what was asked.
    """
    made = []
    for assessment in assessments:
        reason = REASONS[assessment.kind]
        fingerprint = f"{assessment.kind}:{assessment.bento}"
        if assessment.status == "alert" and reason in usecase.retrain.on:
            made.append(
                dispatcher.request(
                    Trigger(
                        usecase=assessment.usecase,
                        environment=assessment.environment,
                        reason=reason,
                        evidence=in_one_line(assessment.summary),
                        fingerprint=fingerprint,
                    )
                )
            )
        elif assessment.status == "ok":
            dispatcher.withdraw(assessment.usecase, assessment.environment, fingerprint)
    return made


def act_on_schedule(
    dispatcher: Dispatcher, table: TriggerTable, usecase: UseCase, environment: str, now: datetime
) -> TriggerRecord | None:
    """Ask for a run once a time of `retrain.schedule` has come; of several missed times only for the last one."""
    schedule = usecase.retrain.schedule
    if schedule is None:
        return None
    due = _latest_time(schedule, now)
    told = f"{schedule} at {due:%Y-%m-%d %H:%M} UTC"
    seen = table.mark(usecase.name, environment, SCHEDULE)
    if seen == told:
        return None
    asked = None
    if seen is not None and seen.startswith(f"{schedule} at "):  # a new schedule counts from now on
        asked = dispatcher.request(
            Trigger(
                usecase=usecase.name,
                environment=environment,
                reason="schedule",
                evidence=told,
                fingerprint=f"schedule:{told}",
            )
        )
    # After the request: a monitor that is killed in between asks again, and that joins the first request.
    table.set_mark(usecase.name, environment, SCHEDULE, told)
    return asked


def act_on_new_data(
    dispatcher: Dispatcher, table: TriggerTable, usecase: UseCase, environment: str, fingerprint: Fingerprint
) -> TriggerRecord | None:
    """Ask for a run when the source is not what it was. Raises what looking at the source raises."""
    if "new-data" not in usecase.retrain.on:
        return None
    found = fingerprint(usecase)
    seen = table.mark(usecase.name, environment, SOURCE)
    if found == seen:
        return None
    asked = None
    if seen is not None:
        asked = dispatcher.request(
            Trigger(
                usecase=usecase.name,
                environment=environment,
                reason="new-data",
                evidence=f"{usecase.data.source.type} source changed from {seen[:12]} to {found[:12]}",
                fingerprint=f"source:{found}",
            )
        )
    table.set_mark(usecase.name, environment, SOURCE, found)  # after the request, as above
    return asked


def _latest_time(schedule: str, now: datetime) -> datetime:
    """The newest time of the schedule that is not after now."""
    from cronsim import CronSim

    return next(CronSim(schedule, now.astimezone(UTC).replace(second=59, microsecond=0), reverse=True))
