"""The pipeline's steps: plain functions over what earlier steps gave.

    snapshot → validate → train → evaluate → gate → register → package → release

Each takes the Step it runs in (where am I, what is asked, what shall be remembered), the documents of the
steps before it, and a folder of its own if it makes files. A runner only schedules them.
"""

from pathlib import Path

from bento.signature import Provenance, Signature
from pipelines.assessment.reference import keep_reference
from pipelines.data.checks.check import check_data
from pipelines.data.checks.report import CheckReport, DataRejected
from pipelines.data.snapshot import DataRef, open_snapshot, take_snapshot
from pipelines.documents import write_atomically
from pipelines.evaluation.card import CardLineage, write_card
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import Verdict, judge
from pipelines.packaging.bentos import (
    BentoMissing,
    NotInThisStore,
    PackedBento,
    content_of,
    fetch_bento,
    pack,
    publish_bento,
)
from pipelines.pipeline.context import Step
from pipelines.registry.mlflow import CONTENT_TAG, ModelVersion, VersionTaken, content_tag, download_model
from pipelines.registry.mlflow import register as register_model
from pipelines.release.identical import find_twin
from pipelines.release.release import Release
from pipelines.training.formats.load import exporter_of
from pipelines.training.train import MODEL_FOLDER, OUTPUTS_FILE, Candidate
from pipelines.training.train import train as train_candidate

SIGNATURE = "signature.json"


def snapshot(step: Step) -> DataRef:
    """Load the data as it was known at the run's date and keep it under the hash of its content."""
    data = take_snapshot(step.usecase, step.code, step.settings.snapshots, step.request.as_of)
    step.log(
        summary=f"{data.rows:,} rows, data {data.version}",
        params={"as_of": data.as_of or "latest", "rows": data.rows},
        tags={"data": data.sha256, "code": step.request.code, "reason": step.request.reason},
    )
    return data


def validate(step: Step, data: DataRef, folder: Path) -> CheckReport:
    """Hold the data to usecase.yaml; data that fails stops the run."""
    report = check_data(open_snapshot(data), step.usecase)
    markdown = folder / "data-checks.md"
    write_atomically(markdown, report.to_markdown())
    passed = sum(check.passed for check in report.checks)
    step.log(
        summary=f"{passed} of {len(report.checks)} checks passed",
        metrics={"checks_passed": passed, "checks_failed": len(report.checks) - passed},
        artifacts={str(markdown): "data"},
    )
    if not report.passed:
        raise DataRejected(report)
    return report


def train(step: Step, data: DataRef, checked: CheckReport, folder: Path) -> Candidate:
    """Run the use case's train() on the checked data and export the model."""
    assert checked.passed  # noqa: S101 - validate has raised otherwise
    seed = step.request.seed if step.request.seed is not None else step.usecase.training.seed
    candidate = train_candidate(
        step.usecase,
        step.code,
        open_snapshot(data),
        step.request.params,
        seed,
        folder,
        keep_sample=keep_reference,
    )
    step.log(
        summary=f"{candidate.framework} on {candidate.train_rows:,} rows",
        params={**candidate.params, "seed": seed, "framework": candidate.framework, **candidate.description},
        metrics={
            "train_rows": candidate.train_rows,
            "validation_rows": candidate.validation_rows,
            "test_rows": candidate.test_rows,
        },
        artifacts={str(folder / MODEL_FOLDER): "candidate"},
    )
    return candidate


def evaluate(step: Step, data: DataRef, candidate: Candidate, trained: Path) -> Evaluation:
    """Score the candidate, and the released model beside it, on the same test rows."""
    import tempfile

    import numpy as np

    from pipelines.data.examples import Examples
    from pipelines.data.split import split
    from pipelines.evaluation.evaluate import evaluate as score_both

    parts = split(open_snapshot(data), step.usecase.data, step.usecase.task, candidate.seed)
    classes = tuple(candidate.classes) if candidate.classes else None
    test = Examples.from_table(parts.test, step.usecase, classes=classes)
    outputs_file = trained / OUTPUTS_FILE
    outputs = np.load(outputs_file) if outputs_file.exists() else None
    with tempfile.TemporaryDirectory() as scratch:
        champion = _champion(step, Path(scratch))
        evaluation = score_both(step.usecase, test, trained / MODEL_FOLDER, outputs, champion)
    metrics = {name: value for name, value in evaluation.candidate.metrics.items() if value is not None}
    against = {
        f"champion/{k}": v
        for k, v in (evaluation.champion.metrics if evaluation.champion else {}).items()
        if v is not None
    }
    step.log(
        summary=", ".join(f"{name} {value:.4f}" for name, value in list(metrics.items())[:3])
        + (f" (champion {evaluation.champion_name})" if evaluation.champion_name else " (no champion yet)"),
        metrics={**metrics, **against},
        tags={"champion": evaluation.champion_name or "none"},
    )
    return evaluation


def gate(step: Step, data: DataRef, candidate: Candidate, evaluation: Evaluation, folder: Path) -> Verdict:
    """Judge the candidate by every rule of usecase.yaml; write verdict and model card."""
    verdict = judge(step.usecase, evaluation)
    verdict.write(folder / "verdict.json")
    write_atomically(folder / "verdict.md", verdict.to_markdown())
    write_card(step.usecase, evaluation, verdict, _lineage(step, data, candidate), folder)
    step.log(
        summary="passed" if verdict.passed else f"rejected: {len(verdict.failed)} of {len(verdict.rules)} rules failed",
        metrics={"gate_passed": float(verdict.passed)},
        tags={"gate": "passed" if verdict.passed else "rejected"},
        artifacts={str(folder): "evaluation"},
    )
    return verdict


def register(step: Step, data: DataRef, verdict: Verdict, trained: Path) -> ModelVersion:
    """Give the accepted candidate a version in the registry; one that is released already keeps the version it has."""
    assert verdict.passed  # noqa: S101 - the pipeline's condition has kept rejected ones away
    model = trained / MODEL_FOLDER
    content = content_of(step.usecase, model, step.settings)
    twin = find_twin(
        step.releases,
        step.usecase.name,
        step.request.environment,
        (content, data.version, step.request.code),
        lambda known: content_tag(step.settings.tracking_uri, known),
        step.request.force,
    )
    if twin:
        step.log(summary=f"the same to the byte as {twin.bento}, no new version", tags={"model": twin.model})
        name, number = twin.model.split("/")
        return ModelVersion(name=name, version=number, run=twin.run)
    signature = Signature.read(model / SIGNATURE)
    version = register_model(
        step.settings.tracking_uri,
        step.publish(),
        step.usecase.name,
        model,
        signature,
        tags={"run": step.request.run_id, "data": data.version, "code": step.request.code, "gate": "passed"}
        | {CONTENT_TAG: content},
        add_flavor=exporter_of(signature.format).mlflow_flavor(),
    )
    _require_new(step, version)
    step.log(summary=f"version {version.version}, challenger", tags={"model": str(version)})
    return version


def package(step: Step, data: DataRef, version: ModelVersion, trained: Path) -> PackedBento:
    """Pack the registered model as a Bento; where images go to a registry, also as an image there."""
    provenance = Provenance(
        bento=f"{version.name}:{version.version}",
        model=str(version),
        run=version.run,
        data=data.version,
        code=step.request.code,
        created=step.started_at,
    )
    if known := step.releases.find(step.usecase.name, step.request.environment, str(version)):
        step.log(summary=f"{known.bento} as it was packed before", tags={"bento": known.bento, "image": known.image})
        return PackedBento(tag=known.bento, image=known.image)
    bento = pack(step.usecase, trained / MODEL_FOLDER, provenance, step.settings.bentos)
    summary = f"{bento.tag}, {bento.image.rsplit('@')[-1][:19]}"
    if step.settings.images:
        published = publish_bento(step.usecase.name, bento, step.settings)
        bento = bento.model_copy(update={"image": published.image})
        summary = f"{bento.tag}, {published}"
    step.log(summary=summary, tags={"bento": bento.tag, "image": bento.image})
    return bento


def release(  # noqa: PLR0913, PLR0917 - one parameter a step before
    step: Step,
    data: DataRef,
    candidate: Candidate,
    evaluation: Evaluation,
    verdict: Verdict,
    version: ModelVersion,
    bento: PackedBento,
    folder: Path,
) -> Release:
    """Commit the version bump; that commit is the deployment. The model card then names what came of the run."""
    metrics = {
        n: v for n, v in evaluation.candidate.metrics.items() if v is not None and n in step.usecase.evaluation.metrics
    }
    wanted = Release(
        bento=bento.tag,
        image=bento.image,
        model=str(version),
        run=version.run,
        data=data.version,
        code=step.request.code,
        metrics=metrics,
    )
    name, environment = step.usecase.name, step.request.environment
    wanted = step.releases.find(name, environment, str(version)) or wanted
    commit = step.releases.bump(name, environment, wanted, step.request.reason, step.request.force, step.request.run_id)
    released = commit or _commit_of(step, wanted)
    lineage = _lineage(step, data, candidate, model=wanted.model, bento=wanted.bento, commit=released)
    write_card(step.usecase, evaluation, verdict, lineage, folder)
    step.log(
        summary=f"commit {commit[:9]} in {environment}" if commit else f"already released in {environment}",
        tags={"commit": commit or "", "environment": environment},
        aliases={"champion": str(version)},
        artifacts={str(folder): "evaluation"},
    )
    return wanted


def _require_new(step: Step, version: ModelVersion) -> None:
    """A registry that counts from 1 again would pass another model off as the one that is released."""
    known = step.releases.find(step.usecase.name, step.request.environment, str(version))
    if known and known.run != version.run:
        raise VersionTaken(
            f"MLflow calls this model {version}, but Git knows {version} of run {known.run} already",
            hint="this registry lost its versions, or is another one: restore it, or set MLOPS_TRACKING_URI right",
        )


def _lineage(
    step: Step,
    data: DataRef,
    candidate: Candidate,
    *,
    model: str | None = None,
    bento: str | None = None,
    commit: str | None = None,
) -> CardLineage:
    """Where the candidate comes from and, once that is known, what it became."""
    return CardLineage(
        run=step.request.run_id,
        data=data.sha256,
        code=step.request.code,
        model=model,
        bento=bento,
        commit=commit,
        environment=step.request.environment,
        params=candidate.params,
        seed=candidate.seed,
        as_of=data.as_of,
        created=step.started_at,
    )


def _commit_of(step: Step, released: Release) -> str | None:
    """The newest commit that put this release where it is."""
    history = step.releases.history(step.usecase.name, step.request.environment)
    return next((deployment.commit for deployment in history if deployment.release.bento == released.bento), None)


def _champion(step: Step, folder: Path) -> tuple[str, Path] | None:
    """The model that Git says is released where this run would release to: out of its Bento, else from the registry."""
    if step.request.replace_champion:
        return None
    current = step.releases.current(step.usecase.name, step.request.environment)
    if current is None:
        return None
    try:
        return current.model, fetch_bento(step.settings.bentos, current.image) / "src" / MODEL_FOLDER
    except (NotInThisStore, BentoMissing):
        return current.model, download_model(step.settings.tracking_uri, current.model, folder)
