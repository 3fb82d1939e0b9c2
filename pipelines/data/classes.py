"""A classification's target as class indices, whether it holds names, indices or yes and no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.data.columns import plain, sample
from pipelines.errors import MlopsError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ClassName = bool | int | str

MISSING = -1
UNKNOWN = -2


class TargetUnusable(MlopsError):
    """The target cannot be learned: missing values, unknown classes, a single class or no number."""


def distinct_classes(column: pa.ChunkedArray) -> tuple[ClassName, ...]:
    """The target's own values in order, as class names. Raises TargetUnusable for fractions."""
    import pyarrow.compute as pc

    values = pc.drop_null(pc.unique(_discrete(column))).to_pylist()
    return tuple(sorted(values))


def class_codes(column: pa.ChunkedArray, classes: Sequence[ClassName]) -> np.ndarray:
    """The index into `classes` of every row, int64 (N,); MISSING or UNKNOWN where there is none.

    Texts are names. Whole numbers and booleans are names where all names are such, and indices where a name
    is a text. Raises TargetUnusable for fractions.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _discrete(column)
    names: list[str] | list[int]
    if pa.types.is_string(values.type):
        names = [str(name).lower() if isinstance(name, bool) else str(name) for name in classes]
    else:
        values = values.cast(pa.int64())
        by_name = not any(isinstance(name, str) for name in classes)
        names = [int(name) for name in classes] if by_name else list(range(len(classes)))
    found = pc.fill_null(pc.index_in(values, pa.array(names), skip_nulls=True), UNKNOWN)
    return np.asarray(pc.if_else(values.is_null(), MISSING, found).to_numpy(), dtype=np.int64)


def encode_target(
    table: pa.Table, target: str, classes: Sequence[ClassName] | None
) -> tuple[np.ndarray, tuple[ClassName, ...]]:
    """Class indices and the classes they point into; without `classes` the target's own values.

    Raises TargetUnusable where a row has none of the classes, or where there are fewer than two.
    """
    import numpy as np

    column = table[target]
    names = tuple(classes) if classes is not None else distinct_classes(column)
    if len(names) < 2:
        raise TargetUnusable(
            f"target {target!r} has a single class, {names[0]!r}" if names else f"target {target!r} has no value",
            hint="a classification needs rows of two classes at least; look at the split, or set data.classes",
        )
    codes = class_codes(column, names)
    bad = np.flatnonzero(codes < 0)
    if len(bad):
        listing = ", ".join(repr(name) for name in names[:12]) + (", …" if len(names) > 12 else "")
        raise TargetUnusable(
            f"target {target!r}: {len(bad)} rows have none of the classes {listing}: "
            + ", ".join(sample(table, target, bad[:3].tolist())),
            hint="set data.classes to all the classes there can be",
        )
    return codes, names


def _discrete(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts, whole numbers or booleans; 1.0 is 1, and NaN is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain(column)
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = column.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid:
            raise TargetUnusable(
                "the target holds fractions, which are no classes", hint="is the task a regression?"
            ) from None
    if pa.types.is_null(kind):
        return column.cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column
    raise TargetUnusable(f"the target holds {kind}; classes are texts, whole numbers or booleans")
