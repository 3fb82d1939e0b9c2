"""A table's rows parted into training, validation and test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import MlopsError
from pipelines.metric_catalog import Task
from pipelines.usecase.model import Data, GivenSplit, RandomSplit, TimeSplit

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")


class EmptyPart(MlopsError):
    """The split leaves nothing to train, validate or test on."""


class UnknownPart(MlopsError):
    """The split's column holds something else than train, validation and test."""


class RowWithoutTime(MlopsError):
    """A row cannot be placed by time."""


@dataclass(frozen=True)
class Splits:
    """Three tables that share no row; each keeps the order of the rows."""

    train: pa.Table
    validation: pa.Table
    test: pa.Table


def split(table: pa.Table, data: Data, task: Task, seed: int) -> Splits:
    """Part the rows as usecase.yaml says. The same table and seed always give the same parts.

    Raises EmptyPart, UnknownPart or RowWithoutTime.
    """
    rule = data.split
    if isinstance(rule, TimeSplit):
        assert data.time is not None  # noqa: S101 - the schema asks for it
        parts = _by_time(table, data.time, rule)
    elif isinstance(rule, RandomSplit):
        strata = table[data.target] if task == "classification" else None
        parts = _at_random(table.num_rows, strata, rule, seed)
    else:
        parts = _as_given(table, rule)
    _require_rows(parts, table, data)
    return Splits(*(table.filter(_mask(parts == part)) for part in (TRAIN, VALIDATION, TEST)))


def _by_time(table: pa.Table, time: str, rule: TimeSplit) -> np.ndarray:
    """Counted back from the newest row; a row exactly on a border belongs to the older part."""
    import numpy as np

    from pipelines.data.columns import as_utc_time

    column = as_utc_time(table[time], time)
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise RowWithoutTime(f"data.split: {column.null_count} rows have no {time}, the first is row {row}")
    ticks = column.cast("int64").to_numpy()
    newest = ticks.max() if len(ticks) else 0
    test_from = newest - round(rule.test.total_seconds() * 1e6)
    validation_from = test_from - round(rule.validation.total_seconds() * 1e6)
    return np.where(ticks > test_from, TEST, np.where(ticks > validation_from, VALIDATION, TRAIN))


def _at_random(rows: int, strata: pa.ChunkedArray | None, rule: RandomSplit, seed: int) -> np.ndarray:
    """Rows ranked by the raw output of PCG64, whose stream NumPy promises never to change."""
    import numpy as np

    ranks = np.random.PCG64(seed).random_raw(rows)
    parts = np.full(rows, TRAIN)
    for members in _groups(rows, strata):
        shuffled = members[np.argsort(ranks[members], kind="stable")]
        tested, validated = _shares(len(members), rule)
        parts[shuffled[:tested]] = TEST
        parts[shuffled[tested : tested + validated]] = VALIDATION
    return parts


def _shares(rows: int, rule: RandomSplit) -> tuple[int, int]:
    """Rounded to whole rows; one row of each class always stays in the training."""
    tested = min(math.floor(rows * rule.test + 0.5), max(rows - 1, 0))
    validated = min(math.floor(rows * rule.validation + 0.5), max(rows - 1 - tested, 0))
    return tested, validated


def _groups(rows: int, strata: pa.ChunkedArray | None) -> list[np.ndarray]:
    import numpy as np

    from pipelines.data.columns import plain

    if strata is None or not rows:
        return [np.arange(rows)]
    codes = plain(strata).combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    return [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]


def _as_given(table: pa.Table, rule: GivenSplit) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipelines.data.columns import as_text, sample

    found = pc.index_in(as_text(table[rule.column]), pa.array(PARTS))
    strangers = np.flatnonzero(found.is_null().to_numpy())
    if len(strangers):
        rows = ", ".join(sample(table, rule.column, strangers[:3].tolist()))
        raise UnknownPart(
            f"data.split: column {rule.column!r} must hold train, validation or test; "
            f"{len(strangers)} rows hold something else: {rows}"
        )
    return np.asarray(found.to_numpy())


def _require_rows(parts: np.ndarray, table: pa.Table, data: Data) -> None:
    import pyarrow.compute as pc

    counts = [int((parts == part).sum()) for part in (TRAIN, VALIDATION, TEST)]
    if all(counts):
        return
    empty = " and ".join(name for name, count in zip(PARTS, counts, strict=True) if not count)
    got = ", ".join(f"{name} {count}" for name, count in zip(PARTS, counts, strict=True))
    span = ""
    if data.time and table.num_rows:
        times = pc.min_max(table[data.time]).as_py()
        span = f"; {data.time} goes from {times['min']} to {times['max']}"
    raise EmptyPart(
        f"data.split by {data.split.by} leaves nothing for {empty}: {got} of {table.num_rows} rows{span}",
        hint="take shorter durations or smaller shares, or more data",
    )


def _mask(chosen: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(chosen)
