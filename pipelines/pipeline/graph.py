"""The steps wired as one Kubeflow pipeline.

Steps are linked by what they hand on, never by order alone: a step whose input is missing cannot start. The embedded
runner, Kubeflow Pipelines and Vertex AI run this same graph; image, size and secrets are what differs.
"""

from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from pipelines.pipeline import components

IMAGE = "mlops-blueprint-python:0.1.0"
NAME = "train-and-release"
DESCRIPTION = "Train, judge and, if it is good enough, release one use case."

Prepare = Callable[[PipelineTask], object]


def pipeline_of(
    name: str, description: str, image: str = IMAGE, prepare: Prepare = lambda _task: None, cached: bool = True
) -> Any:
    """The pipeline under a name, its steps in an image, each task `prepare`d; its one parameter is a RunRequest."""
    made = {
        function.__name__: dsl.component(function, base_image=image, install_kfp_package=False)
        for function in components.STEPS
    }

    def step(step_name: str, **inputs: Any) -> PipelineTask:
        task: PipelineTask = made[step_name](**inputs)
        if not cached:
            task.set_caching_options(False)
        prepare(task)
        return task

    def train_and_release(request: dict) -> None:
        data = step("snapshot", request=request).outputs["data"]
        checks = step("validate", request=request, data=data).outputs["checks"]
        model = step("train", request=request, data=data, checks=checks).outputs["model"]
        scores = step("evaluate", request=request, data=data, model=model).outputs["scores"]
        judged = step("gate", request=request, data=data, model=model, scores=scores)
        with dsl.If(judged.outputs["Output"] == True, name="accepted"):  # noqa: E712 - KFP overloads the comparison
            verdict = judged.outputs["verdict"]
            version = step("register", request=request, data=data, model=model, verdict=verdict).outputs["version"]
            bento = step("package", request=request, data=data, model=model, version=version).outputs["bento"]
            given = {"data": data, "model": model, "scores": scores, "verdict": verdict, "version": version}
            step("release", request=request, bento=bento, **given)

    return dsl.pipeline(name=name, description=description)(train_and_release)


train_and_release = pipeline_of(NAME, DESCRIPTION)
