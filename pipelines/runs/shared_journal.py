"""A run's journal in MLflow, step by step: where steps share no disk, whoever follows the run reads it there.

<MLflow run>/journal/<step>.jsonl       what that step's container wrote, its last attempt
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.runs.journal import JOURNAL_FILE, Journal, Record
from pipelines.runs.tracking import RUN_TAG, TrackingUnavailable, mlflow_client

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FOLDER = "journal"
ENDED = ("FINISHED", "FAILED", "KILLED")


def share(folder: Path, step: str, tracking_uri: str, mlflow_run: str) -> None:
    """Put the journal in `folder`, which holds this one step's records, into its MLflow run."""
    with tempfile.TemporaryDirectory() as scratch, _told(tracking_uri):
        copy = Path(scratch) / f"{step}.jsonl"
        copy.write_bytes((folder / JOURNAL_FILE).read_bytes())
        mlflow_client(tracking_uri).log_artifact(mlflow_run, str(copy), FOLDER)


class SharedJournal:
    """The records of one run, as its steps have put them into MLflow so far."""

    def __init__(self, tracking_uri: str, usecase: str, run_id: str) -> None:
        self.tracking_uri, self.usecase, self.run_id = tracking_uri, usecase, run_id
        self._mlflow_run: str | None = None

    @property
    def mlflow_run(self) -> str | None:
        """The MLflow run's id; None before the first step has published."""
        if self._mlflow_run is None:
            with _told(self.tracking_uri):
                self._mlflow_run = find_run(mlflow_client(self.tracking_uri), self.usecase, self.run_id)
        return self._mlflow_run

    def records_of(self, step: str) -> list[Record]:
        """What the step has said; empty before it has ended."""
        if self.mlflow_run is None:
            return []
        with tempfile.TemporaryDirectory() as scratch, _told(self.tracking_uri):
            client = mlflow_client(self.tracking_uri)
            listed = {item.path for item in client.list_artifacts(self.mlflow_run, FOLDER)}
            path = f"{FOLDER}/{step}.jsonl"
            if path not in listed:
                return []
            fetched = Path(client.download_artifacts(self.mlflow_run, path, scratch))
            fetched.rename(fetched.with_name(JOURNAL_FILE))
            return [record for record in Journal(fetched.parent).records() if record.step == step]

    def fetch_folder(self, name: str, target: Path) -> None:
        """Bring a folder of the run's artifacts here, such as `evaluation`; nothing where there is none."""
        if self.mlflow_run is None:
            return
        with tempfile.TemporaryDirectory() as scratch, _told(self.tracking_uri):
            client = mlflow_client(self.tracking_uri)
            if not client.list_artifacts(self.mlflow_run, name):
                return
            fetched = Path(client.download_artifacts(self.mlflow_run, name, scratch))
            for path in (path for path in fetched.rglob("*") if path.is_file()):
                place = target / path.relative_to(fetched)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(path.read_bytes())

    def close(self, status: str) -> None:
        """End the MLflow run, unless it has been ended: a container that was killed could not."""
        if self.mlflow_run is None:
            return
        with _told(self.tracking_uri):
            client = mlflow_client(self.tracking_uri)
            if client.get_run(self.mlflow_run).info.status not in ENDED:
                client.set_terminated(self.mlflow_run, status=status)


def find_run(client: "MlflowClient", usecase: str, run_id: str) -> str | None:
    """The MLflow run of a pipeline run, if it has one."""
    experiment = client.get_experiment_by_name(usecase)
    if experiment is None:
        return None
    known = client.search_runs([experiment.experiment_id], f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1)
    return str(known[0].info.run_id) if known else None


@contextlib.contextmanager
def _told(tracking_uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise TrackingUnavailable(f"MLflow at {tracking_uri} did not give or take a run's journal: {error}") from error
