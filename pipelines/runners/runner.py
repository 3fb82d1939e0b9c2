"""What every runner can be asked for: start a run, follow it, resume it, stop it, and say what it is able to do.

A runner schedules the steps of a pipeline and decides nothing else. Whoever uses one asks for its capabilities, never
for its name; a new one is a module, and a line in RUNNERS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from pipelines.errors import MlopsError
from pipelines.runs.journal import Record
from pipelines.runs.remote import Remote
from pipelines.runs.request import RunRequest
from pipelines.runs.run import Run
from pipelines.settings import Settings

# Name → the class, imported when a run asks for it.
RUNNERS = {
    "local": "pipelines.runners.local:LocalRunner",
    "kubeflow": "pipelines.runners.kubeflow:KubeflowRunner",
    "vertex": "pipelines.runners.vertex:VertexRunner",
}

OnRecord = Callable[[Record], None]


class RunnerUnknown(MlopsError):
    """There is no runner of this name."""


class RunInProgress(MlopsError):
    """Another run of the same use case is under way; there is at most one at a time."""


class RunCrashed(MlopsError):
    """A run ended without a step having failed."""


@dataclass(frozen=True)
class Capabilities:
    """What a runner is able to do.

    title: what people call it.
    on_this_machine: steps run the checkout's own code, and what they release can be served here.
    detaches: a run goes on when whoever started it is gone.
    resumes: a failed run goes on after its last finished step.
    """

    title: str
    on_this_machine: bool
    detaches: bool
    resumes: bool


@dataclass(frozen=True)
class Handle:
    """A run that was started. `remote`: where another machine schedules it."""

    request: RunRequest
    folder: Path
    remote: Remote | None = None


class Runner(Protocol):
    """Schedules runs somewhere."""

    name: str
    capabilities: Capabilities

    def check(self, request: RunRequest) -> None:
        """Refuse what is known not to start. Raises MlopsError."""

    def find(self, run_id: str) -> RunRequest:
        """What was asked of a run, also of one that another machine has started. Raises MlopsError."""

    def start(self, request: RunRequest) -> Handle:
        """Start a run under the id that the request carries. Raises RunInProgress beside another run."""

    def resume(self, request: RunRequest) -> Handle:
        """Take a run up again: one that is under way is found, one that has failed goes on where it can."""

    def follow(self, handle: Handle, on_record: OnRecord) -> Run:
        """Tell each record until the run has ended; a step's failure is in the result, not raised.

        Raises:
            RunCrashed: it ended without a step having failed.
            KeyboardInterrupt: the run goes on if the runner detaches; `stop` ends it.
        """

    def stop(self, handle: Handle) -> None:
        """End the run; the journal keeps what was done."""


def open_runner(name: str, settings: Settings) -> Runner:
    """The runner of that name. Raises RunnerUnknown."""
    if name not in RUNNERS:
        raise RunnerUnknown(f"there is no runner {name!r}", hint=f"runners: {', '.join(RUNNERS)}")
    module, _, kind = RUNNERS[name].partition(":")
    runner: Runner = getattr(import_module(module), kind)(settings)
    return runner


def run_to_end(
    runner: Runner,
    request: RunRequest,
    on_record: OnRecord,
    *,
    resume: bool = False,
    may_stop: Callable[[], bool] = lambda: True,
) -> Run:
    """Start or resume a run and follow it to its end.

    On Ctrl-C a run that would go on without this process is stopped only if `may_stop` says so.

    Raises:
        MlopsError: it could not be started, or followed to its end; `start` and `follow` say which.
    """
    handle = runner.resume(request) if resume else runner.start(request)
    try:
        return runner.follow(handle, on_record)
    except KeyboardInterrupt:
        if not runner.capabilities.detaches or may_stop():
            runner.stop(handle)
        raise
