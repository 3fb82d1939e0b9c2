"""Arrow columns as this package needs them: tensors, texts and times, whatever way a source wrote them."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipelines.errors import MlopsError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class TimeUnreadable(MlopsError):
    """A value of the time column says no time."""


def tensor_column(values: np.ndarray) -> pa.Array:
    """An (N, *shape) array as N cells of that shape, without a copy where the memory is in row order."""
    import numpy as np
    import pyarrow as pa

    shape = list(values.shape[1:])
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(flat, math.prod(shape))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, shape), storage)


def is_tensor(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return isinstance(column.type, pa.FixedShapeTensorType)


def is_number(column: pa.ChunkedArray) -> bool:
    """Whole or floating point; booleans are no numbers."""
    import pyarrow as pa

    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def is_text(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    kind = column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_nested(column: pa.ChunkedArray) -> bool:
    """Lists, tensors, structures or raw bytes: nothing that is one readable value."""
    import pyarrow as pa

    kind = column.type
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return bool(pa.types.is_nested(kind) or binary or isinstance(kind, pa.BaseExtensionType))


def tensor_values(column: pa.ChunkedArray) -> np.ndarray:
    """The (N, *shape) array behind a tensor column; read-only where it shares the table's memory."""
    import numpy as np

    shape = tuple(column.type.shape)
    parts = [chunk.storage.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    if not parts:
        return np.empty((0, *shape), dtype=column.type.value_type.to_pandas_dtype())
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.reshape(-1, *shape)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without dictionary encoding or large offsets, so that equal content has equal bytes."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return plain(column.cast(column.type.value_type))
    return column.cast(pa.string()) if is_text(column) else column


def as_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers, with NaN as missing. What cannot be converted comes back as it is: the checks name its rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain(column)
    kind = column.type
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8())
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64())
    if pa.types.is_string(kind):
        trimmed = pc.utf8_trim_whitespace(column)
        try:
            column = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed).cast(pa.float64())
        except pa.ArrowInvalid:
            return column
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every value as text: 3.0 in a column of whole numbers is "3", a time is ISO 8601, missing stays missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain(column)
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        with suppress(pa.ArrowInvalid):
            column = column.cast(pa.int64())
    if pa.types.is_timestamp(kind) and kind.unit != "s":
        with suppress(pa.ArrowInvalid):
            column = column.cast(pa.timestamp("s", kind.tz))
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]], pa.string())


def as_tensor(column: pa.ChunkedArray, shape: tuple[int, ...], dtype: str) -> pa.ChunkedArray:
    """Cells of this shape and dtype from lists or tensors; what does not fit comes back as it is."""
    import pyarrow as pa

    if column.null_count or not len(column):
        return column
    target = pa.fixed_shape_tensor(getattr(pa, dtype)(), list(shape))
    found = tuple(column.type.shape) if is_tensor(column) else None
    if column.type == target or (found is not None and found != shape):
        return column
    array = pa.concat_arrays([chunk.storage if found else chunk for chunk in column.chunks])
    flat, sizes = _flatten(array)
    if flat is None or flat.null_count or sizes not in (list(shape), [math.prod(shape)]):
        return column
    try:
        values = flat.cast(getattr(pa, dtype)())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column
    storage = pa.FixedSizeListArray.from_arrays(values, math.prod(shape))
    return pa.chunked_array([pa.ExtensionArray.from_storage(target, storage)])


def as_utc_time(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Microseconds in UTC from timestamps, dates or ISO 8601 texts; a time without a zone is UTC.

    Raises TimeUnreadable, naming the first row that says no time.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain(column)
    kind = column.type
    utc = pa.timestamp("us", "UTC")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_null(kind):
        micro = column.cast(pa.timestamp("us", kind.tz if pa.types.is_timestamp(kind) else None), safe=False)
        return micro.cast(utc) if micro.type.tz else pc.assume_timezone(micro, "UTC")
    if pa.types.is_string(kind):
        failures = []
        for form in (utc, pa.timestamp("us")):
            try:
                parsed = column.cast(form)
            except pa.ArrowInvalid:
                failures.append(_first_uncastable(column, form))
            else:
                return parsed if parsed.type.tz else pc.assume_timezone(parsed, "UTC")
        row = max(failures)
        raise TimeUnreadable(
            f"data.time: column {name!r}, row {row}: {column[row].as_py()!r} is "
            f"no time{' like the rows before it' if row else ''}; "
            "write every time as ISO 8601, such as 2013-01-31T05:15:00Z, all with or all without a zone"
        )
    raise TimeUnreadable(
        f"data.time: column {name!r} holds {kind}; it must hold timestamps, dates or ISO 8601 texts",
        hint="turn counted seconds into timestamps in load() or in the query",
    )


def sample(table: pa.Table, column: str, rows: list[int]) -> list[str]:
    """`row 17: -5.0` for each of these rows."""
    return [f"row {row}: {short(table[column][row].as_py())}" for row in rows]


def short(value: Any) -> str:
    """A value as people read it, cut where it is long."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _flatten(array: pa.Array) -> tuple[pa.Array | None, list[int]]:
    """The innermost values of nested lists and the length of each level; None where lengths differ."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sizes: list[int] = []
    while pa.types.is_nested(array.type) and not pa.types.is_struct(array.type):
        lengths = pc.min_max(pc.list_value_length(array)).as_py()
        if array.null_count or lengths["min"] != lengths["max"] or not lengths["min"]:
            return None, sizes
        sizes.append(lengths["min"])
        array = array.flatten()
    return array, sizes


def _first_uncastable(column: pa.ChunkedArray, form: pa.DataType) -> int:
    """Found by halving: a cast says that it fails, not where."""
    import pyarrow as pa

    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(form)
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low
