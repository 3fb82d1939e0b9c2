"""What was asked for and what came of it: triggers and runs as one list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from pipelines.evaluation.gate import Verdict
from pipelines.monitor.page.files import card_url
from pipelines.monitor.page.sources import Links
from pipelines.monitor.page.view_models import Entry
from pipelines.retraining.triggers import PENDING, TriggerRecord
from pipelines.runs.run import Run
from pipelines.runs.tracking import PUBLISHED_FILE, Published

ENDED = ("released", "unchanged", "rejected", "failed", "interrupted")
BROKEN_RULES = 5


def tell_history(records: Sequence[TriggerRecord], runs: Sequence[Run], links: Links) -> list[Entry]:
    """The newest first. A run that a trigger began stands in that trigger's entry."""
    by_id = {run.request.run_id: run for run in runs}
    entries = [_of_trigger(record, by_id.pop(record.run_id or "", None), links) for record in records]
    entries += [_of_run(run, links) for run in by_id.values()]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def last_words(records: Sequence[TriggerRecord], runs: Sequence[Run]) -> tuple[list[TriggerRecord], list[Run]]:
    """Of records and runs, both newest first, as many as it takes to say what ended last and what has not ended."""
    pending = [record for record in records if record.state in (*PENDING, "running")]
    ended = [record for record in records if record.state in ENDED and record.attempts]
    latest = max(ended, key=lambda record: record.ended_at or record.requested_at, default=None)
    newest = next((run for run in runs if run.outcome in ENDED), None)
    if latest and newest and newest.request.run_id != latest.run_id and newest.started < latest.requested_at:
        newest = None
    named = {record.run_id for record in (latest, *pending) if record}
    kept = [run for run in runs if run is newest or run.outcome == "running" or run.request.run_id in named]
    return [*pending, *([latest] if latest else [])], kept


def last_run(history: Sequence[Entry]) -> Entry | None:
    """The run that ended last."""
    ended = [entry for entry in history if entry.state in ENDED and (entry.run_id or entry.attempts)]
    return max(ended, key=_end, default=None)


def waiting(history: Sequence[Entry]) -> list[Entry]:
    """What has not ended yet."""
    return [entry for entry in history if entry.state in (*PENDING, "running")]


def _end(entry: Entry) -> datetime:
    return entry.ended or entry.started or entry.at


def _of_trigger(record: TriggerRecord, run: Run | None, links: Links) -> Entry:
    known: dict[str, Any] = {"card_url": card_url(links.state, record.run_id), **(_of_steps(run, links) if run else {})}
    return Entry(
        at=record.requested_at,
        reason=record.reason,
        evidence=record.evidence,
        state=record.state,
        note=record.note,
        next_attempt=record.next_attempt if record.state in PENDING else None,
        attempts=record.attempts,
        joined=record.joined,
        run_id=record.run_id,
        started=record.started_at,
        ended=record.ended_at,
        seconds=_took(record),
        **known,
    )


def _of_run(run: Run, links: Links) -> Entry:
    reason, _, evidence = run.request.reason.partition(": ")
    return Entry(
        at=run.started,
        reason=reason,
        evidence=evidence,
        state=run.outcome,
        note=f"{run.failed_step}: {run.error}" if run.outcome == "failed" and run.failed_step else None,
        attempts=1,
        run_id=run.request.run_id,
        started=run.started,
        ended=run.started + timedelta(seconds=run.seconds) if run.outcome in ENDED else None,
        seconds=run.seconds,
        card_url=card_url(links.state, run.request.run_id),
        **_of_steps(run, links),
    )


def _took(record: TriggerRecord) -> float | None:
    if record.started_at is None or record.ended_at is None:
        return None
    return (record.ended_at - record.started_at).total_seconds()


def _of_steps(run: Run, links: Links) -> dict[str, Any]:
    """What the run's steps gave, as far as it came."""
    verdict = _verdict(run)
    package = run.results.get("package", {})
    return {
        "verdict": verdict.conclusion if verdict else None,
        "broken_rules": [f"{rule.rule}: {rule.reason}" for rule in verdict.failed][:BROKEN_RULES] if verdict else [],
        "bento": package.get("tag"),
        "commit": run.commit,
        "commit_url": links.to_commit(run.commit),
        "mlflow_url": links.to_mlflow_run(_mlflow_run(run)),
    }


def _verdict(run: Run) -> Verdict | None:
    """None for one that another version has written in its own words, too."""
    try:
        return Verdict.from_values(run.results["gate"]) if "gate" in run.results else None
    except ValidationError:
        return None


def _mlflow_run(run: Run) -> str | None:
    try:
        return Published.read(run.folder / PUBLISHED_FILE).mlflow_run
    except (OSError, ValidationError):
        return None
