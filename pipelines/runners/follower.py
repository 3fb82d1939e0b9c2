"""Follow a run that another machine schedules: look, copy what the steps said into the run's folder, close it.

The steps run in containers and put their records into MLflow. Copied here, `mlops show`, the outcome and the exit
status are what they are for a run on this machine. Orchestrators differ in how one looks at them, and in nothing else.
"""

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Literal, Protocol

from pipelines.definitions.find import find_pipeline
from pipelines.errors import MlopsError
from pipelines.runners.runner import Handle, OnRecord
from pipelines.runs.journal import Journal, Record
from pipelines.runs.remote import Remote
from pipelines.runs.run import LOG_FILE, REMOTE_FILE, REQUEST_FILE, RUN, Run, read_run
from pipelines.runs.shared_journal import SharedJournal
from pipelines.runs.tracking import PUBLISHED_FILE, Published, TrackingUnavailable

Status = Literal["FINISHED", "FAILED", "KILLED"]  # MLflow's words for how a run ended
WORDLESS = "its container ended without a word; the log may say more"


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeenStep:
    """A step at one look. Times are seconds since 1970. `why`: what the orchestrator knows of its failure; `log`: where
    its output is."""

    name: str
    state: Literal["running", "finished", "failed"]
    started: float
    ended: float
    why: str = ""
    log: str = ""


@dataclass(frozen=True)
class SeenRun:
    """A run at one look. `ended`: None while it goes on."""

    steps: tuple[SeenStep, ...]
    ended: Status | None = None
    why: str = ""


class Orchestrator(Protocol):
    """What a follower asks of whoever schedules the run.

    away: the error of a look that may succeed later. patience: how long, in seconds, such errors may last.
    stop_seconds: how long a stopped run may take to end.
    """

    title: str
    patience: float
    stop_seconds: float

    @property
    def away(self) -> type[MlopsError]: ...

    def look(self) -> SeenRun: ...

    def text_of(self, step: SeenStep) -> str:
        """For the run's log: the step's output, or where it is."""

    def cancel(self) -> None: ...

    def sleep(self, seconds: float) -> None: ...


def open_folder(handle: Handle) -> None:
    """Make the run's folder, with its request and where it is scheduled."""
    assert handle.remote  # noqa: S101 - whoever starts a run elsewhere knows where
    handle.folder.mkdir(parents=True, exist_ok=True)
    handle.request.write(handle.folder / REQUEST_FILE)
    handle.remote.write(handle.folder / REMOTE_FILE)


class Follower:
    """Brings what the steps say into the run's folder."""

    def __init__(
        self, handle: Handle, orchestrator: Orchestrator, shared: SharedJournal, on_record: OnRecord, poll: float
    ) -> None:
        assert handle.remote  # noqa: S101 - a run of this machine has no follower
        self.handle, self.orchestrator, self.shared, self.poll = handle, orchestrator, shared, poll
        self.remote: Remote = handle.remote
        self.folder, self.journal = handle.folder, Journal(handle.folder)
        self.steps = find_pipeline(handle.request.pipeline).step_names
        self.on_record = on_record
        records = self.journal.records()
        # One that says nothing is only what an earlier version knew; the step's own word may be available by now.
        self.told = {r.step for r in records if r.event == "finished" and (r.summary or r.result or r.tags)}
        self.begun = {r.step for r in records if r.event == "started"}

    def follow(self) -> Run:
        """Copy until the run has ended. Raises TrackingUnavailable where MLflow does not say what it came to."""
        self._append(Record(step=RUN, event="started", time=time.time()))
        while True:
            seen = self._look()
            self._take_in(seen)
            if seen.ended:
                return self._finish(seen, seen.ended)
            self.orchestrator.sleep(self.poll)

    def stop(self) -> None:
        """Cancel the run there and wait a little for its end; Ctrl-C stops the waiting."""
        title = self.orchestrator.title
        log.warning("stopping the run in %s; Ctrl-C again leaves it to stop by itself", title)
        try:
            self.orchestrator.cancel()
        except MlopsError as error:
            log.warning("it could not be stopped and goes on; stop it at %s: %s", self.remote.page, error.message)
            return
        deadline = time.monotonic() + self.orchestrator.stop_seconds
        with contextlib.suppress(KeyboardInterrupt, self.orchestrator.away):
            while time.monotonic() < deadline and not (seen := self.orchestrator.look()).ended:
                self._take_in(seen)
                self.orchestrator.sleep(min(self.poll, 5.0))
        self._close("KILLED")

    def note(self, text: str) -> None:
        """A line for the log, which people read when something went wrong."""
        self._log(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}\n")

    def _look(self) -> SeenRun:
        """An outage of minutes ends no run of hours, nor the following of it."""
        until = time.monotonic() + self.orchestrator.patience
        while True:
            try:
                return self.orchestrator.look()
            except self.orchestrator.away as error:
                self.note(error.message)
                if time.monotonic() > until:
                    raise
            self.orchestrator.sleep(self.poll)

    def _take_in(self, seen: SeenRun) -> None:
        known = {step.name: step for step in seen.steps}
        for name in self.steps:
            step = known.get(name)
            if step is None or name in self.told:
                continue
            if step.state == "running":
                self._begin(name, step.started)
            elif records := self._said(step):
                self._tell(step, records)
            elif step.state == "failed":
                why = step.why or WORDLESS
                seconds = max(0.0, step.ended - step.started)
                self._tell(step, [Record(step=name, event="failed", time=step.ended, seconds=seconds, summary=why)])

    def _begin(self, name: str, at: float) -> None:
        if name not in self.begun:
            self.begun.add(name)
            self._append(Record(step=name, event="started", time=at))

    def _tell(self, step: SeenStep, records: list[Record]) -> None:
        self.told.add(step.name)
        self._log(f"=== {step.name}\n{self.orchestrator.text_of(step)}\n")
        for record in records:
            if record.event == "started":
                self._begin(step.name, record.time)
                continue
            where = f"\n  log: {step.log}" if record.event == "failed" and step.log else ""
            self._append(record.model_copy(update={"summary": record.summary + where}))

    def _said(self, step: SeenStep) -> list[Record]:
        """What the step said itself, if that is how it ended; nothing while MLflow does not have it yet."""
        try:
            said = [record for record in self.shared.records_of(step.name) if record.step == step.name]
        except TrackingUnavailable as error:
            self.note(error.message)
            return []
        ended = [record for record in said if record.event == step.state]
        began = [record for record in said if record.event == "started"]
        return [*began[-1:], *ended[-1:]] if ended else []

    def _finish(self, seen: SeenRun, status: Status) -> Run:
        with contextlib.suppress(TrackingUnavailable):
            self.shared.fetch_folder("evaluation", self.folder / "evaluation")
        found = read_run(self.folder)
        if status != "FINISHED" and found.failed_step is None and found.outcome in ("running", "interrupted"):
            step = next((name for name in self.steps if name not in found.steps), self.steps[-1])
            why = (
                f"{seen.why or f'the run has ended ({status.lower()}), and no step says why'}\n  see {self.remote.page}"
            )
            self._append(Record(step=step, event="failed", time=time.time(), seconds=0.0, summary=why))
        self._close(status)
        found = read_run(self.folder)
        if found.outcome in ("running", "interrupted"):
            asked = self.handle.request
            raise TrackingUnavailable(
                f"{asked.run_id} has ended well in {self.orchestrator.title}, but MLflow does not say what it came to",
                hint=f"do the steps write to {self.shared.tracking_uri}? "
                f"`mlops run {asked.usecase} --runner {self.remote.runner} --resume {asked.run_id}` asks again; "
                f"the log: {self.folder / LOG_FILE}",
            )
        return found

    def _close(self, status: Status) -> None:
        outcome = read_run(self.folder).outcome
        tags = {"status": status, "outcome": outcome}
        self.journal.append(Record(step=RUN, event="run", time=time.time(), tags=tags))
        try:
            self.shared.close(status)
            if self.shared.mlflow_run:
                count = len(self.journal.records())
                Published(mlflow_run=self.shared.mlflow_run, records=count).write(self.folder / PUBLISHED_FILE)
        except TrackingUnavailable as error:
            self.note(error.message)

    def _append(self, record: Record) -> None:
        self.journal.append(record)
        self.on_record(record)

    def _log(self, text: str) -> None:
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(text)
