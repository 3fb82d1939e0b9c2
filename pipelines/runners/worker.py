"""The process of a run on this machine: it imports the steps' libraries once, and runs each step in a fork of itself.

    python -m pipelines.runners.worker <run folder> [--fresh] [--step NAME]

    <run folder>/artifacts/<step>/<artifact>    what the steps hand on

A step has a process and a memory of its own, and ends with it; only the imports are shared. They cost most of a
step's time, so the next step's libraries are imported while a step runs. Nothing but imports happens in this process:
a thread or a lock that a library has started would not survive the fork. Where forking is unsafe (macOS), each step is
a fresh interpreter instead: the same steps, slower. The graph is the definition that is also compiled for Kubeflow.
"""

import argparse
import contextlib
import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

from pipelines import logs
from pipelines.definitions.definition import PipelineDefinition, StepDefinition
from pipelines.definitions.find import find_pipeline
from pipelines.errors import MlopsError
from pipelines.pipeline.execution import run_step
from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import RunRequest
from pipelines.runs.run import PID_FILE, REQUEST_FILE, RUN, lock_path, read_run
from pipelines.tracing import record_run

ARTIFACTS = "artifacts"
LOOK_SECONDS = 0.01
ORPHAN_SECONDS = 0.5
BUSY = 4


log = logging.getLogger("pipelines.runners.worker")


class Process(Protocol):
    """A step's process; `poll` gives its exit status, negative for a signal, and None while it runs."""

    def poll(self) -> int | None: ...


@dataclass
class Forked:
    """A fork of this process."""

    pid: int
    status: int | None = None

    def poll(self) -> int | None:
        if self.status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if ended else None
        return self.status


def can_fork() -> bool:
    """macOS has libraries that abort in a fork, and Windows has no fork."""
    return sys.platform.startswith("linux")


@dataclass
class Worker:
    """Runs the steps of one run that have not finished yet, in order."""

    folder: Path
    request: RunRequest
    definition: PipelineDefinition
    is_fresh: bool
    parent: int = field(default_factory=os.getppid)

    @property
    def journal(self) -> Journal:
        return Journal(self.folder)

    def run(self) -> bool:
        """Whether no step failed; those that a gate holds back are not run."""
        passed: dict[str, bool] = {}
        for step in self.definition.steps:
            if step.only_if and not passed[step.only_if]:
                continue
            if not self._has_finished(step) and not self._run(step):
                return False
            if step.passes_if:
                ended = self.journal.last(step.name)
                passed[step.name] = bool(ended and ended.result and ended.result.get(step.passes_if))
        return True

    def _has_finished(self, step: StepDefinition) -> bool:
        """In an earlier session of this run: what it gave is still there."""
        return self.journal.last(step.name) is not None and place_of(self.folder, step).exists()

    def _run(self, step: StepDefinition) -> bool:
        shutil.rmtree(self.folder / ARTIFACTS / step.name, ignore_errors=True)
        log.info("=== %s", step.name)
        process = self._fresh(step) if self.is_fresh else self._fork(step)
        status = self._wait(process, self._import_ahead(step))
        if status < 0:
            self._record_kill(step, signal.Signals(-status))
        return status == 0

    def _wait(self, process: Process, meanwhile: Iterator[None]) -> int:
        while (status := process.poll()) is None:
            if os.getppid() != self.parent:  # whoever started the run is gone: it would release unseen
                os.killpg(os.getpgid(0), signal.SIGKILL)
            if next(meanwhile, "done") == "done":
                time.sleep(LOOK_SECONDS)
        return status

    def _import_ahead(self, step: StepDefinition) -> Iterator[None]:
        """One library of the steps to come at a time."""
        if self.is_fresh:
            return
        steps = self.definition.steps
        for later in steps[steps.index(step) + 1 :]:
            for library in libraries_of(later):
                import_quietly(library)
                yield

    def _fork(self, step: StepDefinition) -> Process:
        for library in libraries_of(step):
            import_quietly(library)
        gc.freeze()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return Forked(pid)
        os._exit(_in_fork(lambda: run_in(self.folder, step.name)))

    def _fresh(self, step: StepDefinition) -> Process:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.runners.worker", str(self.folder), "--step", step.name]
        )

    def _record_kill(self, step: StepDefinition, sign: signal.Signals) -> None:
        """A step that was killed could not say so itself."""
        records = self.journal.records()
        began = next((r.time for r in reversed(records) if (r.step, r.event) == (step.name, "started")), time.time())
        why = f"its process was killed by {sign.name}"
        if sign == signal.SIGKILL:
            why += "; this machine may have run out of memory"
        now = time.time()
        self.journal.append(Record(step=step.name, event="failed", time=now, seconds=now - began, summary=why))


def place_of(folder: Path, step: StepDefinition) -> Path:
    """Where a run on this machine keeps what a step hands on."""
    return folder / ARTIFACTS / step.name / step.gives.name


def run_in(folder: Path, name: str) -> int:
    """Run one step of the run in `folder`, in this process; gives its exit status."""
    watch_parent()
    request = RunRequest.read(folder / REQUEST_FILE)
    definition = find_pipeline(request.pipeline)
    step = definition.step(name)
    places = {each.gives.name: place_of(folder, each) for each in definition.steps}
    places |= {each.name: folder / ARTIFACTS / name / each.name for each in step.attaches}
    try:
        run_step(definition.name, name, request.to_values(exclude_none=True), places)
    except MlopsError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is for people
        return 1
    return 0


def _in_fork(work: Callable[[], int]) -> int:
    status = 1
    try:
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # or every step would draw the same numbers
        status = work()
    except BaseException:  # nothing of this process may run on in its fork
        log.exception("the step ended")
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    return status


def libraries_of(step: StepDefinition) -> list[str]:
    """What is imported ahead for a step: its libraries, and our own modules. Code of others runs in the step alone."""
    own = [path.partition(":")[0] for path in (step.function, step.gives.document) if path.startswith("pipelines.")]
    return [*step.libraries, "pipelines.places", *own]


def import_quietly(name: str) -> None:
    """A library that is missing is the step's to report, with what it needs it for."""
    if name not in sys.modules:
        with contextlib.suppress(Exception):
            import_module(name)


def watch_parent() -> None:
    """End this process, and all of its group, with the one that started it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_SECONDS)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def close(folder: Path, status: str) -> None:
    """Record the end of a run, or of this attempt at it; `status` is MLflow's word for it."""
    run, journal = read_run(folder), Journal(folder)
    began, ended = journal.records()[0].time, time.time()
    journal.append(Record(step=RUN, event="run", time=ended, tags={"status": status, "outcome": run.outcome}))
    record_run(run.request, run.outcome, began, ended)


def execute(folder: Path, is_fresh: bool) -> int:
    """Run the pipeline in `folder` under the use case's lock; gives the exit status."""
    from filelock import FileLock, Timeout

    request = RunRequest.read(folder / REQUEST_FILE)
    definition = find_pipeline(request.pipeline)
    (folder / PID_FILE).write_text(str(os.getpid()))
    lock = FileLock(lock_path(folder.parent, request.usecase), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        log.error("a run of %s is under way", request.usecase)  # noqa: TRY400 - the message is for people
        return BUSY
    with lock:
        Journal(folder).append(Record(step=RUN, event="started", time=time.time()))
        went_well = Worker(folder, request, definition, is_fresh).run()
        close(folder, "FINISHED" if went_well else "FAILED")
    return 0 if went_well else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.runners.worker")
    parser.add_argument("folder", type=Path, help="the run's folder, with its request")
    parser.add_argument("--fresh", action="store_true", help="an interpreter of its own for each step")
    parser.add_argument("--step", help="run this step alone, in this process")
    options = parser.parse_args(arguments)
    logs.configure()
    return run_in(options.folder, options.step) if options.step else execute(options.folder, options.fresh)


if __name__ == "__main__":
    sys.exit(main())
