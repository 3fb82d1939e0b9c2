"""What Python code gives as a table, turned into Arrow; tables of differing types joined into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import MlopsError
from pipelines.usecase.code import kind_of, returned

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class LoadFailed(MlopsError):
    """A use case's load() raised, or gave something that is no table."""


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


def concatenate(tables: list[pa.Table]) -> pa.Table:
    """One table from many: the types widen to what holds them all, to text where nothing else does."""
    import pyarrow as pa

    from pipelines.data.columns import as_text

    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        kinds: dict[str, list[pa.DataType]] = {}
        for table in tables:
            for field in table.schema:
                kinds.setdefault(field.name, []).append(field.type)
        mixed = [name for name, types in kinds.items() if not _unify(types)]
        for name in mixed:
            tables = [
                table.set_column(table.column_names.index(name), name, as_text(table[name]))
                if name in table.column_names
                else table
                for table in tables
            ]
        return pa.concat_tables(tables, promote_options="permissive")


def _unify(types: list[pa.DataType]) -> bool:
    import pyarrow as pa

    try:
        pa.unify_schemas([pa.schema([("_", kind)]) for kind in types], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True
