"""The pipelines there are: the blueprint's own, and those that installed packages offer.

A package offers one by an entry point in the group mlops_blueprint.pipelines that names a PipelineDefinition.
"""

from pipelines.definitions.definition import PipelineDefinition
from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.errors import MlopsError
from pipelines.plugins import find_plugin, plugin_names

BUILT_IN = {TRAIN_AND_RELEASE.name: TRAIN_AND_RELEASE}


class PipelineUnknown(MlopsError):
    """A run names a pipeline that is not installed here."""


def find_pipeline(name: str) -> PipelineDefinition:
    """The pipeline of that name.

    Raises:
        PipelineUnknown: neither the blueprint nor an installed package has it.
        PluginBroken: the package that offers it cannot be loaded, or offers something else.
        PluginClash: two packages offer it.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    plugin = find_plugin("pipelines", name)
    if plugin is None:
        raise PipelineUnknown(
            f"there is no pipeline {name!r}; known: {', '.join([*BUILT_IN, *plugin_names('pipelines')])}",
            hint="install the package that offers it in the entry point group mlops_blueprint.pipelines",
        )
    found = plugin.load()
    if not isinstance(found, PipelineDefinition):
        raise plugin.broken(f"is a {type(found).__name__}, not a PipelineDefinition")
    return found


def step_names() -> tuple[str, ...]:
    """The names of all steps of the blueprint's own pipelines, each once."""
    return tuple(dict.fromkeys(name for pipeline in BUILT_IN.values() for name in pipeline.step_names))
