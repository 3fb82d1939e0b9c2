"""What a run did, kept in MLflow.

Every step writes its records to the run's journal first, a file of JSON lines, and they are published to MLflow
afterwards: at once where a step is a pod of its own, by the runner where steps share a laptop (importing
MLflow costs seconds, and a tracking server that is away must not stop a training). Nothing is lost in between;
whoever publishes next goes on where the last one stopped.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.documents import Document
from pipelines.errors import MlopsError
from pipelines.runs.journal import JOURNAL_FILE, Journal, Record

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PUBLISHED_FILE = "published.json"
RUN_TAG = "mlops.run"
PARAM_LIMIT = 5000
BATCH_LIMIT = 100  # MLflow takes no more params or tags at once


class TrackingUnavailable(MlopsError):
    """MLflow could not be reached or refused the record; the journal keeps it."""


class Published(Document):
    """How far a journal has reached MLflow, and as which MLflow run.

    `offset`: the bytes of the journal that those records are; 0 where an earlier version published them.
    """

    KIND = "published"

    mlflow_run: str
    records: int
    offset: int = 0


def publish(folder: Path, usecase: str, tracking_uri: str, artifacts: Path, inside: str | None = None) -> str:
    """Bring the journal in `folder` to MLflow, from where the last publisher stopped; gives the MLflow run's id.

    `artifacts` is where a new experiment on a local database keeps its files; a server decides by itself.
    `inside` is the MLflow run that an orchestrator has given this step: its parent is then the run's own.
    """
    from filelock import FileLock

    # One publisher at a time on a machine: a fresh SQLite store cannot be set up by two at once.
    with FileLock(folder.parent / ".publish.lock"):
        try:
            return _publish(folder, usecase, tracking_uri, artifacts, inside)
        except MlopsError:
            raise
        except Exception as error:
            raise TrackingUnavailable(
                f"MLflow at {tracking_uri} did not take the run's records: {error}",
                hint=f"they are kept in {folder / JOURNAL_FILE} and published by the next run",
            ) from error


def _publish(folder: Path, usecase: str, tracking_uri: str, artifacts: Path, inside: str | None) -> str:
    state_file = folder / PUBLISHED_FILE
    client = mlflow_client(tracking_uri)
    state = Published.read(state_file) if state_file.exists() else None
    if state is None:
        run = (inside and _adopt(client, inside, folder.name)) or _find_or_create_run(
            client, usecase, folder.name, artifacts
        )
        state = Published(mlflow_run=run, records=0)
        state.write(state_file)
    if waiting := list(_unpublished(Journal(folder), state)):
        _log(client, state.mlflow_run, [record for record, _ in waiting])
        Published(mlflow_run=state.mlflow_run, records=state.records + len(waiting), offset=waiting[-1][1]).write(
            state_file
        )
    return state.mlflow_run


def mlflow_client(tracking_uri: str) -> "MlflowClient":
    """A client for this tracking store; MLflow is imported only here."""
    import logging
    import os

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.tracking import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _adopt(client: "MlflowClient", inside: str, run_id: str) -> str | None:
    """Kubeflow makes an MLflow run for each run of a pipeline and one below it for each step; ours is the upper one."""
    from mlflow.exceptions import MlflowException

    try:
        given = client.get_run(inside)
        upper = str(given.data.tags.get("mlflow.parentRunId", inside))
        client.set_tag(upper, RUN_TAG, run_id)
        client.set_tag(upper, "mlflow.runName", run_id)
    except MlflowException as error:
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":  # of another MLflow than ours
            return None
        raise
    return upper


def _find_or_create_run(client: "MlflowClient", usecase: str, run_id: str, artifacts: Path) -> str:
    experiment = client.get_experiment_by_name(usecase)
    if experiment is None:
        local = str(client.tracking_uri).startswith("sqlite")
        location = (artifacts / usecase).as_uri() if local else None
        experiment_id = client.create_experiment(usecase, artifact_location=location)
    else:
        experiment_id = experiment.experiment_id
    known = client.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1)
    if known:
        return str(known[0].info.run_id)
    run = client.create_run(experiment_id, run_name=run_id, tags={RUN_TAG: run_id, "mlflow.source.name": "mlops"})
    return str(run.info.run_id)


def _log(client: "MlflowClient", run: str, records: list[Record]) -> None:
    """Values in few requests, then each record's files and what it ends. Done again, it changes nothing."""
    _log_values(client, run, records)
    for record in records:
        _log_files(client, run, record)


def _log_values(client: "MlflowClient", run: str, records: list[Record]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    metrics: list[Metric] = []
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    for record in records:
        milliseconds = int(record.time * 1000)
        metrics += [Metric(key, float(value), milliseconds, 0) for key, value in record.metrics.items()]
        if record.seconds is not None:
            metrics.append(Metric(f"seconds/{record.step}", record.seconds, milliseconds, 0))
        params |= {key: _text(value)[:PARAM_LIMIT] for key, value in record.params.items()}
        tags |= {key: value[:PARAM_LIMIT] for key, value in record.tags.items()}
        if record.event == "failed":
            tags |= {"failed_step": record.step, "error": record.summary[:PARAM_LIMIT]}
    values: list[Metric | Param | RunTag] = [
        *metrics,
        *(Param(key, value) for key, value in params.items()),
        *(RunTag(key, value) for key, value in tags.items()),
    ]
    for start in range(0, len(values), BATCH_LIMIT):
        batch = values[start : start + BATCH_LIMIT]
        client.log_batch(
            run,
            metrics=[value for value in batch if isinstance(value, Metric)],
            params=[value for value in batch if isinstance(value, Param)],
            tags=[value for value in batch if isinstance(value, RunTag)],
        )


def _log_files(client: "MlflowClient", run: str, record: Record) -> None:
    for source, target in record.artifacts.items():
        path = Path(source)
        if path.is_dir():
            client.log_artifacts(run, source, target)
        elif path.exists():
            client.log_artifact(run, source, target)
    for alias, model in record.aliases.items():
        name, version = model.rsplit("/", 1)
        client.set_registered_model_alias(name, alias, version)
    if record.event == "run" and record.tags.get("status") in ("FINISHED", "FAILED", "KILLED"):
        client.set_terminated(run, status=record.tags["status"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def has_unpublished(folder: Path) -> bool:
    """Whether the journal in `folder` holds records that MLflow does not have yet."""
    journal = Journal(folder)
    if not journal.path.exists():
        return False
    state_file = folder / PUBLISHED_FILE
    state = Published.read(state_file) if state_file.exists() else Published(mlflow_run="", records=0)
    return any(True for _ in _unpublished(journal, state))


def _unpublished(journal: Journal, state: Published) -> Iterator[tuple[Record, int]]:
    """The records after the published ones, each with the offset of what follows it."""
    if state.offset or not state.records:
        return journal.entries(state.offset)
    return itertools.islice(journal.entries(), state.records, None)
