"""The journal keeps everything a run says; MLflow gets it, once, whenever it can be reached."""

import time

import pytest

from pipelines.runs.journal import Journal, Record
from pipelines.runs.tracking import TrackingUnavailable, has_unpublished, mlflow_client, publish


def finished(step: str, **said) -> Record:
    return Record(step=step, event="finished", time=time.time(), seconds=1.5, **said)


def test_a_journal_gives_back_what_was_written(tmp_path):
    journal = Journal(tmp_path / "run-1")
    journal.append(Record(step="train", event="started", time=1.0))
    journal.append(finished("train", params={"trees": 80}, metrics={"rows": 10}))
    assert [record.event for record in journal.records()] == ["started", "finished"]
    assert journal.last("train").params == {"trees": 80}
    assert journal.records(start=1) == journal.records()[1:]


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    journal = Journal(tmp_path)
    journal.append(finished("snapshot"))
    with journal.path.open("a") as file:
        file.write('{"step": "train", "event": "fin')
    assert [record.step for record in journal.records()] == ["snapshot"]


def test_mlflow_gets_parameters_metrics_durations_and_files(tmp_path):
    report = tmp_path / "report.md"
    report.write_text("fine\n")
    folder = tmp_path / "runs" / "flights-1"
    journal = Journal(folder)
    journal.append(finished("snapshot", tags={"data": "abc"}, artifacts={str(report): "data"}))
    journal.append(finished("evaluate", metrics={"roc_auc": 0.71}, params={"trees": 80}))
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    run_id = publish(folder, "flights", uri, tmp_path / "artifacts")

    run = mlflow_client(uri).get_run(run_id)
    assert run.data.metrics == {"roc_auc": 0.71, "seconds/snapshot": 1.5, "seconds/evaluate": 1.5}
    assert run.data.params == {"trees": "80"}
    assert run.data.tags["data"] == "abc"
    assert run.data.tags["mlops.run"] == "flights-1"
    assert (tmp_path / "artifacts" / "flights" / run_id / "artifacts" / "data" / "report.md").exists()


def test_publishing_goes_on_where_it_stopped_and_ends_the_run(tmp_path):
    folder = tmp_path / "runs" / "flights-1"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    journal = Journal(folder)
    journal.append(finished("snapshot"))
    first = publish(folder, "flights", uri, tmp_path / "artifacts")
    assert not has_unpublished(folder)

    journal.append(Record(step="train", event="failed", time=time.time(), seconds=2.0, summary="no such column"))
    journal.append(Record(step="run", event="run", time=time.time(), tags={"status": "FAILED"}))
    assert has_unpublished(folder)
    assert publish(folder, "flights", uri, tmp_path / "artifacts") == first

    run = mlflow_client(uri).get_run(first)
    assert run.info.status == "FAILED"
    assert run.data.tags["failed_step"] == "train"
    assert run.data.tags["error"] == "no such column"


def test_a_lost_publisher_state_finds_the_same_run_again(tmp_path):
    folder = tmp_path / "runs" / "flights-1"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    Journal(folder).append(finished("snapshot", params={"rows": 3}))
    first = publish(folder, "flights", uri, tmp_path / "artifacts")
    (folder / "published.json").unlink()
    assert publish(folder, "flights", uri, tmp_path / "artifacts") == first


def test_a_store_that_cannot_be_reached_keeps_the_journal(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = tmp_path / "runs" / "flights-1"
    Journal(folder).append(finished("snapshot"))
    with pytest.raises(TrackingUnavailable, match="did not take"):
        publish(folder, "flights", "http://127.0.0.1:9", tmp_path / "artifacts")
    assert has_unpublished(folder)


def test_many_values_of_many_records_all_arrive_and_the_last_tag_wins(tmp_path):
    journal = Journal(tmp_path / "runs" / "flights-9")
    for number in range(3):
        params = {f"p{number}-{index}": index for index in range(70)}
        journal.append(finished(f"step{number}", params=params, metrics={"m": number}, tags={"gate": str(number)}))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run = publish(journal.folder, "flights", uri, tmp_path / "artifacts")
    publish(journal.folder, "flights", uri, tmp_path / "artifacts")
    found = mlflow_client(uri).get_run(run).data
    assert len(found.params) == 210
    assert found.tags["gate"] == "2"
    assert [metric.value for metric in mlflow_client(uri).get_metric_history(run, "m")] == [0, 1, 2]
