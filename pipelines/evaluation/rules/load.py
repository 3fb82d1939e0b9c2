"""From an entry of `evaluation.gates` to the rule itself, found by its `type`: a built-in one or a plugin's."""

from __future__ import annotations

from typing import Any

from pipelines.errors import MlopsError
from pipelines.evaluation.rules.champion import ChampionRule
from pipelines.evaluation.rules.limit import LimitRule
from pipelines.evaluation.rules.rule import GateRule
from pipelines.evaluation.rules.slices import SliceRule
from pipelines.plugins import find_plugin
from pipelines.usecase.gates import GATES, GateSettings

BUILT_IN: dict[str, type[GateRule[Any]]] = {"limit": LimitRule, "champion": ChampionRule, "slices": SliceRule}


class RuleUnknown(MlopsError):
    """No built-in rule and no installed plugin has this type."""


def rule_of(section: GateSettings) -> GateRule[Any]:
    """The rule that an entry describes. Raises what `rule_type` raises."""
    return rule_type(section.type)(section)


def rule_type(name: str) -> type[GateRule[Any]]:
    """The class behind a `type`.

    Raises:
        RuleUnknown: there is no such type here.
        PluginBroken: the plugin cannot be loaded, or offers no GateRule.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    plugin = find_plugin("gate_rules", name)
    if plugin is None:
        raise RuleUnknown(
            f"evaluation.gates: no rule is of type {name!r}; known: {', '.join(BUILT_IN)}",
            hint="install the distribution that offers it; docs/extending.md says how one is made",
        )
    found = plugin.load_subclass(GateRule)  # type: ignore[type-abstract]  # subclasses are asked for
    GATES.plugin_settings(name)
    return found
