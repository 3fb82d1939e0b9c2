"""Code from other distributions: found by entry points, loaded when a use case names it and not before.

    mlops_blueprint.sources         where data comes from      a pipelines.data.sources.source.Source
    mlops_blueprint.metrics         how answers are scored     a pipelines.metric_catalog.Metric
    mlops_blueprint.model_formats   how a model is kept        a bento.formats.format.ModelFormat
    mlops_blueprint.gate_rules      what a candidate must pass a pipelines.evaluation.rules.rule.GateRule
    mlops_blueprint.steps           what a pipeline runs       a function over a pipelines.pipeline.context.Step
    mlops_blueprint.pipelines       steps put together         a pipelines.definitions.definition.PipelineDefinition

The entry point's name is the name that usecase.yaml uses. A built-in name cannot be taken. One plugin's trouble is
that plugin's alone: it is an error where its name is used, and a line of `mlops check`.
"""

from __future__ import annotations

import functools
import importlib
import sys
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal, TypeVar, get_args

from pipelines.errors import MlopsError

Group = Literal["sources", "metrics", "model_formats", "gate_rules", "steps", "pipelines"]
GROUPS: tuple[Group, ...] = get_args(Group)
PREFIX = "mlops_blueprint"

Base = TypeVar("Base")


class PluginBroken(MlopsError):
    """A plugin cannot be loaded, or offers something of the wrong kind. It names the distribution and entry point."""


class PluginClash(PluginBroken):
    """Two distributions offer the same name."""


@dataclass(frozen=True)
class Plugin:
    """One entry point of an installed distribution."""

    group: Group
    name: str
    distribution: str
    version: str
    entry_point: metadata.EntryPoint = field(repr=False)

    def __str__(self) -> str:
        return (
            f"{self.distribution} {self.version} (entry point {PREFIX}.{self.group}: "
            f"{self.name} = {self.entry_point.value})"
        )

    def load(self) -> Any:
        """What the entry point names. Raises PluginBroken."""
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as error:
            raise self.broken(f"cannot be loaded: {type(error).__name__}: {error}") from error

    def load_subclass(self, base: type[Base]) -> type[Base]:
        """The class that the entry point names. Raises PluginBroken, also where it is no subclass of `base`."""
        found = self.load()
        if not (isinstance(found, type) and issubclass(found, base)):
            raise self.broken(f"offers no subclass of {base.__module__}.{base.__qualname__}")
        return found

    def broken(self, why: str) -> PluginBroken:
        """The error for a plugin that loads, but is not what its group needs; `why` goes on from its name."""
        return PluginBroken(
            f"{self} {why}", hint=f"upgrade or uninstall {self.distribution}; `mlops check` lists every plugin"
        )


def installed(group: Group) -> list[Plugin]:
    """The plugins of a group, by name. None of them is loaded."""
    return list(_installed(group, tuple(sys.path)))


def find_plugin(group: Group, name: str) -> Plugin | None:
    """The plugin of this name, or None. Built-in names are looked up before this.

    Raises:
        PluginClash: two distributions offer it.
    """
    offers = [plugin for plugin in installed(group) if plugin.name == name]
    if len(offers) > 1:
        raise PluginClash(
            f"{name!r} is offered by {' and by '.join(str(offer) for offer in offers)}",
            hint=f"uninstall one of {', '.join(offer.distribution for offer in offers)}",
        )
    return offers[0] if offers else None


def plugin_names(group: Group) -> list[str]:
    """The names that plugins add to a group's built-in ones."""
    return list(dict.fromkeys(plugin.name for plugin in installed(group)))


def scan_again() -> None:
    """Forget what is installed: a distribution has come or gone while this process runs."""
    importlib.invalidate_caches()
    _installed.cache_clear()


@functools.lru_cache(maxsize=64)
def _installed(group: Group, _path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Keyed by sys.path: the scan reads the metadata of every distribution on it."""
    found = [
        Plugin(
            group, entry.name, entry.dist.name if entry.dist else "?", entry.dist.version if entry.dist else "?", entry
        )
        for entry in metadata.entry_points(group=f"{PREFIX}.{group}")
    ]
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.distribution)))
