"""Slices: the rows of a data set that share a value of one column."""

import math
from collections.abc import Iterator

import numpy as np

from pipelines.errors import MlopsError

MISSING = "(missing)"
MOST_SLICES = 500


class SlicesInvalid(MlopsError):
    """A slice column has the wrong length, or so many values that it is no slice."""


def slices_of(column: str, cells: np.ndarray, rows: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each value of the column with the indices of its rows; numbers in order of size, texts by name.

    Raises SlicesInvalid.
    """
    if len(cells) != rows:
        raise SlicesInvalid(f"slice column {column} has {len(cells)} rows; the target has {rows}")
    values, codes = np.unique(_labels(cells), return_inverse=True)
    if len(values) > MOST_SLICES:
        raise SlicesInvalid(
            f"slice column {column} has {len(values)} different values; at most {MOST_SLICES} make sense",
            hint="name a column with few values, or make one by grouping them, in evaluation.slices and its gates",
        )
    ends = np.cumsum(np.bincount(codes, minlength=len(values)))
    groups = np.split(np.argsort(codes, kind="stable"), ends[:-1])
    labels = [str(value) for value in values]
    for index in sorted(range(len(labels)), key=lambda index: _rank(labels[index])):
        yield labels[index], groups[index]


def _labels(cells: np.ndarray) -> np.ndarray:
    if cells.dtype.kind == "M":
        cells = cells.astype(str).astype(object)
    return np.array([_label(cell) for cell in cells.tolist()], dtype=str)


def _label(cell: object) -> str:
    text = str(cell)
    if text in ("", "NaT") or (not isinstance(cell, str) and text in ("None", "nan", "<NA>")):
        return MISSING
    return text


def _rank(label: str) -> tuple[int, float, str]:
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (0, number, label) if math.isfinite(number) else (1, 0.0, label)
