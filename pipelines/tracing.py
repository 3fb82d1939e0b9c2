"""Traces of pipelines and rollouts: a run, its steps below it, and the rollout of what it released, linked to it.

A step knows its run's span by the run's id alone, so steps in processes and pods of their own meet in one trace. A
release commit names its run in the trailer `Run`; a rollout links to it, and each request links to the rollout.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bento.tracing import Tracing, rollout_ids, run_ids, start_tracing

if TYPE_CHECKING:
    from pipelines.runs.request import RunRequest

__all__ = [
    "RUN_TRAILER",
    "Tracing",
    "describe_step",
    "record_run",
    "rollout_ids",
    "run_ids",
    "start_tracing",
    "tracing_step",
]

RUN_TRAILER = "Run"
SERVICE = "mlops-pipeline"


@contextlib.contextmanager
def tracing_step(request: "RunRequest", step: str) -> Iterator[Any]:
    """A span around a step, below its run's; gives None where there are no traces. Sent before the process ends."""
    tracing = start_tracing(SERVICE)
    if tracing is None:
        yield None
        return
    about = {**_about(request), "mlops.step": step}
    try:
        with tracing.span(f"step {step}", about, parent=run_ids(request.run_id)) as span:
            yield span
    finally:
        tracing.close()


def describe_step(span: Any, tags: Mapping[str, str]) -> None:
    """What a step says of itself, such as the gate's verdict and the commit of a release; `span` may be None."""
    if span is not None:
        span.set_attributes({f"mlops.{key}": value for key, value in tags.items() if value})


def record_run(request: "RunRequest", outcome: str, began: float, ended: float) -> None:
    """The span of a run that is over, from its start to its end in seconds since the epoch."""
    tracing = start_tracing(SERVICE)
    if tracing is None:
        return
    failed = "a step failed" if outcome == "failed" else None
    about = {**_about(request), "mlops.outcome": outcome}
    tracing.record(f"run {request.usecase}", about, run_ids(request.run_id), (began, ended), failed)
    tracing.close()


def _about(request: "RunRequest") -> dict[str, str]:
    return {
        "mlops.run": request.run_id,
        "mlops.usecase": request.usecase,
        "mlops.environment": request.environment,
        "mlops.code": request.code,
        "mlops.reason": request.reason,
    }
