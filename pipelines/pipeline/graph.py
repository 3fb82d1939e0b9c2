"""A pipeline's definition as a Kubeflow pipeline.

Each step becomes a container with one command, `pipelines.pipeline.execute`; its inputs and outputs are what the
definition says. Kubeflow Pipelines and Vertex AI run this graph; image, size and secrets are what differs.
"""

import inspect
from collections.abc import Callable
from itertools import groupby
from typing import Any

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output, OutputPath, PipelineTask

from pipelines.definitions.definition import PipelineDefinition, StepDefinition

KINDS = {"Artifact": Artifact, "Dataset": Dataset, "HTML": HTML, "Metrics": Metrics, "Model": Model}
PASSED = "passed"

Prepare = Callable[[PipelineTask], object]


def pipeline_of(
    definition: PipelineDefinition,
    image: str,
    name: str,
    description: str,
    prepare: Prepare = lambda _task: None,
) -> Any:
    """The pipeline under a name, its steps in an image, each task `prepare`d; its one parameter is a RunRequest."""
    components = {step.name: component_of(definition, step, image) for step in definition.steps}

    def wired(request: dict) -> None:
        made: dict[str, Any] = {}
        decided: dict[str, Any] = {}

        def add(step: StepDefinition) -> None:
            task: PipelineTask = components[step.name](request=request, **{name: made[name] for name in step.inputs})
            # Steps commit, push and register: none of them may be answered out of a cache.
            task.set_caching_options(False)
            prepare(task)
            made[step.gives.name] = task.outputs[step.gives.name]
            if step.passes_if:
                decided[step.name] = task.outputs[PASSED]

        for guard, steps in groupby(definition.steps, key=lambda step: step.only_if):
            if not guard:
                for step in steps:
                    add(step)
                continue
            with dsl.If(decided[guard] == True, name=f"{guard}-passed"):  # noqa: E712 - KFP overloads the comparison
                for step in steps:
                    add(step)

    return dsl.pipeline(name=name, description=description)(wired)


def component_of(definition: PipelineDefinition, step: StepDefinition, image: str) -> Any:
    """One step as a container component. KFP reads the interface from a function's signature, so it is given one."""

    def container(*_given: object) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image=image,
            command=["python3", "-m", "pipelines.pipeline.execute", definition.name, step.name],
            args=["--executor_input", "{{$}}"],
        )

    kinds = {step.gives.name: step.gives.kind} | {each.name: each.kind for each in step.attaches}
    interface: dict[str, Any] = {
        "request": dict,
        **{name: Input[KINDS[definition.artifacts[name].kind]] for name in step.inputs},
        **{name: Output[KINDS[kind]] for name, kind in kinds.items()},
        **({PASSED: OutputPath(bool)} if step.passes_if else {}),
    }
    container.__name__ = step.name.replace("-", "_")
    container.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in interface.items()]
    )
    return dsl.container_component(container)
