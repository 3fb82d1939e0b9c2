"""Run one step of a pipeline as its definition says, wherever its artifacts lie.

Runners differ in where a step's process is and where its files are; what happens in it is the same, and is here.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.definitions.definition import PipelineDefinition, StepDefinition
from pipelines.definitions.find import find_pipeline
from pipelines.errors import MlopsError
from pipelines.pipeline.context import stepping
from pipelines.plugins import find_plugin, plugin_names


class StepFunctionMissing(MlopsError):
    """A pipeline names a step function that is not installed here."""


@dataclass(frozen=True)
class StepResult:
    """What the orchestrator hears. `passed`: None for a step that decides nothing."""

    passed: bool | None
    metrics: dict[str, float]


def run_step(pipeline: str, step: str, request: Mapping[str, Any], places: Mapping[str, Path]) -> StepResult:
    """Run a step whose artifacts, taken and given, lie in `places` by name.

    Raises:
        StepFunctionMissing: its function is not installed.
        Exception: whatever the step itself raises, after it was journalled.
    """
    definition = find_pipeline(pipeline)
    declared = definition.step(step)
    with stepping(step, request) as context:
        function = load_function(declared)
        given = [_read(definition, name, places) for name in declared.takes]
        own = places[declared.gives.name]
        folder = context.run_folder / declared.run_folder if declared.run_folder else own
        wants_folder = bool(declared.run_folder or declared.gives.file)
        result = function(context, *given, *([folder] if wants_folder else []))
        context.give(result, own / declared.gives.file if declared.gives.file else own)
        for attachment in declared.attaches:
            places[attachment.name].parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / attachment.file, places[attachment.name])
    passed = bool(getattr(result, declared.passes_if)) if declared.passes_if else None
    return StepResult(passed, dict(context.remembered.get("metrics", {})))


def load_function(step: StepDefinition) -> Callable[..., Any]:
    """The step's function: of a module of ours, or offered by an installed package.

    Raises:
        StepFunctionMissing: no installed package offers it.
        PluginBroken: the package that offers it cannot be loaded, or offers something else.
        PluginClash: two packages offer it.
    """
    function: Callable[..., Any]
    if ":" in step.function:
        function = _load(step.function)
        return function
    plugin = find_plugin("steps", step.function)
    if plugin is None:
        raise StepFunctionMissing(
            f"the step {step.name} is the function {step.function!r}, which no installed package offers; "
            f"there: {', '.join(plugin_names('steps')) or 'none'}",
            hint="install the package that names it in the entry point group mlops_blueprint.steps",
        )
    function = plugin.load()
    if not callable(function):
        raise plugin.broken(f"is a {type(function).__name__}, not a function")
    return function


def _read(definition: PipelineDefinition, name: str, places: Mapping[str, Path]) -> Any:
    """A document, or with a slash at its end the folder that it lies in."""
    artifact = definition.artifacts[name.removesuffix("/")]
    place = places[artifact.name]
    if name.endswith("/"):
        return place
    return _load(artifact.document).read(place / artifact.file if artifact.file else place)


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
