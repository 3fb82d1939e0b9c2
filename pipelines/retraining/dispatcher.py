"""From requests to runs: who may ask, what waits, what runs, and what a killed monitor left behind."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bento.backoff import Backoff
from pipelines.errors import MlopsError
from pipelines.logs import about
from pipelines.retraining.queue import Clock, TriggerTable
from pipelines.retraining.triggers import RunAttempt, RunOutcome, Trigger, TriggerRecord, why_refused
from pipelines.usecase.model import Retrain

BEAT_SECONDS = 10
LEASE = timedelta(seconds=60)
# As long as the lease, after which another one finds out how the run ended.
RECORDING, RECORDED_TRIES = Backoff(first=0.1, longest=30.0, factor=6), 6

# The rules of a use case in an environment; None where there is no such use case.
DispatchRules = Callable[[str, str], Retrain | None]
# When the last run ended that no trigger began, such as one by `mlops run`.
LastRun = Callable[[str], datetime | None]


log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Dispatcher:
    """Takes requests and begins runs. Several may work on one database; each run is followed by one of them."""

    def __init__(
        self,
        table: TriggerTable,
        rules: DispatchRules,
        attempt: RunAttempt,
        *,
        clock: Clock = utc_now,
        last_run: LastRun = lambda _usecase: None,
        at_once: int = 1,
    ) -> None:
        self._table = table
        self._rules = rules
        self._attempt = attempt
        self._clock = clock
        self._last_run = last_run
        self._at_once = at_once
        self._followed: dict[str, threading.Thread] = {}
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def request(self, trigger: Trigger) -> TriggerRecord:
        """Ask for a run. What may not be asked for is recorded as refused, with the reason."""
        why = why_refused(trigger, self._rules(trigger.usecase, trigger.environment))
        if why:
            return self._table.refuse(trigger, why, self._clock())
        return self._table.request(trigger, self._clock())

    def withdraw(self, usecase: str, environment: str, fingerprint: str) -> bool:
        """Say that a cause is gone; a run that has begun is not stopped."""
        return self._table.withdraw(usecase, environment, fingerprint, self._clock())

    def tick(self) -> list[TriggerRecord]:
        """Begin the runs that are due, and follow those whose monitor is gone. Does not wait; call it every second."""
        self._followed = {name: thread for name, thread in self._followed.items() if thread.is_alive()}
        taken = self.adopt() if len(self._followed) < self._at_once else []
        for record in taken:
            self._follow(record)
        while len(self._followed) < self._at_once and (begun := self.begin()):
            taken.append(begun)
            self._follow(begun)
        return taken

    def begin(self) -> TriggerRecord | None:
        """Claim the next run that is due; what may not run yet is left to cool."""
        now = self._clock()
        for record in self._table.pending():
            retrain = self._rules(record.usecase, record.environment)
            cooldown = retrain.cooldown if retrain else timedelta(0)
            if not record.forced and (until := self._cool_until(record, cooldown)) and until > now:
                if record.next_attempt < until:
                    self._table.cool(record, until)
                continue
            if record.next_attempt <= now and (claimed := self._table.claim(record, cooldown, self.owner, now)):
                return claimed
        return None

    def adopt(self) -> list[TriggerRecord]:
        """Take over the runs of monitors that are gone."""
        now = self._clock()
        orphans = (
            record
            for record, heartbeat in self._table.running()
            if record.id not in self._followed and (now - heartbeat > LEASE or _is_gone(record.owner))
        )
        return [taken for record in orphans if (taken := self._table.take_over(record, self.owner, now))]

    def finish(self, record: TriggerRecord, outcome: RunOutcome) -> bool:
        """Record how a run ended."""
        return self._table.finish(record, outcome, self._clock())

    def wait(self, seconds: float) -> bool:
        """Whether all followed runs ended in time. A run goes on without its monitor; the next one follows it."""
        end = time.monotonic() + seconds
        for thread in list(self._followed.values()):
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._followed.values())

    def _cool_until(self, record: TriggerRecord, cooldown: timedelta) -> datetime | None:
        ends = (self._table.last_end(record.usecase, record.id), self._last_run(record.usecase))
        known = [end for end in ends if end]
        return max(known) + cooldown if known else None

    def _follow(self, record: TriggerRecord) -> None:
        thread = threading.Thread(target=self._run, args=(record,), name=f"run {record.id}", daemon=True)
        self._followed[record.id] = thread
        thread.start()

    def _run(self, record: TriggerRecord) -> None:
        with about(usecase=record.usecase, environment=record.environment, trigger=record.id):
            self._run_to_its_end(record)

    def _run_to_its_end(self, record: TriggerRecord) -> None:
        ended = threading.Event()
        threading.Thread(target=self._beat, args=(record, ended), name=f"beat {record.id}", daemon=True).start()
        try:
            outcome = self._attempt(record)
        except MlopsError as error:
            outcome = RunOutcome(outcome="failed", note=error.message)
        except Exception as error:  # a runner that breaks must not leave its trigger running for ever
            log.exception("the runner broke")
            outcome = RunOutcome(outcome="failed", note=f"{type(error).__name__}: {error}")
        finally:
            ended.set()
        self._record(record, outcome)

    def _record(self, record: TriggerRecord, outcome: RunOutcome) -> None:
        """A database that is away for a moment must not lose how a run ended; past the lease, another one finds out."""
        for _ in RECORDING.attempts(RECORDED_TRIES):
            try:
                self.finish(record, outcome)
            except Exception as error:  # noqa: BLE001
                log.warning("the run ended %s, not recorded yet: %s", outcome.outcome, error)
            else:
                return

    def _beat(self, record: TriggerRecord, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            try:
                if not self._table.beat(record, self._clock()):
                    return
            except Exception as error:  # noqa: BLE001 - the next beat may succeed; without any, the lease ends
                log.warning("no heartbeat: %s", error, extra={"trigger": record.id, "usecase": record.usecase})


def _is_gone(owner: str | None) -> bool:
    """Whether its process on this very machine has ended; of other machines only the lease tells."""
    host, pid, _ = (owner or "::").rsplit(":", 2)
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
