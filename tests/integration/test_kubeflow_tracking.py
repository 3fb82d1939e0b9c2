"""Steps apart and MLflow: one run for all of them, the orchestrator's own where it makes one, closed by the last."""

import time

import pytest

from pipelines.runs.journal import Journal, Record
from pipelines.runs.shared_journal import SharedJournal, share
from pipelines.runs.tracking import RUN_TAG, TrackingUnavailable, mlflow_client, publish

USECASE, RUN_ID = "tiny", "tiny-20261121-060000-00ff"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


def pod(folder, step, run_id=RUN_ID, *events):
    """A step's own disk, with its own journal."""
    journal = Journal(folder / step / run_id)
    for event in events or ("started", "finished"):
        journal.append(Record(step=step, event=event, time=time.time(), seconds=1.0, summary=f"{step} {event}"))
    return journal.folder


def test_pods_that_share_no_disk_write_into_one_run(tracking, tmp_path):
    runs = set()
    for step in ("snapshot", "train"):
        folder = pod(tmp_path, step)
        runs.add(publish(folder, USECASE, tracking, tmp_path / "files"))
        share(folder, step, tracking, *runs)
    shared = SharedJournal(tracking, USECASE, RUN_ID)
    assert runs == {shared.mlflow_run}
    assert [record.summary for record in shared.records_of("train")] == ["train started", "train finished"]
    assert shared.records_of("gate") == []


def test_a_step_that_is_tried_again_tells_its_last_attempt(tracking, tmp_path):
    for attempt, event in (("first", "failed"), ("second", "finished")):
        folder = pod(tmp_path / attempt, "evaluate", RUN_ID, "started", event)
        share(folder, "evaluate", tracking, publish(folder, USECASE, tracking, tmp_path / "files"))
    told = SharedJournal(tracking, USECASE, RUN_ID).records_of("evaluate")
    assert [record.event for record in told] == ["started", "finished"]


def test_the_run_that_kubeflow_made_becomes_ours(tracking, tmp_path):
    client = mlflow_client(tracking)
    experiment = client.create_experiment("of-kubeflow", artifact_location=(tmp_path / "files").as_uri())
    upper = client.create_run(experiment)
    own = {"mlflow.parentRunId": upper.info.run_id}
    given = {step: client.create_run(experiment, tags=own).info.run_id for step in ("snapshot", "train")}
    for step, inside in given.items():
        folder = pod(tmp_path, step, "of-kubeflow-1")
        assert publish(folder, "of-kubeflow", tracking, tmp_path / "files", inside) == upper.info.run_id
    tracked = client.get_run(upper.info.run_id)
    assert tracked.data.tags[RUN_TAG] == tracked.info.run_name == "of-kubeflow-1"
    assert {"seconds/snapshot", "seconds/train"} <= tracked.data.metrics.keys()
    assert SharedJournal(tracking, "of-kubeflow", "of-kubeflow-1").mlflow_run == upper.info.run_id


def test_a_run_of_another_mlflow_is_left_alone(tracking, tmp_path):
    folder = pod(tmp_path, "snapshot", "tiny-20261121-060000-0a0a")
    assert publish(folder, USECASE, tracking, tmp_path / "files", "0" * 32) != "0" * 32


def test_a_run_whose_container_was_killed_is_closed_once(tracking, tmp_path):
    run_id = "tiny-20261121-060000-0b0b"
    folder = pod(tmp_path, "train", run_id, "started")
    mlflow_run = publish(folder, USECASE, tracking, tmp_path / "files")
    shared = SharedJournal(tracking, USECASE, run_id)
    for status in ("KILLED", "FINISHED"):
        shared.close(status)
        assert mlflow_client(tracking).get_run(mlflow_run).info.status == "KILLED"


def test_an_mlflow_that_is_away_is_told(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with pytest.raises(TrackingUnavailable, match=r"127\.0\.0\.1:9 did not give or take"):
        SharedJournal("http://127.0.0.1:9", USECASE, RUN_ID).records_of("train")
