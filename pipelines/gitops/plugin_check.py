"""Which plugins are installed, and which of them cannot be used: every one is loaded to find out."""

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.data.sources import load as sources
from pipelines.errors import MlopsError
from pipelines.evaluation.rules import load as rules
from pipelines.metric_catalog import METRICS, find_metric
from pipelines.plugins import GROUPS, Group, Plugin, find_plugin, installed
from pipelines.training.formats import load as formats

BUILT_IN: Mapping[Group, Mapping[str, Any]] = {
    "sources": sources.BUILT_IN,
    "metrics": METRICS,
    "gate_rules": rules.BUILT_IN,
    "model_formats": formats.BUILT_IN,
}
USE: Mapping[Group, Callable[[str], object]] = {
    "sources": sources.source_type,
    "metrics": find_metric,
    "gate_rules": rules.rule_type,
    "model_formats": formats.exporter_of,
}


def describe_plugins() -> list[str]:
    """One line a plugin; one that cannot be used says why. It fails no use case that does not name it."""
    return [_describe(plugin) for group in GROUPS for plugin in installed(group)]


def _describe(plugin: Plugin) -> str:
    if plugin.name in BUILT_IN.get(plugin.group, {}):
        return f"plugin {plugin} is not used: {plugin.name!r} is built in, and a built-in name cannot be taken"
    try:
        find_plugin(plugin.group, plugin.name)
        plugin.load()
        if use := USE.get(plugin.group):
            use(plugin.name)
    except MlopsError as error:
        why = error.message.removeprefix(f"{plugin} ")
        return f"plugin {plugin} is broken: {why}"
    return f"plugin {plugin}"
