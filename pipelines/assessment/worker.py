"""A round of evaluations in a process of its own.

Thousands of stored pictures, and Evidently where a report is due, take hundreds of megabytes. A child that judges all
use cases one after another and ends gives them back between the rounds, and an evaluation that runs out of memory or
never ends takes no monitor with it. The child reads jobs as JSON lines and gives one line for each that it has done;
only whole lines count, so that of one which is killed nothing half is left.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.assessment.assess import Assessment
from pipelines.documents import Value
from pipelines.errors import one_line_with_type

if TYPE_CHECKING:
    from pipelines.usecase import UseCase

LONGEST_ROUND = timedelta(minutes=10)


class AssessmentJob(Value):
    """One use case to judge: its usecase.yaml as JSON, its unpacked Bento, and where its predictions are."""

    usecase: dict[str, Any]
    environment: str
    store: str
    bento: Path
    reports: Path
    now: datetime


class JudgedUsecase(Value):
    """What came of a job. `problem`: why there are no assessments; `retry`: it may go well the next time."""

    job: int
    assessments: list[Assessment] = []
    problem: str | None = None
    retry: bool = False


@dataclass(frozen=True)
class WorkFolders:
    """Where a round reads and writes."""

    store: str
    reports: Path


def job_of(usecase: UseCase, environment: str, bento: Path, place: WorkFolders, now: datetime) -> AssessmentJob:
    return AssessmentJob(
        usecase=json.loads(usecase.model_dump_json(exclude_unset=True)),
        environment=environment,
        store=place.store,
        bento=bento,
        reports=place.reports,
        now=now,
    )


def evaluate(jobs: Sequence[AssessmentJob], longest: timedelta = LONGEST_ROUND) -> list[JudgedUsecase]:
    """Judge all jobs in one child process; one that it did not come to has a `problem`. The caller saves the rest."""
    if not jobs:
        return []
    asked = "".join(f"{job.model_dump_json()}\n" for job in jobs)
    child = subprocess.Popen(
        [sys.executable, "-m", "pipelines.assessment.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    try:
        told, words = child.communicate(asked, timeout=longest.total_seconds())
        why = f"the evaluation ended with exit status {child.returncode}: {_last_line(words)}"
    except subprocess.TimeoutExpired:
        child.kill()
        told, words = child.communicate()
        why = f"the evaluation was not over in {longest} and was stopped"
    except BaseException:
        child.kill()
        child.wait()
        raise
    return _complete(len(jobs), told, why)


def _complete(jobs: int, told: str, why: str) -> list[JudgedUsecase]:
    done = {judged.job: judged for line in told.splitlines() if (judged := _read(line))}
    return [done.get(number) or JudgedUsecase(job=number, problem=why, retry=True) for number in range(jobs)]


def _read(line: str) -> JudgedUsecase | None:
    with contextlib.suppress(ValueError):  # cut off when the child was killed
        return JudgedUsecase.model_validate_json(line)
    return None


def _environment() -> dict[str, str]:
    """Idle threads of the linear algebra would spin on the cores that serve."""
    return {**os.environ, "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _last_line(words: str) -> str:
    lines = words.strip().splitlines()
    return lines[-1][:300] if lines else "without a word"


def _judge(number: int, job: AssessmentJob) -> JudgedUsecase:
    from pipelines.assessment.assess import assess
    from pipelines.assessment.reference import load_reference
    from pipelines.assessment.reports import Reports
    from pipelines.predictions.store.errors import StoreUnavailable
    from pipelines.predictions.store.store import Store
    from pipelines.usecase.model import UseCase

    store = Store.open(job.store)
    try:
        usecase = UseCase.model_validate(job.usecase)
        reference = load_reference(job.bento)
        found = assess(usecase, job.environment, store, reference, job.now, reports=Reports(job.reports))
        return JudgedUsecase(job=number, assessments=found)
    except Exception as error:  # noqa: BLE001 - the other use cases are still to be judged
        return JudgedUsecase(job=number, problem=one_line_with_type(error), retry=isinstance(error, StoreUnavailable))
    finally:
        store.close()


def main() -> None:
    """The child."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for number, line in enumerate(sys.stdin):
        answers.write(_judge(number, AssessmentJob.model_validate_json(line)).model_dump_json() + "\n")
        answers.flush()
        gc.collect()  # Evidently's reports are cycles: without it, each leaves 20 MB until Python happens to look


if __name__ == "__main__":
    main()
