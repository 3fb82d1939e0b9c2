"""Plugins: found by their entry points, loaded when they are named, and each one's trouble its own."""

import sys

import pytest

from pipelines.plugins import PluginBroken, PluginClash, find_plugin, installed, plugin_names
from tests.plugin_cases import plugins

__all__ = ["plugins"]


def test_without_plugins_there_are_none():
    assert find_plugin("sources", "nowhere") is None


def test_a_plugin_is_found_by_its_name_and_not_loaded(plugins):
    plugins.install("counting", "raise RuntimeError('loaded')", {"sources": {"count": "counting:Count"}})
    plugin = find_plugin("sources", "count")
    assert str(plugin) == "counting 1.0 (entry point mlops_blueprint.sources: count = counting:Count)"
    assert plugin_names("sources") == ["count"]
    assert plugin_names("metrics") == []
    assert "counting" not in sys.modules


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Other: ...", "AttributeError: module 'counting' has no attribute 'Count'"),
        ("def", "SyntaxError"),
    ],
)
def test_one_that_cannot_be_loaded_names_its_distribution_and_entry_point(plugins, code, why):
    plugins.install("counting", code, {"sources": {"count": "counting:Count"}})
    with pytest.raises(PluginBroken) as caught:
        find_plugin("sources", "count").load()
    said = "counting 1.0 (entry point mlops_blueprint.sources: count = counting:Count) cannot be loaded: "
    assert caught.value.message.startswith(said + why)
    assert "uninstall counting" in caught.value.hint


def test_a_broken_one_does_not_stop_the_others(plugins):
    plugins.install("broken", "1 / 0", {"sources": {"broken": "broken:Count"}})
    plugins.install("whole", "Count = 7", {"sources": {"count": "whole:Count"}})
    assert [plugin.name for plugin in installed("sources")] == ["broken", "count"]
    assert find_plugin("sources", "count").load() == 7


def test_a_name_that_two_offer_is_refused_where_it_is_used(plugins):
    for name in ("counting", "numbers-too"):
        plugins.install(name, "Count = 1", {"sources": {"count": "counting:Count"}})
    with pytest.raises(PluginClash, match=r"'count' is offered by counting 1\.0 .* and by numbers-too 1\.0") as caught:
        find_plugin("sources", "count")
    assert caught.value.hint == "uninstall one of counting, numbers-too"
