"""Make Vertex AI match Git: look, do the first step of the plan, look again, until nothing is left to do."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from pipelines.vertex import plan
from pipelines.vertex.api import VertexApi
from pipelines.vertex.endpoints import do, finish_running, observe
from pipelines.vertex.errors import AnswerLost, NotSettling, OperationFailed, VertexConflict
from pipelines.vertex.target import MANAGED, VertexTarget

MOST_STEPS = 20
SECOND_LOOKS = 3

ReconcileOutcome = Literal["unchanged", "changed", "holding"]
Say = Callable[[str], None]
Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


def work_out(api: VertexApi, target: VertexTarget, clock: Clock = _now) -> list[plan.PlanStep]:
    """What a reconcile would do. Nothing is changed."""
    return plan.plan(target, observe(api, target), clock())


def reconcile(
    api: VertexApi, target: VertexTarget, say: Say, *, wait: bool = True, clock: Clock = _now
) -> ReconcileOutcome:
    """Bring one use case's endpoint to its target. `holding`: a canary is under way, and it is not waited for.

    A conflict or a lost answer is answered by another look; the same step is not done blindly twice.
    """
    second_looks = SECOND_LOOKS
    for number in range(MOST_STEPS):
        _finish_earlier(api, target, say)
        seen = observe(api, target)
        steps = plan.plan(target, seen, clock())
        if not steps:
            return "changed" if number else "unchanged"
        if number == 0:
            for position, step in enumerate(steps, start=1):
                say(f"plan {position}. {step}")
        first = steps[0]
        say(str(first))
        if isinstance(first, plan.Hold):
            if not wait:
                return "holding"
            api.sleep(first.seconds)
            continue
        try:
            do(first, api, target, seen)
        except (VertexConflict, AnswerLost) as error:
            if not second_looks:
                raise
            second_looks -= 1
            say(f"looking again: {error.message}")
    raise NotSettling(
        f"{target.resource}: {MOST_STEPS} steps were done and still something is to do",
        hint="does somebody, or a second run, change the endpoint at the same time?",
    )


def strays(api: VertexApi, environment: str, usecases: list[str]) -> list[VertexTarget]:
    """Endpoints made by this and no longer listed: what they serve is taken off them."""
    asked = {**MANAGED, "environment": environment}
    query = " AND ".join(f"labels.{key}={value}" for key, value in asked.items())
    found = (each.get("labels", {}).get("usecase", "") for each in api.each(api.parent, "endpoints", filter=query))
    empty = VertexTarget("", environment, None, "", is_rollback=False, size=None, canary=None)
    return [replace(empty, usecase=name) for name in sorted(found) if name and name not in usecases]


def _finish_earlier(api: VertexApi, target: VertexTarget, say: Say) -> None:
    try:
        for operation in finish_running(api, target):
            say(f"waited for what an earlier run had begun: {operation['name'].rpartition('/')[2]}")
    except OperationFailed as error:
        say(f"what an earlier run had begun has failed: {error.message}")
