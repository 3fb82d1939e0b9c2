"""The steps as Kubeflow components.

These wrappers hold no logic, because KFP ships their source text: each reads what earlier steps gave, calls the
step's function in `pipelines.pipeline.steps`, and gives its result. What a step is not given, it does not have.
"""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output


def snapshot(request: dict, data: Output[Dataset]) -> None:
    """Load the data and keep it under the hash of its content."""
    from pathlib import Path

    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping

    with stepping("snapshot", request) as step:
        step.give(steps.snapshot(step), Path(data.path))


def validate(request: dict, data: Input[Dataset], checks: Output[Artifact]) -> None:
    """Hold the data to usecase.yaml."""
    from pathlib import Path

    from pipelines.data.snapshot import DataRef
    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping

    with stepping("validate", request) as step:
        folder = step.run_folder / "checks"
        step.give(steps.validate(step, DataRef.read(Path(data.path)), folder), Path(checks.path))


def train(request: dict, data: Input[Dataset], checks: Input[Artifact], model: Output[Model]) -> None:
    """Train and export to ONNX."""
    from pathlib import Path

    from pipelines.data.checks.report import CheckReport
    from pipelines.data.snapshot import DataRef
    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping
    from pipelines.training.train import CANDIDATE_FILE

    with stepping("train", request) as step:
        folder = Path(model.path)
        candidate = steps.train(step, DataRef.read(Path(data.path)), CheckReport.read(Path(checks.path)), folder)
        step.give(candidate, folder / CANDIDATE_FILE)


def evaluate(request: dict, data: Input[Dataset], model: Input[Model], scores: Output[Metrics]) -> None:
    """Score candidate and champion on the same test rows."""
    from pathlib import Path

    from pipelines.data.snapshot import DataRef
    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping
    from pipelines.training.train import CANDIDATE_FILE, Candidate

    with stepping("evaluate", request) as step:
        folder = Path(model.path)
        candidate = Candidate.read(folder / CANDIDATE_FILE)
        evaluation = steps.evaluate(step, DataRef.read(Path(data.path)), candidate, folder)
        step.give(evaluation, Path(scores.path))
        for name, value in evaluation.candidate.metrics.items():
            if value is not None:
                scores.log_metric(name, value)


def gate(
    request: dict,
    data: Input[Dataset],
    model: Input[Model],
    scores: Input[Metrics],
    verdict: Output[Artifact],
    card: Output[HTML],
) -> bool:
    """Judge the candidate; True lets it be released."""
    import shutil
    from pathlib import Path

    from pipelines.data.snapshot import DataRef
    from pipelines.evaluation.card import HTML_FILE
    from pipelines.evaluation.evaluate import Evaluation
    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping
    from pipelines.training.train import CANDIDATE_FILE, Candidate

    with stepping("gate", request) as step:
        folder = step.run_folder / "evaluation"
        candidate = Candidate.read(Path(model.path) / CANDIDATE_FILE)
        evaluation = Evaluation.read(Path(scores.path))
        judged = steps.gate(step, DataRef.read(Path(data.path)), candidate, evaluation, folder)
        step.give(judged, Path(verdict.path))
        shutil.copy(folder / HTML_FILE, card.path)
        return judged.passed


def register(
    request: dict, data: Input[Dataset], model: Input[Model], verdict: Input[Artifact], version: Output[Artifact]
) -> None:
    """Give the accepted candidate a version in MLflow's registry."""
    from pathlib import Path

    from pipelines.data.snapshot import DataRef
    from pipelines.evaluation.gate import Verdict
    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping

    with stepping("register", request) as step:
        accepted = Verdict.read(Path(verdict.path))
        registered = steps.register(step, DataRef.read(Path(data.path)), accepted, Path(model.path))
        step.give(registered, Path(version.path))


def package(
    request: dict, data: Input[Dataset], model: Input[Model], version: Input[Artifact], bento: Output[Artifact]
) -> None:
    """Pack the registered model as a Bento."""
    from pathlib import Path

    from pipelines.data.snapshot import DataRef
    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping
    from pipelines.registry.mlflow import ModelVersion

    with stepping("package", request) as step:
        registered = ModelVersion.read(Path(version.path))
        step.give(steps.package(step, DataRef.read(Path(data.path)), registered, Path(model.path)), Path(bento.path))


def release(  # noqa: PLR0913, PLR0917 - one parameter a step before
    request: dict,
    data: Input[Dataset],
    model: Input[Model],
    scores: Input[Metrics],
    verdict: Input[Artifact],
    version: Input[Artifact],
    bento: Input[Artifact],
    released: Output[Artifact],
) -> None:
    """Commit the version bump that the reconciler rolls out."""
    from pathlib import Path

    from pipelines.data.snapshot import DataRef
    from pipelines.evaluation.evaluate import Evaluation
    from pipelines.evaluation.gate import Verdict
    from pipelines.packaging.bentos import PackedBento
    from pipelines.pipeline import steps
    from pipelines.pipeline.context import stepping
    from pipelines.registry.mlflow import ModelVersion
    from pipelines.training.train import CANDIDATE_FILE, Candidate

    with stepping("release", request) as step:
        result = steps.release(
            step,
            DataRef.read(Path(data.path)),
            Candidate.read(Path(model.path) / CANDIDATE_FILE),
            Evaluation.read(Path(scores.path)),
            Verdict.read(Path(verdict.path)),
            ModelVersion.read(Path(version.path)),
            PackedBento.read(Path(bento.path)),
            step.run_folder / "evaluation",
        )
        step.give(result, Path(released.path))


STEPS = (snapshot, validate, train, evaluate, gate, register, package, release)
