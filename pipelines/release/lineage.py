"""From a prediction, commit, Bento, model, run or use case to all the others."""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bento.ids import PredictionId, parse_prediction_id
from pipelines.documents import Value
from pipelines.errors import MlopsError
from pipelines.release.history import Deployment, History
from pipelines.release.release import Release
from pipelines.release.releases import open_releases
from pipelines.runs.run import Run, read_run
from pipelines.runs.tracking import PUBLISHED_FILE, Published
from pipelines.settings import Settings
from pipelines.usecase import usecase_names

if TYPE_CHECKING:
    from rich.tree import Tree

MLFLOW_RUN_PATTERN = re.compile(r"^[0-9a-f]{32}$")
COMMIT_PATTERN = re.compile(r"^[0-9a-f]{7,40}$")

NodeKind = Literal["prediction", "commit", "bento", "model", "run", "use case"]


class NothingFound(MlopsError):
    """No release has to do with what was asked."""


class DeploymentLine(Value):
    """One commit that put the Bento into an environment."""

    environment: str
    commit: str
    time: datetime
    kind: str
    reason: str
    current: bool
    in_effect: bool | None = None


class RunLine(Value):
    """The pipeline run that made the model, as far as this machine knows it."""

    run_id: str
    mlflow_run: str
    started: datetime | None = None
    as_of: str | None = None
    rows: int | None = None
    snapshot: str | None = None
    model_card: str | None = None


class RegisteredVersion(Value):
    """One released Bento with all that it comes from and went to."""

    release: Release
    deployments: list[DeploymentLine]
    run: RunLine | None
    code_subject: str | None


class UnreadableLine(Value):
    """A release.yaml as a commit left it, which nobody can read: what it released is not told here."""

    commit: str
    path: str
    problem: str


class Lineage(Value):
    """What was asked, and every version that it leads to, newest first."""

    asked: str
    kind: NodeKind
    predicted_at: datetime | None = None
    versions: list[RegisteredVersion]
    unreadable: list[UnreadableLine] = []


def trace_lineage(settings: Settings, what: str) -> Lineage:
    """Find what `what` names, in the repository's history and among this machine's runs."""
    releases = open_releases(settings)
    prediction = parse_prediction_id(what)
    question = _question(settings, what, prediction)
    histories = releases.read_histories(question.usecase, question.about)
    everything = (deployment for history in histories.values() for deployment in history.deployments)
    deployments = sorted(everything, key=lambda deployment: deployment.time, reverse=True)
    found = [deployment for deployment in deployments if question.matches(deployment)]
    if not found:
        known = sorted({*usecase_names(settings.root), *releases.usecases()})
        raise NothingFound(
            f"no release has to do with {what!r} ({question.kind})",
            hint="give a prediction id, a commit, name:version, name/version, a run or a use case; "
            f"use cases: {', '.join(known) or 'none'}",
        )
    by_bento: dict[str, list[Deployment]] = {deployment.release.bento: [] for deployment in found}
    for deployment in deployments:
        if deployment.release.bento in by_bento:
            by_bento[deployment.release.bento].append(deployment)
    predicted_at = prediction.time if prediction else None
    subjects = releases.repository.subjects(_commit_of(own[0].release) for own in by_bento.values())
    runs = _folders_by_mlflow_run(settings.runs)
    versions = [
        RegisteredVersion(
            release=own[0].release,
            deployments=[_line(one, histories[one.usecase, one.environment], predicted_at) for one in own],
            run=_run_line(runs.get(own[0].release.run), own[0].release),
            code_subject=subjects.get(_commit_of(own[0].release)),
        )
        for own in by_bento.values()
    ]
    unreadable = [
        UnreadableLine(commit=one.commit, path=one.path, problem=one.problem)
        for history in histories.values()
        for one in history.unreadable
    ]
    return Lineage(asked=what, kind=question.kind, predicted_at=predicted_at, versions=versions, unreadable=unreadable)


def render(lineage: Lineage) -> "Tree":
    """The lineage as a tree to read."""
    from rich.markup import escape
    from rich.tree import Tree

    when = f", predicted {lineage.predicted_at:%Y-%m-%d %H:%M:%S} UTC" if lineage.predicted_at else ""
    tree = Tree(f"[bold]{lineage.asked}[/] ({lineage.kind}{when})", guide_style="dim")
    for version in lineage.versions:
        branch = tree.add(f"Bento   [bold]{version.release.bento}[/]  {version.release.digest[:19]}")
        for line in _lines(version):
            branch.add(line)
    for unreadable in lineage.unreadable:
        tree.add(f"[yellow]left out[/]  commit {unreadable.commit[:12]}: {escape(unreadable.problem)}")
    return tree


def _lines(version: RegisteredVersion) -> list[str]:
    release, run = version.release, version.run
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in release.metrics.items())
    rows = f"  {run.rows:,} rows" if run and run.rows else ""
    as_of = f", as of {run.as_of[:10]}" if run and run.as_of else ""
    commit, _, dirty = release.code.partition("+")
    code = f"{commit[:12]}{'+' if dirty else ''}{dirty}  {version.code_subject or ''}"
    return [
        *(_deployment_line(line) for line in version.deployments),
        f"model   {release.model}  {metrics}",
        f"run     {run.run_id}  MLflow {run.mlflow_run}" if run else f"run     MLflow {release.run}",
        f"data    {release.data}{rows}{as_of}",
        f"code    {code}".rstrip(),
        *([f"card    {run.model_card}"] if run and run.model_card else []),
    ]


def _deployment_line(line: DeploymentLine) -> str:
    marks = [mark for mark, so in (("current", line.current), ("in effect then", line.in_effect)) if so]
    note = f" [green]({', '.join(marks)})[/]" if marks else ""
    act = f"{line.kind} to {line.environment}, {line.time:%Y-%m-%d %H:%M:%S}"
    return f"commit  {line.commit[:12]}  {act}{note}: {line.reason}"


@dataclass(frozen=True)
class _Question:
    """What is looked for. `usecase` and `about` say where that can only be (`Releases.read_histories`)."""

    kind: NodeKind
    matches: Callable[[Deployment], bool]
    usecase: str | None = None
    about: str = ""


def _question(settings: Settings, what: str, prediction: PredictionId | None) -> _Question:
    if prediction:
        bento = f"{prediction.usecase}:{prediction.version}"
        return _Question("prediction", lambda d: d.release.bento == bento, usecase=prediction.usecase)
    if ":" in what:
        return _Question("bento", lambda d: d.release.bento == what, usecase=what.split(":", maxsplit=1)[0])
    if re.fullmatch(r"[a-z0-9-]+/\d+", what):
        return _Question("model", lambda d: d.release.model == what, about=what)
    mlflow_run = what if MLFLOW_RUN_PATTERN.match(what) else _mlflow_run_of(settings, what)
    if mlflow_run:
        return _Question("run", lambda d: d.release.run == mlflow_run, about=mlflow_run)
    if COMMIT_PATTERN.match(what):
        return _Question("commit", lambda d: d.commit.startswith(what) or d.release.code.startswith(what), about=what)
    return _Question("use case", lambda d: d.usecase == what, usecase=what)


def _line(deployment: Deployment, history: History, predicted_at: datetime | None) -> DeploymentLine:
    return DeploymentLine(
        environment=deployment.environment,
        commit=deployment.commit,
        time=deployment.time,
        kind=deployment.kind,
        reason=deployment.reason,
        current=deployment is history.current,
        in_effect=_was_in_effect(deployment, history.deployments, predicted_at) if predicted_at else None,
    )


def _was_in_effect(deployment: Deployment, place: Sequence[Deployment], then: datetime) -> bool:
    """Whether it was the newest commit of its place at that time (commit times are whole seconds)."""
    earlier = [other for other in place if other.time <= then]
    return bool(earlier) and earlier[0].commit == deployment.commit


def _commit_of(release: Release) -> str:
    """The commit of its code, without the mark of changes that were not committed."""
    return release.code.removesuffix("+dirty")


def _mlflow_run_of(settings: Settings, run_id: str) -> str | None:
    path = settings.runs / run_id / PUBLISHED_FILE
    return Published.read(path).mlflow_run if path.is_file() else None


def _folders_by_mlflow_run(runs: Path) -> dict[str, Path]:
    """Where this machine's runs are, by the name that MLflow gave them."""
    found = {}
    for path in sorted(runs.glob(f"*/{PUBLISHED_FILE}"), key=lambda path: path.stat().st_mtime):
        with contextlib.suppress(ValueError):  # not whole: then its run is one that this machine does not know
            found[Published.read(path).mlflow_run] = path.parent
    return found


def _run_line(folder: Path | None, release: Release) -> RunLine | None:
    try:
        return _describe(read_run(folder), release) if folder else None
    except (MlopsError, OSError, ValueError):
        return None


def _describe(run: Run, release: Release) -> RunLine:
    data = run.results.get("snapshot", {})
    card: Path = run.folder / "evaluation" / "model-card.html"
    return RunLine(
        run_id=run.request.run_id,
        mlflow_run=release.run,
        started=run.started,
        as_of=data.get("as_of"),
        rows=data.get("rows"),
        snapshot=data.get("uri"),
        model_card=str(card) if card.is_file() else None,
    )
