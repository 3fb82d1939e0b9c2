"""Where a table comes from: the use case's own load(), files at any fsspec URL, or a SQL query."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.arrow import LoadFailed, to_arrow
from pipelines.data.sources.files import read_files
from pipelines.data.sources.sql import run_query
from pipelines.errors import MlopsError
from pipelines.usecase.code import load_function, raised_at
from pipelines.usecase.model import FileSource, PythonSource, Source, SqlSource

if TYPE_CHECKING:
    import pyarrow as pa


class DatasetMissing(MlopsError):
    """The data is not on this machine. For a use case's load() to raise; the hint says how to get it."""


def load_table(source: Source, folder: Path, as_of: datetime | None) -> pa.Table:
    """All rows of a source, as Arrow. `folder` is the use case's; `as_of` reaches a query that asks for it.

    Raises DatasetMissing, LoadFailed, VariableMissing, and what pipelines.data.sources.files and .sql raise.
    """
    if isinstance(source, PythonSource):
        return _call_load(source, folder)
    if isinstance(source, FileSource):
        return read_files(source, folder)
    assert isinstance(source, SqlSource)  # noqa: S101 - the schema knows three kinds
    return run_query(source, folder, as_of)


def _call_load(source: PythonSource, folder: Path) -> pa.Table:
    load = load_function(folder, source.load)
    try:
        value = load()
    except MlopsError:
        raise
    except (Exception, SystemExit) as error:
        raise LoadFailed(
            f"{source.load} raised {type(error).__name__}{raised_at(error, folder.absolute())}: {error}",
            hint="raise pipelines.data.DatasetMissing with a hint where the data is not there"
            if isinstance(error, FileNotFoundError)
            else None,
        ) from error
    return to_arrow(value, source.load)
