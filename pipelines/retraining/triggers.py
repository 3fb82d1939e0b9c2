"""What sets off a run, and what became of it: one kind of record for people, clocks, data and alerts.

waiting → running → released | unchanged | rejected | failed
   ↕ cooling                       (a failed run waits and runs again, three times in all)
refused: nobody may ask for this, or the cause was gone before the run began
"""

import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pipelines.documents import Document, Value

if TYPE_CHECKING:
    from pipelines.usecase.model import Retrain

Reason = Literal["manual", "schedule", "new-data", "drift", "quality", "missing-labels"]
TriggerState = Literal["waiting", "cooling", "running", "released", "unchanged", "rejected", "failed", "refused"]
TriggerOutcome = Literal["released", "unchanged", "rejected", "failed", "busy"]

PENDING: tuple[TriggerState, ...] = ("waiting", "cooling")
SIGNALS: tuple[Reason, ...] = ("drift", "quality", "missing-labels")  # of a state that lasts and will be told again
MOST_ATTEMPTS = 3
BUSY_PAUSE = timedelta(minutes=1)
LONGEST_EVIDENCE = 300


class Trigger(Document):
    """A request for a run. `fingerprint` names its cause: the same cause told twice is one request.

    `forced`: asked for by a person who does not want to wait for the cool-down to end.
    """

    KIND = "trigger"

    usecase: str
    environment: str
    reason: Reason
    evidence: str = ""
    fingerprint: str
    forced: bool = False


class TriggerRecord(Value):
    """A request and what became of it. `joined` counts further requests that this one stands for."""

    id: str
    usecase: str
    environment: str
    reason: Reason
    evidence: str
    fingerprint: str
    forced: bool
    requested_at: datetime
    state: TriggerState
    attempts: int
    next_attempt: datetime
    joined: int = 0
    run_id: str | None = None
    owner: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    note: str | None = None

    @property
    def sentence(self) -> str:
        """What the release commit gives as its reason, such as `drift: temperature psi 3.10 > 0.2 on 4,210 …`."""
        return f"{self.reason}: {self.evidence}" if self.evidence else self.reason


class RunOutcome(Value):
    """How a run ended. `busy`: it could not begin, because a run that nobody here started is under way."""

    outcome: TriggerOutcome
    run_id: str | None = None
    note: str | None = None


# Runs the pipeline to its end. Called again for the same attempt, it follows the run that the attempt began.
RunAttempt = Callable[[TriggerRecord], RunOutcome]


def why_refused(trigger: Trigger, retrain: "Retrain | None") -> str | None:
    """Why nobody may ask for this run; `retrain` is None where there is no such use case."""
    if retrain is None:
        return f"there is no use case {trigger.usecase!r}"
    if trigger.reason == "schedule" and retrain.schedule is None:
        return "retrain.schedule is not set in usecase.yaml"
    if trigger.reason not in ("manual", "schedule") and trigger.reason not in retrain.on:
        return f"retrain.on in usecase.yaml does not name {trigger.reason}"
    return None


def pause_before(attempt: int) -> timedelta:
    """How long a run that failed for the `attempt`-th time is left alone: 1, 5, 25 minutes."""
    return timedelta(minutes=5 ** (attempt - 1))


def in_one_line(text: str) -> str:
    """Evidence comes from outside and ends in commits: printable, on one line, of bounded length."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = re.sub(r"\s+", " ", printable).strip()
    return line if len(line) <= LONGEST_EVIDENCE else f"{line[: LONGEST_EVIDENCE - 1]}…"


def new_trigger_id(usecase: str, now: datetime) -> str:
    """Readable, sortable and unique."""
    return f"{usecase}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
