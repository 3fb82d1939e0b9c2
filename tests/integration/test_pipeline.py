"""The real pipeline on this machine: a process a step, killed at will."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipelines.errors import MlopsError
from pipelines.registry.mlflow import aliases
from pipelines.release.releases import open_releases
from pipelines.runners.local import LocalRunner
from pipelines.runners.runner import RunInProgress
from pipelines.runs.index import list_runs
from pipelines.runs.journal import Journal
from pipelines.runs.run import REQUEST_FILE, read_run
from pipelines.runs.tracking import mlflow_client
from tests.pipeline_cases import MODEL_PY, NAME, STEPS, Lab, git, run_here

pytestmark = pytest.mark.slow

RUN_SECONDS = 120


@pytest.fixture(autouse=True)
def same_packages(monkeypatch) -> None:
    """The runner's processes import what this one does."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def start(lab: Lab, request, *options: str) -> subprocess.Popen:
    """The worker as the runner starts it, in a session that a test can kill as a whole."""
    folder = lab.settings.runs / request.run_id
    folder.mkdir(parents=True, exist_ok=True)
    request.write(folder / REQUEST_FILE)
    environment = LocalRunner(lab.settings).environment_of(request)
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.runners.worker", str(folder), *options],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for_start_of(lab: Lab, request, step: str) -> None:
    journal = Journal(lab.settings.runs / request.run_id)
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        if any(record.step == step and record.event == "started" for record in journal.records()):
            return
        time.sleep(0.01)
    raise AssertionError(f"{step} did not start: {(journal.folder / 'log.txt').read_text()[-2000:]}")


def releases_in_git(lab: Lab) -> list[str]:
    subjects = git(lab.root, "-C", lab.settings.remote, "log", "--format=%s", "main").splitlines()
    return [subject for subject in subjects if subject.startswith("release(")]


def test_a_whole_run_releases_once_is_tracked_and_shows_its_steps(lab):
    request = lab.request(reason="a test")
    seen = []
    run = run_here(lab, request, lambda record: seen.append((record.step, record.event)))

    assert run.outcome == "released", run.error
    assert [step for step, event in seen if event == "finished"] == list(STEPS)
    assert releases_in_git(lab) == [f"release({NAME}): first release, 1 in staging"]
    assert aliases(lab.settings.tracking_uri, NAME) == {"challenger": "1", "champion": "1"}
    release = open_releases(lab.settings).current(NAME, "staging")
    tracked = mlflow_client(lab.settings.tracking_uri).get_run(release.run)
    assert tracked.info.status == "FINISHED"
    assert {f"seconds/{step}" for step in STEPS} <= tracked.data.metrics.keys()
    assert tracked.data.tags["outcome"] == "released"
    assert tracked.data.tags["reason"] == "a test"


def test_a_run_that_fails_says_where_and_goes_on_after_the_mend(lab):
    lab.write_model(
        MODEL_PY.replace("    from sklearn.compose", "    raise OSError('disk full')\n    from sklearn.compose")
    )
    request = lab.request()
    run = run_here(lab, request, lambda record: None)
    assert (run.outcome, run.failed_step) == ("failed", "train")
    assert "disk full" in run.error
    assert "model.py:" in run.error

    lab.write_model(MODEL_PY)
    again = []
    run = run_here(lab, request, lambda record: again.append(record.step))
    assert run.outcome == "released", run.error
    assert "snapshot" not in again, "finished steps are not done again"
    (tracked,) = mlflow_client(lab.settings.tracking_uri).search_runs(["1"])
    assert tracked.info.status == "FINISHED"


@pytest.mark.parametrize("step", STEPS)
def test_killed_in_the_middle_of_a_step_it_releases_exactly_once_when_run_again(lab, step):
    request = lab.request()
    process = start(lab, request)
    wait_for_start_of(lab, request, step)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if step != "release":
        assert releases_in_git(lab) == []
        assert read_run(lab.settings.runs / request.run_id).outcome == "interrupted"

    run = run_here(lab, request, lambda record: None)

    assert run.outcome in ("released", "unchanged"), run.error
    assert releases_in_git(lab) == [f"release({NAME}): first release, 1 in staging"]
    assert aliases(lab.settings.tracking_uri, NAME) == {"challenger": "1", "champion": "1"}
    release = open_releases(lab.settings).current(NAME, "staging")
    assert release.data == run.results["snapshot"]["sha256"][:12]


def test_where_a_process_cannot_be_forked_each_step_is_a_fresh_one(lab):
    request = lab.request()
    process = start(lab, request, "--fresh")
    assert process.wait(RUN_SECONDS) == 0
    run = read_run(lab.settings.runs / request.run_id)
    assert run.outcome == "released", run.error
    assert list(run.steps) == list(STEPS)


SLOW_TRAIN = MODEL_PY.replace("    from sklearn.compose", "    import time; time.sleep(60)\n    from sklearn.compose")


def step_of(process: subprocess.Popen) -> psutil.Process:
    (child,) = psutil.Process(process.pid).children()
    return child


def test_a_step_that_was_killed_is_named_and_the_run_goes_on_after_it(lab):
    lab.write_model(SLOW_TRAIN)
    request = lab.request()
    process = start(lab, request)
    wait_for_start_of(lab, request, "train")
    step_of(process).kill()
    assert process.wait(RUN_SECONDS) == 1
    run = read_run(lab.settings.runs / request.run_id)
    assert (run.outcome, run.failed_step) == ("failed", "train")
    assert "its process was killed by SIGKILL; this machine may have run out of memory" in run.error

    lab.write_model(MODEL_PY)
    assert run_here(lab, request).outcome == "released"


def test_a_step_ends_with_the_worker_that_forked_it(lab):
    lab.write_model(SLOW_TRAIN)
    request = lab.request()
    process = start(lab, request)
    wait_for_start_of(lab, request, "train")
    step = step_of(process)
    process.kill()
    process.wait()
    step.wait(20)
    assert read_run(lab.settings.runs / request.run_id).outcome == "interrupted"


def test_steps_share_no_memory(lab):
    """What load() leaves behind in its process is gone in train()."""
    lab.write_model(
        MODEL_PY.replace("    rng = np.random", "    np.left_behind = True\n    rng = np.random").replace(
            "    from sklearn.compose", "    assert not hasattr(np, 'left_behind')\n    from sklearn.compose"
        )
    )
    run = run_here(lab, lab.request())
    assert run.outcome == "released", run.error


def test_two_runs_of_one_use_case_do_not_get_in_each_others_way(lab):
    request = lab.request()
    process = start(lab, request)
    wait_for_start_of(lab, request, "snapshot")
    with pytest.raises(RunInProgress, match=NAME):
        run_here(lab, lab.request(), lambda record: None)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [run.outcome for run in list_runs(lab.settings.runs, NAME)] == ["interrupted"]


def test_the_pipeline_ends_with_the_command_that_started_it(lab):
    """A runner whose caller was killed would go on alone and release unseen."""
    request = lab.request()
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(lab.root), request.model_dump_json()], env={**os.environ, **lab.environ()}
    )
    wait_for_start_of(lab, request, "snapshot")
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 20
    folder = lab.settings.runs / request.run_id
    while read_run(folder).outcome == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert read_run(folder).outcome == "interrupted"
    assert releases_in_git(lab) == []


CALLER = """
import sys
from pathlib import Path
from pipelines.runs.request import RunRequest
from pipelines.runners.local import LocalRunner
from pipelines.runners.runner import run_to_end
from pipelines.settings import Settings
run_to_end(LocalRunner(Settings.load(root=Path(sys.argv[1]))), RunRequest.parse(sys.argv[2]), print)
"""


def test_an_error_of_the_runner_itself_is_told_with_its_log(lab, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    request = lab.request()
    (lab.settings.runs).mkdir(parents=True)
    monkeypatch.setattr(LocalRunner, "environment_of", lambda *_: {"PATH": "/nonexistent"})
    with pytest.raises(MlopsError, match=r"log\.txt"):
        run_here(lab, request, lambda record: None)
