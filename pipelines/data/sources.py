"""Where a table comes from: the use case's own load(), files at any fsspec URL, or a SQL query."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import MlopsError
from pipelines.usecase.code import kind_of, load_function, raised_at, returned
from pipelines.usecase.model import FileSource, PythonSource, Source, SqlSource

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+@")
SHORTEST_SECRET = 4


class DatasetMissing(MlopsError):
    """The data is not on this machine. For a use case's load() to raise; the hint says how to get it."""


class LoadFailed(MlopsError):
    """A use case's load() raised, or gave something that is no table."""


class VariableMissing(MlopsError):
    """usecase.yaml names an environment variable that is not set."""


def load_table(source: Source, folder: Path, as_of: datetime | None) -> pa.Table:
    """All rows of a source, as Arrow. `folder` is the use case's; `as_of` reaches a query that asks for it.

    Raises DatasetMissing, LoadFailed, VariableMissing, and what pipelines.data.files and .sql raise.
    """
    if isinstance(source, PythonSource):
        return _call_load(source, folder)
    if isinstance(source, FileSource):
        from pipelines.data.files import read_files

        return read_files(source, folder)
    assert isinstance(source, SqlSource)  # noqa: S101 - the schema knows three kinds
    from pipelines.data.sql import run_query

    return run_query(source, folder, as_of)


def fill_variables(text: str, key: str) -> str:
    """Replace each `${NAME}` by the environment's value. `key` says where the text stands, for the error."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise VariableMissing(
                f"{key}: the environment variable {name} is not set",
                hint=f"export {name}=... before the run; in a cluster, put it into the pipeline's secret",
            )
        return os.environ[name]

    return VARIABLE.sub(value, text)


def hide_secrets(text: str, template: str) -> str:
    """The text with `${NAME}` again where a variable of the template shows its value, and no URL's password."""
    for name in VARIABLE.findall(template):
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"${{{name}}}")
    return URL_PASSWORD.sub(r"\1***@", text)


def to_arrow(value: Any, where: str) -> pa.Table:
    """A table from what a load() may give: Arrow, pandas, or a mapping of names to equally long arrays.

    An N-dimensional array becomes N cells of fixed shape. A column of mixed types becomes text, so that the
    data checks can show its rows. Raises LoadFailed for anything else; `where` names the function.
    """
    import pyarrow as pa

    if isinstance(value, pa.Table):
        return value
    if type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "columns"):
        return _from_pandas(value)
    if isinstance(value, Mapping):
        return _from_arrays(value, where)
    raise LoadFailed(
        f"{where} gave {returned(value)}; it must give a pyarrow.Table, a pandas.DataFrame or a dict of NumPy arrays"
    )


def values_to_arrow(values: Any) -> pa.Array:
    """Any sequence as one Arrow array: mixed types become text, arrays in cells become tensors or lists."""
    import pyarrow as pa

    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        cells = list(values)
    if any(hasattr(cell, "shape") for cell in cells):
        return _stacked(cells)
    return pa.array([None if _is_missing(cell) else str(cell) for cell in cells], pa.string())


def _call_load(source: PythonSource, folder: Path) -> pa.Table:
    load = load_function(folder, source.load)
    try:
        value = load()
    except MlopsError:
        raise
    except (Exception, SystemExit) as error:
        raise LoadFailed(
            f"{source.load} raised {type(error).__name__}{raised_at(error, folder.absolute())}: {error}",
            hint="raise pipelines.data.sources.DatasetMissing with a hint where the data is not there"
            if isinstance(error, FileNotFoundError)
            else None,
        ) from error
    return to_arrow(value, source.load)


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    names = [str(name) for name in frame.columns]
    return pa.Table.from_arrays([values_to_arrow(frame.iloc[:, index]) for index in range(len(names))], names=names)


def _from_arrays(columns: Mapping[str, Any], where: str) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    from pipelines.data.columns import tensor_column

    arrays = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim > 1 and values.dtype != object:
            arrays[str(name)] = tensor_column(values)
        elif isinstance(values, str | bytes) or (isinstance(values, np.ndarray) and values.ndim == 0):
            raise LoadFailed(f"{where}: column {name!r} is one value, {values!r}; it must be an array with one a row")
        else:
            try:
                arrays[str(name)] = values_to_arrow(values)
            except TypeError:
                raise LoadFailed(f"{where}: column {name!r} is {kind_of(values)}; it must be an array") from None
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise LoadFailed(f"{where}: the columns have different lengths: {listing}")
    return pa.table(arrays)


def _stacked(cells: list[np.ndarray]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    from pipelines.data.columns import tensor_column

    try:
        stacked = np.stack(cells)
    except (ValueError, TypeError):
        return pa.array([np.asarray(cell).tolist() if cell is not None else None for cell in cells])
    return tensor_column(stacked)


def _is_missing(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ in ("NAType", "NaTType")  # noqa: PLR0124
