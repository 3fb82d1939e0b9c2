"""A plugin's model format goes into the Bento as code, beside `bento/`: its server need not have it installed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from bento.formats.format import ModelFormat
from bento.formats.load import BUILT_IN, GROUP
from pipelines.plugins import Plugin, find_plugin


def copy_format(kind: ModelFormat, context: Path) -> list[str]:
    """Put the top-level package or module of a plugin's format into the folder, with its entry point.

    Gives the patterns of what was put there; nothing for a built-in format. The same plugin gives the same bytes.

    Raises:
        PluginBroken: its files cannot be found.
    """
    if kind.name in BUILT_IN:
        return []
    plugin = find_plugin("model_formats", kind.name)
    assert plugin is not None  # noqa: S101 - `kind` was loaded from it
    return [_copy_code(plugin, context), _write_metadata(plugin, context)]


def _copy_code(plugin: Plugin, context: Path) -> str:
    top = plugin.entry_point.module.partition(".")[0]
    found = importlib.util.find_spec(top)
    if found is None or not (found.submodule_search_locations or found.origin):
        raise plugin.broken(f"has no files of {top} that could be packed")
    if found.submodule_search_locations:
        folder = Path(next(iter(found.submodule_search_locations)))
        shutil.copytree(folder, context / top, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        return f"{top}/**"
    shutil.copy(str(found.origin), context / f"{top}.py")
    return f"{top}.py"


def _write_metadata(plugin: Plugin, context: Path) -> str:
    """Enough of a dist-info folder that the server finds the entry point, and no path of this machine."""
    info = context / f"{plugin.distribution.replace('-', '_')}-{plugin.version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {plugin.distribution}\nVersion: {plugin.version}\n", encoding="utf-8"
    )
    entry = f"[{GROUP}]\n{plugin.name} = {plugin.entry_point.value}\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    return f"{info.name}/**"
