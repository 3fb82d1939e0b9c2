"""A run, read back from its journal: also one that was stopped, and gone on with later."""

import os
from pathlib import Path

import pytest

from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import RunRequest
from pipelines.runs.run import REQUEST_FILE, RUN, Run, read_run

DAY = 86_400.0
NO_PROCESS = 2**22 + 1  # above the largest process id


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "tiny-20260101-000000-aaaa"
    made.mkdir()
    RunRequest(usecase="tiny", run_id=made.name, environment="staging").write(made / REQUEST_FILE)
    (made / "pid").write_text(str(NO_PROCESS))
    return made


def of(folder: Path, *said: tuple[float, str, str]) -> Run:
    for time, step, event in said:
        seconds = 1.0 if event in ("finished", "failed") else None
        Journal(folder).append(Record.model_validate({"step": step, "event": event, "time": time, "seconds": seconds}))
    return read_run(folder)


def test_a_run_that_was_stopped_before_its_first_step(folder):
    for said in ([], [(1.0, RUN, "started")]):
        run = of(folder, *said)
        assert (run.outcome, run.current_step, run.steps, run.seconds) == ("interrupted", None, {}, 0.0)


def test_a_run_that_was_killed_knows_the_step_it_was_in(folder):
    run = of(
        folder, (1, RUN, "started"), (2, "snapshot", "started"), (3, "snapshot", "finished"), (4, "validate", "started")
    )
    assert (run.outcome, run.current_step, run.failed_step) == ("interrupted", "validate", None)
    assert run.seconds == 3


def test_the_time_a_run_lay_still_is_not_counted(folder):
    of(folder, (0, RUN, "started"), (5, "snapshot", "started"), (8, "snapshot", "finished"), (9, "validate", "started"))
    run = of(folder, (DAY, RUN, "started"), (DAY + 2, "validate", "started"), (DAY + 4, "validate", "finished"))
    assert run.seconds == 9 + 4
    assert run.started.timestamp() == 0


def test_a_failed_run_that_goes_on_is_no_longer_failed(folder):
    run = of(folder, (0, RUN, "started"), (1, "train", "started"), (2, "train", "failed"), (3, RUN, "run"))
    assert (run.outcome, run.failed_step, run.current_step) == ("failed", "train", None)
    (folder / "pid").write_text(str(os.getpid()))
    run = of(folder, (DAY, RUN, "started"), (DAY + 1, "train", "started"))
    assert (run.outcome, run.failed_step, run.error, run.current_step) == ("running", None, None, "train")
    run = of(folder, (DAY + 2, "train", "failed"))
    assert (run.outcome, run.failed_step) == ("failed", "train")


def test_steps_that_are_pods_have_no_session(folder):
    run = of(
        folder,
        (1, "snapshot", "started"),
        (2, "snapshot", "finished"),
        (4, "validate", "started"),
        (9, "validate", "failed"),
    )
    assert (run.outcome, run.seconds) == ("failed", 8)
