"""From a prediction, commit, Bento, model, run or use case to all the others."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bento.ids import PredictionId, parse_prediction_id
from pipelines.documents import Value
from pipelines.errors import MlopsError
from pipelines.release.release import RELEASE_PATH, Release
from pipelines.release.releases import Deployment, Releases, open_releases
from pipelines.runs.index import list_runs
from pipelines.runs.run import Run
from pipelines.runs.tracking import PUBLISHED_FILE, Published
from pipelines.settings import Settings
from pipelines.usecase import usecase_names

if TYPE_CHECKING:
    from rich.tree import Tree

MLFLOW_RUN_PATTERN = re.compile(r"^[0-9a-f]{32}$")
COMMIT_PATTERN = re.compile(r"^[0-9a-f]{7,40}$")

Kind = Literal["prediction", "commit", "bento", "model", "run", "use case"]


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


class Version(Value):
    """One released Bento with all that it comes from and went to."""

    release: Release
    deployments: list[DeploymentLine]
    run: RunLine | None
    code_subject: str | None


class Lineage(Value):
    """What was asked, and every version that it leads to, newest first."""

    asked: str
    kind: Kind
    predicted_at: datetime | None = None
    versions: list[Version]


def trace_lineage(settings: Settings, what: str) -> Lineage:
    """Find what `what` names, in the repository's history and among this machine's runs."""
    releases = open_releases(settings)
    deployments = _all_deployments(releases)
    prediction = parse_prediction_id(what)
    kind, matches = _matcher(settings, what, prediction)
    found = [deployment for deployment in deployments if matches(deployment)]
    if not found:
        known = sorted({*usecase_names(settings.root), *(deployment.usecase for deployment in deployments)})
        raise NothingFound(
            f"no release has to do with {what!r} ({kind})",
            hint="give a prediction id, a commit, name:version, name/version, a run or a use case; "
            f"use cases: {', '.join(known) or 'none'}",
        )
    bentos = list(dict.fromkeys(deployment.release.bento for deployment in found))
    predicted_at = prediction.time if prediction else None
    versions = [_version(settings, releases, deployments, bento, predicted_at) for bento in bentos]
    return Lineage(asked=what, kind=kind, predicted_at=predicted_at, versions=versions)


def render(lineage: Lineage) -> "Tree":
    """The lineage as a tree to read."""
    from rich.tree import Tree

    when = f", predicted {lineage.predicted_at:%Y-%m-%d %H:%M:%S} UTC" if lineage.predicted_at else ""
    tree = Tree(f"[bold]{lineage.asked}[/] ({lineage.kind}{when})", guide_style="dim")
    for version in lineage.versions:
        branch = tree.add(f"Bento   [bold]{version.release.bento}[/]  {version.release.digest[:19]}")
        for line in _lines(version):
            branch.add(line)
    return tree


def _lines(version: Version) -> list[str]:
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


def _matcher(
    settings: Settings, what: str, prediction: PredictionId | None
) -> tuple[Kind, Callable[[Deployment], bool]]:
    if prediction:
        bento = f"{prediction.usecase}:{prediction.version}"
        return "prediction", lambda d: d.release.bento == bento
    if ":" in what:
        return "bento", lambda d: d.release.bento == what
    if re.fullmatch(r"[a-z0-9-]+/\d+", what):
        return "model", lambda d: d.release.model == what
    mlflow_run = what if MLFLOW_RUN_PATTERN.match(what) else _mlflow_run_of(settings, what)
    if mlflow_run:
        return "run", lambda d: d.release.run == mlflow_run
    if COMMIT_PATTERN.match(what):
        return "commit", lambda d: d.commit.startswith(what) or d.release.code.startswith(what)
    return "use case", lambda d: d.usecase == what


def _all_deployments(releases: Releases) -> list[Deployment]:
    head = releases.repository.fetch()
    paths = {
        commit_path for commit_path in releases.repository.list_paths("apps", head) if RELEASE_PATH.match(commit_path)
    }
    found: list[Deployment] = []
    for path in sorted(paths):
        match = RELEASE_PATH.match(path)
        if match:
            found += releases.history(match["usecase"], match["environment"])
    return sorted(found, key=lambda deployment: deployment.time, reverse=True)


def _version(
    settings: Settings, releases: Releases, deployments: list[Deployment], bento: str, predicted_at: datetime | None
) -> Version:
    own = [deployment for deployment in deployments if deployment.release.bento == bento]
    lines = []
    for deployment in own:
        place = [d for d in deployments if (d.usecase, d.environment) == (deployment.usecase, deployment.environment)]
        lines.append(
            DeploymentLine(
                environment=deployment.environment,
                commit=deployment.commit,
                time=deployment.time,
                kind=deployment.kind,
                reason=deployment.reason,
                current=place[0].commit == deployment.commit,
                in_effect=_was_in_effect(deployment, place, predicted_at) if predicted_at else None,
            )
        )
    release = own[0].release
    return Version(
        release=release,
        deployments=lines,
        run=_run_line(settings, release),
        code_subject=_subject(releases, release.code.removesuffix("+dirty")),
    )


def _was_in_effect(deployment: Deployment, place: list[Deployment], then: datetime) -> bool:
    """Whether it was the newest commit of its place at that time (commit times are whole seconds)."""
    earlier = [other for other in place if other.time <= then]
    return bool(earlier) and earlier[0].commit == deployment.commit


def _subject(releases: Releases, code: str) -> str | None:
    try:
        commits = releases.repository.log(at=code, limit=1)
    except MlopsError:
        return None
    return commits[0].subject if commits else None


def _mlflow_run_of(settings: Settings, run_id: str) -> str | None:
    path = settings.runs / run_id / PUBLISHED_FILE
    return Published.read(path).mlflow_run if path.is_file() else None


def _run_line(settings: Settings, release: Release) -> RunLine | None:
    usecase = release.bento.split(":")[0]
    for run in list_runs(settings.runs, usecase, limit=1000):
        if _mlflow_run_of(settings, run.request.run_id) == release.run:
            return _describe(run, release)
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
