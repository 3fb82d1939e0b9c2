"""From the section `data.source` to the source itself, found by its `type`: a built-in one or a plugin's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data.sources.files import Files
from pipelines.data.sources.python import LoadFunction
from pipelines.data.sources.source import Source
from pipelines.data.sources.sql import Query
from pipelines.errors import MlopsError
from pipelines.plugins import find_plugin
from pipelines.usecase.model import Data, SourceSettings
from pipelines.usecase.sources import SOURCES

if TYPE_CHECKING:
    import pyarrow as pa

BUILT_IN: dict[str, type[Source[Any]]] = {"python": LoadFunction, "file": Files, "sql": Query}


class DatasetMissing(MlopsError):
    """The data is not on this machine. For a use case's load() to raise; the hint says how to get it."""


class SourceUnknown(MlopsError):
    """No built-in source and no installed plugin has this type."""


def open_source(section: SourceSettings, folder: Path) -> Source[Any]:
    """The source that a section describes. `folder` is the use case's. Nothing is read yet.

    Raises:
        SourceUnknown: there is no such type here.
        PluginBroken: the plugin cannot be loaded, or offers no Source.
    """
    return source_type(section.type)(section, folder)


def source_type(name: str) -> type[Source[Any]]:
    """The class behind a `type`. Raises what `open_source` raises."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    plugin = find_plugin("sources", name)
    if plugin is None:
        raise SourceUnknown(
            f"data.source.type: no source is called {name!r}; known: {', '.join(BUILT_IN)}",
            hint="install the distribution that offers it; docs/extending.md says how one is made",
        )
    found = plugin.load_subclass(Source)  # type: ignore[type-abstract]  # subclasses are asked for
    SOURCES.plugin_settings(name)
    return found


def load_table(section: SourceSettings, folder: Path, as_of: datetime | None) -> pa.Table:
    """All rows of a source, as Arrow. `folder` is the use case's; `as_of` reaches a source that takes it.

    Raises what `open_source` and the source's `read` raise: DatasetMissing, LoadFailed, VariableMissing, and what is
    in pipelines.data.sources.files and .sql.
    """
    return open_source(section, folder).read(as_of)


def honours_as_of(data: Data, folder: Path) -> bool:
    """Whether a run as of a date gives the data of that date: by `data.time`, or because the source takes a date."""
    return data.time is not None or open_source(data.source, folder).takes_as_of()
