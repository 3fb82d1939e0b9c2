"""From a format's name, or from a trained model, to what exports it: the built-in format or a plugin's."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bento.errors import FormatBroken
from bento.formats.load import checked
from pipelines.plugins import Plugin, PluginBroken, find_plugin, plugin_names
from pipelines.training.formats.exporter import Exporter, NotExportable
from pipelines.training.formats.onnx import OnnxExporter
from pipelines.usecase.code import returned

BUILT_IN: dict[str, Exporter] = {"onnx": OnnxExporter()}


def exporter_of(name: str) -> Exporter:
    """The training half of the format of this name.

    Raises:
        NotExportable: no format has the name.
        PluginBroken: one of its halves cannot be loaded, or is not what it must be.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    plugin = find_plugin("model_formats", name)
    if plugin is None:
        known = ", ".join([*BUILT_IN, *plugin_names("model_formats")])
        raise NotExportable(
            f"no model format is called {name!r}; known: {known}",
            hint="install the distribution that offers it; docs/extending.md says how one is made",
        )
    return _training_half(plugin)


def exporter_for(model: Any, wanted: str | None) -> Exporter:
    """The format that a trained model is kept in: `training.format`, else ONNX, else the first plugin that takes it.

    Raises:
        NotExportable: no format takes it. Plugins that could not be asked are named.
        PluginBroken: the wanted one is a plugin that cannot be loaded.
    """
    if wanted:
        exporter = exporter_of(wanted)
        if not exporter.takes(model):
            raise NotExportable(
                f"train() returned {returned(model)}, which training.format {wanted} does not take",
                hint="leave training.format out to keep it as ONNX where that can be",
            )
        return exporter
    silent = []
    for name in [*BUILT_IN, *plugin_names("model_formats")]:
        try:
            exporter = exporter_of(name)
            if exporter.takes(model):
                return exporter
        except PluginBroken as error:
            silent.append(error.message)
    raise NotExportable(
        "; ".join([f"train() returned {returned(model)}, which cannot be exported to ONNX", *silent]),
        hint="return a fitted Keras, scikit-learn or LightGBM model, or an onnx.ModelProto; "
        "docs/extending.md says how another format is added",
    )


def _training_half(plugin: Plugin) -> Exporter:
    try:
        serving = checked(plugin.load(), plugin.name, str(plugin))
    except FormatBroken as error:
        raise PluginBroken(str(error), hint=f"upgrade or uninstall {plugin.distribution}") from error
    module, _, attribute = serving.training.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise plugin.broken(
            f"has a training half, {serving.training}, that cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Exporter)):
        why = f"has a training half, {serving.training}, that is no subclass of {Exporter.__module__}.Exporter"
        raise plugin.broken(why)
    if found.name != plugin.name:
        raise plugin.broken(f"has a training half, {serving.training}, that is called {found.name!r}")
    try:
        return found()
    except TypeError as error:
        raise plugin.broken(
            f"has a training half, {serving.training}, that cannot be made: TypeError: {error}"
        ) from error
