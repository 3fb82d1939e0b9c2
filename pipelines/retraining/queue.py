"""The triggers in the database, and the few steps from one state to the next.

Every step is one statement, or begins with one that writes: two monitors on one database cannot both take it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from pipelines.predictions.store.errors import StoreRefused
from pipelines.retraining.schema import causes, is_pending, is_running, marks, triggers
from pipelines.retraining.triggers import (
    BUSY_PAUSE,
    MOST_ATTEMPTS,
    SIGNALS,
    RunOutcome,
    Trigger,
    TriggerRecord,
    in_one_line,
    new_trigger_id,
    pause_before,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipelines.predictions.store.database import Database

JOIN_TRIES = 5
_shown = [column for column in triggers.c if column.name != "heartbeat"]


class TriggerTable:
    """The triggers of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- asking for a run ---------------------------------------------------------------------------------

    def request(self, trigger: Trigger, now: datetime) -> TriggerRecord:
        """Wait for a run; a request joins the one that waits already, and a signal also the run that is under way."""
        for _ in range(JOIN_TRIES):
            try:
                with self._database.writing() as connection:
                    # Else another request could come in after nothing was found to join, and have its run begun before
                    # this one waits: two that wait clash, one that runs and one that waits do not.
                    self._database.take_turns(connection, f"{trigger.usecase}/{trigger.environment}")
                    joined = self._join(connection, trigger, now)
                    return self._read(connection, joined or self._add(connection, trigger, now, "waiting", None))
            except StoreRefused as refused:
                _require_clash(refused)  # another monitor was quicker: join its request
        raise RuntimeError(f"the request for {trigger.usecase} neither joined another one nor was the first")

    def refuse(self, trigger: Trigger, why: str, now: datetime) -> TriggerRecord:
        """Record a request that nobody may make; told again, it is counted."""
        same = and_(
            triggers.c.state == "refused",
            triggers.c.usecase == trigger.usecase,
            triggers.c.environment == trigger.environment,
            triggers.c.fingerprint == trigger.fingerprint,
            triggers.c.note == why,
        )
        with self._database.writing() as connection:
            again = update(triggers).where(same).values(joined=triggers.c.joined + 1, ended_at=now)
            if connection.execute(again).rowcount:
                known = connection.scalar(select(triggers.c.id).where(same).limit(1))
                return self._read(connection, str(known))
            return self._read(connection, self._add(connection, trigger, now, "refused", why))

    def withdraw(self, usecase: str, environment: str, fingerprint: str, now: datetime) -> bool:
        """A cause is gone; whether a request that had no other one was given up before its run began."""
        mine = and_(is_pending, triggers.c.usecase == usecase, triggers.c.environment == environment)
        with self._database.writing() as connection:
            gone = delete(causes).where(
                causes.c.fingerprint == fingerprint, causes.c.trigger.in_(select(triggers.c.id).where(mine))
            )
            if not connection.execute(gone).rowcount:
                return False
            has_causes = exists(select(causes.c.trigger).where(causes.c.trigger == triggers.c.id))
            given_up = (
                update(triggers)
                .where(mine, ~has_causes, ~triggers.c.forced)
                .values(
                    state="refused",
                    note="the cause was gone before a run began",
                    ended_at=func.coalesce(triggers.c.ended_at, now),
                )
            )
            return bool(connection.execute(given_up).rowcount)

    def _join(self, connection: Connection, trigger: Trigger, now: datetime) -> str | None:
        mine = and_(triggers.c.usecase == trigger.usecase, triggers.c.environment == trigger.environment)
        one_more = {"joined": triggers.c.joined + 1}
        at_once = {"forced": True, "state": "waiting", "next_attempt": now} if trigger.forced else {}
        if connection.execute(update(triggers).where(mine, is_pending).values(one_more | at_once)).rowcount:
            waiting = str(connection.scalar(select(triggers.c.id).where(mine, is_pending)))
            self._add_cause(connection, waiting, trigger.fingerprint)
            return waiting
        answered = triggers.c.fingerprint == trigger.fingerprint
        if trigger.reason in SIGNALS:
            answered = triggers.c.state == "running"  # the run under way is the answer to it
        under_way = and_(mine, is_running, answered)
        if not trigger.forced and connection.execute(update(triggers).where(under_way).values(one_more)).rowcount:
            return str(connection.scalar(select(triggers.c.id).where(under_way)))
        return None

    def _add(self, connection: Connection, trigger: Trigger, now: datetime, state: str, note: str | None) -> str:
        known = {
            "id": new_trigger_id(trigger.usecase, now),
            **trigger.model_dump(),
            "evidence": in_one_line(trigger.evidence),
            "fingerprint": trigger.fingerprint[:200],
            "requested_at": now,
            "state": state,
            "attempts": 0,
            "next_attempt": now,
            "joined": 0,
            "ended_at": now if state == "refused" else None,
            "note": note,
        }
        connection.execute(insert(triggers).values(known))
        if state == "waiting":
            self._add_cause(connection, str(known["id"]), trigger.fingerprint)
        return str(known["id"])

    def _add_cause(self, connection: Connection, trigger: str, fingerprint: str) -> None:
        known = select(causes.c.trigger).where(causes.c.trigger == trigger, causes.c.fingerprint == fingerprint[:200])
        if connection.scalar(known) is None:
            connection.execute(insert(causes).values(trigger=trigger, fingerprint=fingerprint[:200]))

    # --- running ------------------------------------------------------------------------------------------

    def pending(self) -> list[TriggerRecord]:
        """Those that wait for a run, forced ones first, then by age."""
        query = select(*_shown).where(is_pending).order_by(triggers.c.forced.desc(), triggers.c.requested_at)
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(query)]

    def last_end(self, usecase: str, but: str) -> datetime | None:
        """When the last run of the use case ended that another trigger had begun."""
        query = select(func.max(triggers.c.ended_at)).where(
            triggers.c.usecase == usecase, triggers.c.attempts > 0, triggers.c.id != but
        )
        with self._database.reading() as connection:
            end: datetime | None = connection.scalar(query)
        return end

    def cool(self, record: TriggerRecord, until: datetime) -> None:
        """Let it wait for the end of the cool-down."""
        self._change(record.id, and_(is_pending, ~triggers.c.forced), state="cooling", next_attempt=until)

    def claim(self, record: TriggerRecord, cooldown: timedelta, owner: str, now: datetime) -> TriggerRecord | None:
        """Begin its run, unless another one is under way or ended less than a cool-down ago."""
        other = triggers.alias("other")
        of_usecase = and_(other.c.usecase == triggers.c.usecase, other.c.id != triggers.c.id)
        under_way = exists(select(other.c.id).where(of_usecase, other.c.state == "running"))
        too_soon = exists(select(other.c.id).where(of_usecase, other.c.attempts > 0, other.c.ended_at > now - cooldown))
        free = and_(is_pending, triggers.c.next_attempt <= now, ~under_way, or_(triggers.c.forced, ~too_soon))
        try:
            begun = self._change(
                record.id,
                free,
                state="running",
                attempts=triggers.c.attempts + 1,
                owner=owner,
                heartbeat=now,
                started_at=now,
                run_id=None,
                note=None,
            )
        except StoreRefused as refused:
            _require_clash(refused)
            return None  # another monitor has begun a run of this use case in this moment
        return self.get(record.id) if begun else None

    def told_run(self, record: TriggerRecord, run_id: str) -> None:
        """The run has begun and has an id."""
        self._change(record.id, _held_by(record.owner), run_id=run_id)

    def beat(self, record: TriggerRecord, now: datetime) -> bool:
        """Say that its run is followed; False when another monitor has taken it over."""
        return self._change(record.id, _held_by(record.owner), heartbeat=now)

    def running(self) -> list[tuple[TriggerRecord, datetime]]:
        """Those under way, with the time of the last heartbeat."""
        with self._database.reading() as connection:
            rows = connection.execute(select(*_shown, triggers.c.heartbeat).where(is_running)).all()
        return [(_record(row[:-1]), row[-1]) for row in rows]

    def take_over(self, record: TriggerRecord, owner: str, now: datetime) -> TriggerRecord | None:
        """Follow a run whose monitor is gone; None when another monitor was quicker."""
        taken = self._change(record.id, _held_by(record.owner), owner=owner, heartbeat=now)
        return self.get(record.id) if taken else None

    def finish(self, record: TriggerRecord, outcome: RunOutcome, now: datetime) -> bool:
        """Record how its run ended; False when it was not this monitor's any more."""
        held = _held_by(record.owner)
        known: dict[str, Any] = {"run_id": outcome.run_id, "note": in_one_line(outcome.note or "") or None}
        if outcome.outcome == "busy":  # nothing ran: neither the attempt nor its end count
            known["attempts"] = record.attempts - 1
            return self._put_back(record, held, now + BUSY_PAUSE, known, "refused")
        known["ended_at"] = now
        if outcome.outcome == "failed" and record.attempts < MOST_ATTEMPTS:
            return self._put_back(record, held, now + pause_before(record.attempts), known, "failed")
        return self._change(record.id, held, state=outcome.outcome, **known)

    def _put_back(
        self, record: TriggerRecord, held: Any, again: datetime, known: dict[str, Any], otherwise: str
    ) -> bool:
        """Let it wait for its next attempt, unless a newer request waits already."""
        try:
            return self._change(record.id, held, state="waiting", next_attempt=again, **known)
        except StoreRefused as refused:
            _require_clash(refused)
            return self._change(record.id, held, state=otherwise, **known)

    # --- looking ------------------------------------------------------------------------------------------

    def get(self, trigger: str) -> TriggerRecord:
        with self._database.reading() as connection:
            return self._read(connection, trigger)

    def newest(self, usecase: str | None = None, limit: int = 20) -> list[TriggerRecord]:
        """The newest requests first."""
        query = select(*_shown).order_by(triggers.c.requested_at.desc(), triggers.c.id.desc()).limit(limit)
        if usecase:
            query = query.where(triggers.c.usecase == usecase)
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(query)]

    def counts(self) -> list[tuple[str, str, str, int]]:
        """How many requests of each use case and reason came to each state, and how many `joined` another one."""
        by = (triggers.c.usecase, triggers.c.reason)
        states = select(*by, triggers.c.state, func.count()).group_by(*by, triggers.c.state)
        joined = select(*by, func.sum(triggers.c.joined)).group_by(*by)
        with self._database.reading() as connection:
            ended = [(str(row[0]), str(row[1]), str(row[2]), int(row[3])) for row in connection.execute(states)]
            return ended + [(str(row[0]), str(row[1]), "joined", int(row[2])) for row in connection.execute(joined)]

    def mark(self, usecase: str, environment: str, kind: str) -> str | None:
        """How far a schedule or a data source has been seen."""
        query = select(marks.c.value).where(*_is_mark(usecase, environment, kind))
        with self._database.reading() as connection:
            value: str | None = connection.scalar(query)
        return value

    def set_mark(self, usecase: str, environment: str, kind: str, value: str) -> None:
        change = update(marks).where(*_is_mark(usecase, environment, kind)).values(value=value)
        try:
            with self._database.writing() as connection:
                if not connection.execute(change).rowcount:
                    known = {"usecase": usecase, "environment": environment, "kind": kind, "value": value}
                    connection.execute(insert(marks).values(known))
        except StoreRefused as refused:
            _require_clash(refused)
            with self._database.writing() as connection:
                connection.execute(change)

    def _change(self, trigger: str, allowed: Any, **values: Any) -> bool:
        with self._database.writing() as connection:
            done = connection.execute(update(triggers).where(triggers.c.id == trigger, allowed).values(**values))
            return bool(done.rowcount)

    def _read(self, connection: Connection, trigger: str) -> TriggerRecord:
        return _record(connection.execute(select(*_shown).where(triggers.c.id == trigger)).one())


def _require_clash(refused: StoreRefused) -> None:
    """Raise it again unless a unique index, which holds against another monitor, has refused."""
    if not isinstance(refused.__cause__, IntegrityError):
        raise refused


def _held_by(owner: str | None) -> Any:
    return and_(is_running, triggers.c.owner == owner)


def _is_mark(usecase: str, environment: str, kind: str) -> tuple[Any, ...]:
    return marks.c.usecase == usecase, marks.c.environment == environment, marks.c.kind == kind


def _record(row: Any) -> TriggerRecord:
    return TriggerRecord.model_validate(dict(zip((column.name for column in _shown), row, strict=True)))


Clock = Callable[[], datetime]
