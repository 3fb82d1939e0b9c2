"""Examples: a part of the data as the arrays a trainer and a model take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.data.classes import ClassName, TargetUnusable, encode_target
from pipelines.data.columns import (
    as_number,
    as_tensor,
    as_text,
    as_utc_time,
    is_nested,
    is_number,
    is_tensor,
    sample,
    tensor_values,
)
from pipelines.errors import MlopsError
from pipelines.usecase.model import CategoryFeature, Feature, NumberFeature, UseCase

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class ColumnUnusable(MlopsError):
    """A feature does not hold what usecase.yaml declares; the data checks would have said so."""


@dataclass(frozen=True)
class Examples:
    """N examples.

    columns  what the model takes, in order: number float32 (N,) with NaN for missing, category object of str (N,)
             with "" for missing, tensor (N, *shape) of its dtype. Arrays may be read-only.
    target   class indices int64 (N,) into `classes`, or float64 (N,) in a regression
    classes  the classes' names, or None in a regression
    kept     what the model is not shown but people ask about: data.keep, data.time (ISO 8601), every category
             and every slice, object of str (N,) with "" for missing; a class by its name
    """

    columns: dict[str, np.ndarray]
    target: np.ndarray
    classes: tuple[ClassName, ...] | None
    kept: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def from_table(cls, table: pa.Table, usecase: UseCase, classes: Sequence[ClassName] | None = None) -> Examples:
        """Turn a table into arrays. `classes` are the training's, where data.classes does not say them.

        Raises ColumnUnusable, TargetUnusable or TimeUnreadable.
        """
        import numpy as np

        data = usecase.data
        columns = {name: _feature(table, name, feature) for name, feature in data.features.items()}
        if usecase.task == "classification":
            target, names = encode_target(table, data.target, classes or data.classes)
            kept = _kept(table, usecase, columns)
            if data.target in kept:
                kept[data.target] = np.array([str(name) for name in names], dtype=object)[target]
            return cls(columns, target, names, kept)
        return cls(columns, _number_target(table, data.target), None, _kept(table, usecase, columns))

    def frame(self) -> pd.DataFrame:
        """The features of one value a row as a DataFrame; tensors are left out."""
        import pandas as pd

        # Texts stay objects with any pandas: its third edition would make them a type of their own.
        columns = {
            name: pd.Series(values, dtype=values.dtype) for name, values in self.columns.items() if values.ndim == 1
        }
        return pd.DataFrame(columns)


def _feature(table: pa.Table, name: str, feature: Feature) -> np.ndarray:
    import numpy as np

    column = table[name]
    if isinstance(feature, NumberFeature):
        column = as_number(column)
        if not is_number(column):
            raise ColumnUnusable(f"feature {name!r} is declared a number, but the data holds {column.type}")
        return np.asarray(column.cast("float64", safe=False).to_numpy(), dtype=np.float32)
    if isinstance(feature, CategoryFeature):
        if is_nested(column):
            raise ColumnUnusable(f"feature {name!r} is declared a category, but the data holds {column.type}")
        return _texts(column)
    column = as_tensor(column, feature.shape, feature.dtype)
    if not len(column):
        return np.empty((0, *feature.shape), dtype=feature.dtype)
    if not is_tensor(column) or tuple(column.type.shape) != feature.shape or column.null_count:
        raise ColumnUnusable(
            f"feature {name!r} is declared {feature.dtype} of shape {list(feature.shape)}, "
            f"but the data holds {column.type}{' with missing cells' if column.null_count else ''}"
        )
    values = tensor_values(column)
    if values.dtype != feature.dtype:
        raise ColumnUnusable(f"feature {name!r} is declared {feature.dtype}, but the data holds {values.dtype}")
    return values


def _kept(table: pa.Table, usecase: UseCase, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    data = usecase.data
    categories = [name for name, feature in data.features.items() if isinstance(feature, CategoryFeature)]
    names = [*data.keep, *([data.time] if data.time else []), *categories, *usecase.reported_slices]
    kept = {}
    for name in dict.fromkeys(names):
        if name in categories:
            kept[name] = columns[name]
        elif not is_nested(table[name]):
            kept[name] = _texts(as_utc_time(table[name], name) if name == data.time else table[name])
    return kept


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    import numpy as np
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(as_text(column), "").to_numpy(), dtype=object)


def _number_target(table: pa.Table, target: str) -> np.ndarray:
    import numpy as np

    column = as_number(table[target])
    if not is_number(column):
        raise TargetUnusable(f"target {target!r} holds {column.type}; a regression needs numbers")
    values = column.cast("float64", safe=False).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise TargetUnusable(
            f"target {target!r}: {len(bad)} rows are missing or infinite: "
            + ", ".join(sample(table, target, bad[:3].tolist())),
            hint="leave such rows out in load() or in the query",
        )
    return np.asarray(values, dtype=np.float64)
