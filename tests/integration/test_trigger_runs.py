"""Triggers that start the real pipeline as a child process, and what happens when the monitor dies meanwhile."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.embedded.origin import ensure_origin
from pipelines.environments import DEFAULTS
from pipelines.monitor.monitor import START_A_RUN
from pipelines.release.releases import open_releases
from pipelines.retraining.attempts import Attempts, last_local_run, request_for
from pipelines.runs.request import RunRequest
from pipelines.runs.run import lock_path, read_run
from pipelines.usecase.model import Retrain
from tests.monitoring_cases import NOW
from tests.pipeline_cases import NAME, Lab, git
from tests.trigger_cases import by_hand, drift, open_table

pytestmark = pytest.mark.slow
PATIENCE = 180

MONITOR = """
import sys, time
from pathlib import Path
from pipelines.retraining.dispatcher import Dispatcher
from pipelines.monitor.monitor import START_A_RUN
from pipelines.retraining.attempts import Attempts
from pipelines.settings import Settings
from pipelines.usecase.model import Retrain
from tests.trigger_cases import drift, open_table

settings = Settings.load({}, root=Path(sys.argv[1]), home=Path(sys.argv[1]) / ".mlops")
table = open_table(settings.home / "monitor.db")
monitor = Dispatcher(table, lambda *_: Retrain(on=["drift"]), Attempts(settings, START_A_RUN, table.told_run))
monitor.request(drift())
monitor.tick()
monitor.wait(600)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    lab = Lab(tmp_path / "checkout")
    ensure_origin(Path(lab.settings.remote), lab.root)
    for name in ("MLOPS_ENVIRONMENT", "MLOPS_REMOTE", "MLOPS_RUN"):
        monkeypatch.delenv(name, raising=False)
    return lab


@pytest.fixture
def table(lab):
    return open_table(lab.settings.home / "monitor.db")


def attempts(lab, **more) -> Attempts:
    return Attempts(lab.settings, START_A_RUN, **more)


def dispatcher(lab, table, **more):
    from pipelines.retraining.dispatcher import Dispatcher

    retrain = Retrain(on=["drift"], cooldown=timedelta(0))
    return Dispatcher(table, lambda *_: retrain, Attempts(lab.settings, START_A_RUN, table.told_run), **more)


def until(found, what: str):
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < end, f"{what} did not happen in {PATIENCE} s"
        time.sleep(0.1)
    return value


def test_drift_ends_in_a_release_commit_that_says_so(lab, table):
    monitor = dispatcher(lab, table)
    asked = monitor.request(drift())
    [begun] = monitor.tick()

    assert monitor.wait(PATIENCE)

    found = table.get(asked.id)
    assert (found.state, found.note) == ("released", None)
    run = read_run(lab.settings.runs / found.run_id)
    assert run.request.reason == found.sentence
    message = git(Path(lab.settings.remote), "log", "-1", "--format=%B", "main")
    assert "Reason: drift: temperature psi 3.10 > 0.2 on 4,210 predictions since 2013-04-01" in message
    assert open_releases(lab.settings).current(NAME, "staging").bento == f"{NAME}:1"
    assert RunRequest.read(attempts(lab).file_of(begun, ".json")).run_id == found.run_id
    assert last_local_run(lab.settings, NAME) > run.started


def test_a_failing_run_keeps_its_log_and_waits_for_its_next_attempt(lab, table):
    lab.write_model("def load():\n    raise OSError('the share is away')\n\n\ndef train(*a):\n    pass\n")
    git(lab.root, "commit", "-q", "-am", "break it")
    monitor = dispatcher(lab, table)
    asked = monitor.request(drift())
    monitor.tick()

    assert monitor.wait(PATIENCE)

    found = table.get(asked.id)
    assert (found.state, found.attempts) == ("waiting", 1)
    assert "the share is away" in found.note
    assert (lab.settings.logs / "triggers" / f"{asked.id}-1.log").read_text().strip()


def test_a_run_that_a_person_began_is_not_disturbed(lab, table):
    from filelock import FileLock

    lab.settings.runs.mkdir(parents=True)
    monitor = dispatcher(lab, table)
    asked = monitor.request(drift())
    with FileLock(lock_path(lab.settings.runs, NAME)):
        monitor.tick()
        assert monitor.wait(PATIENCE)

    found = table.get(asked.id)
    assert (found.state, found.attempts) == ("waiting", 0)
    assert not (lab.settings.logs / "triggers").exists()


def test_a_monitor_killed_in_the_middle_of_a_run_is_followed_by_the_next(lab, table):
    killed = subprocess.Popen(
        [sys.executable, "-c", MONITOR, str(lab.root)], cwd=Path(__file__).parents[2], env={**os.environ}
    )
    try:
        run_id = until(lambda: next((record.run_id for record, _ in table.running()), None), "the run's beginning")
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
    [(before, _)] = table.running()

    monitor = dispatcher(lab, table)
    [taken] = monitor.tick()

    assert (taken.id, taken.attempts, taken.run_id) == (before.id, 1, run_id)
    assert monitor.wait(PATIENCE)
    assert (table.get(before.id).state, table.get(before.id).run_id) == ("released", run_id)
    assert len(list(lab.settings.runs.glob(f"{NAME}-*"))) == 1


def test_a_monitor_killed_before_the_run_began_tries_again(lab, table, monkeypatch):
    monkeypatch.setattr("pipelines.retraining.attempts.STILL_FOR", timedelta(seconds=1))
    monitor = dispatcher(lab, table)
    monitor.request(drift())
    begun = monitor.begin()
    request_for(begun, DEFAULTS).write(attempts(lab).file_of(begun, ".json"))

    outcome = attempts(lab)(begun)

    assert outcome.outcome == "failed"
    assert outcome.note == "the monitor was stopped before the run began"
    monitor.finish(begun, outcome)
    assert table.get(begun.id).state == "waiting"


def test_a_run_that_never_ends_is_stopped(lab, table):
    lab.write_model("import time\n\n\ndef load():\n    time.sleep(600)\n\n\ndef train(*a):\n    pass\n")
    git(lab.root, "commit", "-q", "-am", "sleep")
    monitor = dispatcher(lab, table)
    monitor.request(drift())
    begun = monitor.begin()

    outcome = attempts(lab, longest=timedelta(seconds=12))(begun)

    assert outcome.outcome == "failed"
    assert "stopped after 0:00:12" in outcome.note
    if outcome.run_id:
        until(lambda: read_run(lab.settings.runs / outcome.run_id).outcome != "running", "the end of the run")


def test_a_cause_in_production_trains_what_staging_gets_first(table):
    record = table.request(by_hand().model_copy(update={"environment": "production"}), NOW)

    asked = request_for(record, DEFAULTS)
    assert (asked.usecase, asked.environment, asked.reason) == (NAME, "staging", "manual")
