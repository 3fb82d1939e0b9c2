"""The steps wired as one Kubeflow pipeline.

Steps are linked by what they hand on, never by order alone: a step whose input is missing cannot start. The
wrappers hold no logic, because KFP ships their source text; everything is in `pipelines.steps`.
"""

from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

IMAGE = "mlops-blueprint-python:0.1.0"


def component(function: Callable[..., Any]) -> Any:
    """A step as a KFP component that runs in the pipeline's own image."""
    return dsl.component(function, base_image=IMAGE, install_kfp_package=False)


@component
def snapshot(request: dict, data: Output[Dataset]) -> None:
    """Load the data and keep it under the hash of its content."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.stepping import stepping

    with stepping("snapshot", request) as step:
        step.give(steps.snapshot(step), Path(data.path))


@component
def validate(request: dict, data: Input[Dataset], checks: Output[Artifact]) -> None:
    """Hold the data to usecase.yaml."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.data.snapshot import DataRef
    from pipelines.stepping import stepping

    with stepping("validate", request) as step:
        folder = step.run_folder / "checks"
        step.give(steps.validate(step, DataRef.read(Path(data.path)), folder), Path(checks.path))


@component
def train(request: dict, data: Input[Dataset], checks: Input[Artifact], model: Output[Model]) -> None:
    """Train and export to ONNX."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.data.checks import CheckReport
    from pipelines.data.snapshot import DataRef
    from pipelines.stepping import stepping
    from pipelines.training.train import CANDIDATE_FILE

    with stepping("train", request) as step:
        folder = Path(model.path)
        candidate = steps.train(step, DataRef.read(Path(data.path)), CheckReport.read(Path(checks.path)), folder)
        step.give(candidate, folder / CANDIDATE_FILE)


@component
def evaluate(request: dict, data: Input[Dataset], model: Input[Model], scores: Output[Metrics]) -> None:
    """Score candidate and champion on the same test rows."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.data.snapshot import DataRef
    from pipelines.stepping import stepping
    from pipelines.training.train import CANDIDATE_FILE, Candidate

    with stepping("evaluate", request) as step:
        folder = Path(model.path)
        candidate = Candidate.read(folder / CANDIDATE_FILE)
        evaluation = steps.evaluate(step, DataRef.read(Path(data.path)), candidate, folder)
        step.give(evaluation, Path(scores.path))
        for name, value in evaluation.candidate.metrics.items():
            if value is not None:
                scores.log_metric(name, value)


@component
def gate(
    request: dict, data: Input[Dataset], model: Input[Model], scores: Input[Metrics], verdict: Output[Artifact]
) -> bool:
    """Judge the candidate; True lets it be released."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.data.snapshot import DataRef
    from pipelines.evaluation.evaluate import Evaluation
    from pipelines.stepping import stepping
    from pipelines.training.train import CANDIDATE_FILE, Candidate

    with stepping("gate", request) as step:
        folder = step.run_folder / "evaluation"
        candidate = Candidate.read(Path(model.path) / CANDIDATE_FILE)
        evaluation = Evaluation.read(Path(scores.path))
        judged = steps.gate(step, DataRef.read(Path(data.path)), candidate, evaluation, folder)
        step.give(judged, Path(verdict.path))
        return judged.passed


@component
def register(
    request: dict, data: Input[Dataset], model: Input[Model], verdict: Input[Artifact], version: Output[Artifact]
) -> None:
    """Give the accepted candidate a version in MLflow's registry."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.data.snapshot import DataRef
    from pipelines.evaluation.gate import Verdict
    from pipelines.stepping import stepping

    with stepping("register", request) as step:
        accepted = Verdict.read(Path(verdict.path))
        registered = steps.register(step, DataRef.read(Path(data.path)), accepted, Path(model.path))
        step.give(registered, Path(version.path))


@component
def package(
    request: dict, data: Input[Dataset], model: Input[Model], version: Input[Artifact], bento: Output[Artifact]
) -> None:
    """Pack the registered model as a Bento."""
    from pathlib import Path

    from pipelines import steps
    from pipelines.data.snapshot import DataRef
    from pipelines.release.registry import ModelVersion
    from pipelines.stepping import stepping

    with stepping("package", request) as step:
        registered = ModelVersion.read(Path(version.path))
        step.give(steps.package(step, DataRef.read(Path(data.path)), registered, Path(model.path)), Path(bento.path))


@component
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

    from pipelines import steps
    from pipelines.data.snapshot import DataRef
    from pipelines.evaluation.evaluate import Evaluation
    from pipelines.evaluation.gate import Verdict
    from pipelines.release.package import PackedBento
    from pipelines.release.registry import ModelVersion
    from pipelines.stepping import stepping
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


@dsl.pipeline(name="train-and-release", description="Train, judge and, if it is good enough, release one use case.")
def train_and_release(request: dict) -> None:
    """`request` is a pipelines.request.RunRequest."""
    data = snapshot(request=request).outputs["data"]
    checks = validate(request=request, data=data).outputs["checks"]
    model = train(request=request, data=data, checks=checks).outputs["model"]
    scores = evaluate(request=request, data=data, model=model).outputs["scores"]
    judged = gate(request=request, data=data, model=model, scores=scores)
    with dsl.If(judged.outputs["Output"] == True, name="accepted"):  # noqa: E712 - KFP overloads the comparison
        verdict = judged.outputs["verdict"]
        version = register(request=request, data=data, model=model, verdict=verdict).outputs["version"]
        bento = package(request=request, data=data, model=model, version=version).outputs["bento"]
        release(request=request, data=data, model=model, scores=scores, verdict=verdict, version=version, bento=bento)
