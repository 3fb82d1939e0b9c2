"""What a reviewer reads before a model goes to production: the gate's verdict and the model card of its run.

They lie in the run's folder where the pipeline ran on this machine, and in MLflow in any case.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import one_line
from pipelines.release.release import Release
from pipelines.runs.answering import require_answer
from pipelines.runs.tracking import PUBLISHED_FILE, Published, mlflow_client
from pipelines.settings import Settings

FOLDER = "evaluation"
VERDICT_FILE = "verdict.md"
CARD_FILE = "model-card.md"


@dataclass(frozen=True)
class Evidence:
    """Verdict and card as Markdown, or why they are not there; `run_url` is the run's page in MLflow, if it has one."""

    verdict: str | None = None
    card: str | None = None
    problem: str | None = None
    run_url: str | None = None


def find_evidence(settings: Settings, release: Release) -> Evidence:
    """Look in the run folders of this machine, then in MLflow; its page of the run is linked in any case."""
    folder = _run_folder(settings, release.run)
    if folder:
        verdict, card = _text(folder / VERDICT_FILE), _text(folder / CARD_FILE)
        return Evidence(verdict=verdict, card=card, run_url=_run_url(settings.tracking_uri, release.run))
    try:
        return _from_mlflow(settings.tracking_uri, release.run)
    except Exception as error:  # noqa: BLE001 - whatever MLflow raises, a promotion goes on and says so
        where = _shown(settings.tracking_uri)
        return Evidence(problem=f"MLflow at {where} did not give run {release.run}: {one_line(error)}")


def _run_folder(settings: Settings, mlflow_run: str) -> Path | None:
    for published in settings.runs.glob(f"*/{PUBLISHED_FILE}"):
        folder = published.parent / FOLDER
        if (folder / VERDICT_FILE).is_file() and Published.read(published).mlflow_run == mlflow_run:
            return folder
    return None


def _from_mlflow(tracking_uri: str, run: str) -> Evidence:
    require_answer(tracking_uri)
    with tempfile.TemporaryDirectory() as scratch:
        client = mlflow_client(tracking_uri)
        client.get_run(run)  # for the clearer error
        names = {Path(item.path).name for item in client.list_artifacts(run, FOLDER)}
        found = {}
        for name in (VERDICT_FILE, CARD_FILE):
            if name in names:
                found[name] = _text(Path(client.download_artifacts(run, f"{FOLDER}/{name}", scratch)))
    return Evidence(
        verdict=found.get(VERDICT_FILE),
        card=found.get(CARD_FILE),
        problem=None if found else f"run {run} in MLflow has no verdict and no model card",
        run_url=_run_url(tracking_uri, run),
    )


def _run_url(tracking_uri: str, run: str) -> str | None:
    """The run's page in MLflow, where it has pages and answers."""
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    try:
        require_answer(tracking_uri)
        experiment = mlflow_client(tracking_uri).get_run(run).info.experiment_id
    except Exception:  # noqa: BLE001 - whatever MLflow raises: a link is only a help
        return None
    return f"{_shown(tracking_uri).rstrip('/')}/#/experiments/{experiment}/runs/{run}"


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _shown(uri: str) -> str:
    """A tracking address without the login that it may hold."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else uri
