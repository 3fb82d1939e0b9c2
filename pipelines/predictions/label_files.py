"""Labels that come as a table: CSV, Parquet or JSON lines, by prediction id or by what identifies a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import MlopsError, one_line
from pipelines.predictions.labels import MOST_LABELS
from pipelines.usecase import UseCase

if TYPE_CHECKING:
    import pandas as pd

ID, KEY, VALUE, OBSERVED_AT = "id", "key", "value", "observed_at"
READERS = {".csv": "read_csv", ".parquet": "read_parquet", ".jsonl": "read_json", ".ndjson": "read_json"}
SEPARATOR = "|"
Bodies = Iterator[dict[str, Any]]


class LabelFileInvalid(MlopsError):
    """A file of labels that cannot be read, or lacks a column."""


def label_batches(
    path: Path, by: Literal["id", "join-key"], usecase: UseCase | None, classes: Sequence[Any] | None
) -> Iterator[dict[str, Any]]:
    """The file as batches for POST /labels. Rows without a true value are left out. Raises LabelFileInvalid."""
    table = _read(path)
    value = _value_column(path, table, usecase)
    names = _ids(path, table) if by == "id" else _keys(path, table, usecase)
    observed = _times(path, table) if OBSERVED_AT in table else [None] * len(table)
    labels = [
        {("id" if by == "id" else "key"): name, "value": as_class(cell, classes), **_when(time)}
        for name, cell, time in zip(names, table[value].tolist(), observed, strict=True)
        if not _is_missing(cell)
    ]
    shared = {"usecase": usecase.name} if usecase is not None else {}
    for start in range(0, len(labels), MOST_LABELS):
        yield {**shared, "labels": labels[start : start + MOST_LABELS]}


def compose_key(values: Sequence[Any]) -> str:
    """What identifies a row, as one text: `2013-04-01T10:05:00Z|UA1545`, in the order of data.checks.unique."""
    return SEPARATOR.join(_text(value) for value in values)


def as_class(cell: Any, classes: Sequence[Any] | None) -> Any:
    """A table's cell as the class it means; files know less of types than JSON. Anything else stays as it is."""
    written = _text(cell)
    return next((name for name in classes or () if _text(name) == written), cell)


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise LabelFileInvalid(f"{path}: the ending {path.suffix!r} is not known; allowed: {', '.join(READERS)}")
    options: dict[str, Any] = {"read_json": {"lines": True, "convert_dates": False}}.get(reader, {})
    try:
        table: pd.DataFrame = getattr(pd, reader)(path, **options)
    except (OSError, ValueError, ImportError) as error:
        raise LabelFileInvalid(f"{path} cannot be read: {one_line(error)}") from error
    return table


def _value_column(path: Path, table: pd.DataFrame, usecase: UseCase | None) -> str:
    wanted = [VALUE, *([usecase.data.target] if usecase else [])]
    found = next((name for name in wanted if name in table), None)
    if found is None:
        raise LabelFileInvalid(f"{path} has no column {' or '.join(wanted)}; columns: {_columns(table)}")
    return found


def _ids(path: Path, table: pd.DataFrame) -> list[Any]:
    if ID not in table:
        raise LabelFileInvalid(
            f"{path} has no column {ID}; columns: {_columns(table)}",
            hint="--by join-key takes tables that know no prediction ids",
        )
    return list(table[ID].tolist())


def _keys(path: Path, table: pd.DataFrame, usecase: UseCase | None) -> list[str]:
    if KEY in table:
        return [_text(value) for value in table[KEY].tolist()]
    columns = list(usecase.data.checks.unique) if usecase else []
    missing = [name for name in columns if name not in table]
    if not columns or missing:
        unique = f", or all of data.checks.unique ({', '.join(columns)})" if columns else ""
        raise LabelFileInvalid(
            f"{path} has no column {KEY}{unique}; columns: {_columns(table)}",
            hint=None if columns else "name in data.checks.unique what identifies a row, or give a column `key`",
        )
    cells = [_times(path, table, name) if _is_time(table[name]) else table[name].tolist() for name in columns]
    if usecase and usecase.data.time in columns:
        at = columns.index(usecase.data.time)
        cells[at] = _times(path, table, columns[at])
    return [compose_key(row) for row in zip(*cells, strict=True)]


def _is_time(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_datetime64_any_dtype(column))


def _times(path: Path, table: pd.DataFrame, name: str = OBSERVED_AT) -> list[datetime | None]:
    """Times without a zone are UTC."""
    import pandas as pd

    try:
        times = pd.to_datetime(table[name], utc=True, format=None if _is_time(table[name]) else "ISO8601")
    except (ValueError, TypeError) as error:
        raise LabelFileInvalid(f"{path}: column {name} holds something that is no time: {error}") from None
    return [None if pd.isna(time) else time.to_pydatetime() for time in times]


def _when(time: datetime | None) -> dict[str, str]:
    return {} if time is None else {OBSERVED_AT: time.isoformat()}


def _is_missing(cell: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(cell))


def _text(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return f"{aware:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if str(value) in ("True", "False") else str(value)


def _columns(table: pd.DataFrame) -> str:
    return ", ".join(str(name) for name in table.columns) or "none"
