"""Data kept as Parquet under the hash of its own bytes: that hash is the data's version.

<store>/<use case>/<sha256>.parquet     `sha256sum` of the file gives its name
"""

from __future__ import annotations

import hashlib
import posixpath
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data.columns import as_number, as_tensor, as_text, as_utc_time, is_nested, plain
from pipelines.data.parquet import decode, encode
from pipelines.data.sources.files import open_filesystem
from pipelines.data.sources.load import honours_as_of, load_table
from pipelines.documents import Document
from pipelines.errors import MlopsError, did_you_mean
from pipelines.usecase.model import CategoryFeature, Data, NumberFeature, TensorFeature, UseCase

if TYPE_CHECKING:
    import pyarrow as pa


REFRESH_AFTER = timedelta(days=1)


class ColumnMissing(MlopsError):
    """The source lacks a column that usecase.yaml names, or has it twice."""


class NoRows(MlopsError):
    """The source has no row, or none that was known at the run's date."""


class SnapshotMissing(MlopsError):
    """There is no such snapshot in the store."""


class SnapshotCorrupted(MlopsError):
    """A snapshot's bytes are not those it is named for."""


class SnapshotStoreFailed(MlopsError):
    """The store cannot be read or written."""


class DataRef(Document):
    """One snapshot. `as_of` is the date whose knowledge it holds, or None for everything there was."""

    KIND = "data-ref"

    usecase: str
    sha256: str
    uri: str
    rows: int
    columns: list[str]
    as_of: str | None = None

    @property
    def version(self) -> str:
        """The data's name in logs, releases and traces."""
        return self.sha256[:12]


def take_snapshot(usecase: UseCase, folder: Path, store: str, as_of: datetime | None) -> DataRef:
    """Load the use case's data as it was known at `as_of` (UTC where it has no zone) and keep it in `store`.

    Equal content gives the same file, which is written once. Raises ColumnMissing, NoRows,
    SnapshotStoreFailed, TimeUnreadable and what load_table raises.
    """
    as_of = _utc(as_of)
    table = prepare(load_table(usecase.data.source, folder, as_of), usecase.data, as_of)
    content = encode(table)
    sha256 = hashlib.sha256(content).hexdigest()
    return DataRef(
        usecase=usecase.name,
        sha256=sha256,
        uri=_keep(content, sha256, usecase.name, store),
        rows=table.num_rows,
        columns=table.column_names,
        as_of=as_of.isoformat() if as_of and honours_as_of(usecase.data, folder) else None,
    )


def open_snapshot(ref: DataRef) -> pa.Table:
    """The snapshot's table, after its hash is verified. Raises SnapshotMissing or SnapshotCorrupted."""
    fs, path = open_filesystem(ref.uri, Path.cwd())
    try:
        content = fs.cat_file(path)
    except FileNotFoundError:
        raise SnapshotMissing(
            f"{ref.usecase}: no data snapshot {ref.version} at {ref.uri}",
            hint="take it again: the same code and data give the same snapshot; or set MLOPS_SNAPSHOTS to its store",
        ) from None
    except Exception as error:
        raise SnapshotStoreFailed(f"{ref.uri} cannot be read: {type(error).__name__}: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != ref.sha256:
        raise SnapshotCorrupted(
            f"{ref.usecase}: {ref.uri} has the hash {found[:12]}, not {ref.version}: it was changed or cut off",
            hint="run the snapshot step again: it replaces the file",
        )
    return decode(content)


def prepare(table: pa.Table, data: Data, as_of: datetime | None) -> pa.Table:
    """The configured columns in order and in their declared types, the rows known at `as_of`, by time.

    A value that does not convert to its declared type stays as it came: the data checks name its row.
    """
    _require_columns(table, data)
    table = table.select(data.columns)
    for index, name in enumerate(data.columns):
        column = table[name]
        is_time = name == data.time
        column = as_utc_time(column, name) if is_time else _convert(column, data.features.get(name))
        table = table.set_column(index, name, column)
    if not table.num_rows:
        raise NoRows("data.source gave no row", hint="see whether the query or the file pattern is right")
    if data.time:
        table = _known_at(table, data, as_of)
        table = _by_time(table, data.time)
    return table.combine_chunks().replace_schema_metadata(None)


def _convert(column: pa.ChunkedArray, feature: Any) -> pa.ChunkedArray:
    if isinstance(feature, NumberFeature):
        return as_number(column)
    if isinstance(feature, CategoryFeature) and not is_nested(column):
        return as_text(column)
    if isinstance(feature, TensorFeature):
        return as_tensor(column, feature.shape, feature.dtype)
    return plain(column)


def _require_columns(table: pa.Table, data: Data) -> None:
    there = list(table.column_names)
    roles = {data.target: "data.target", data.time: "data.time"}
    for name in data.columns:
        key = roles.get(name) or ("data.features" if name in data.features else "data.keep or data.split")
        if name not in there:
            guess = did_you_mean(name, there)
            raise ColumnMissing(
                f"{key}: the source has no column {name!r}{guess}; columns there: {', '.join(there) or 'none'}",
                hint="name the column as the source does, or rename it in load() or in the query",
            )
        if there.count(name) > 1:
            raise ColumnMissing(f"{key}: the source has {there.count(name)} columns named {name!r}; keep one")


def _known_at(table: pa.Table, data: Data, as_of: datetime | None) -> pa.Table:
    """Rows without a time stay in: the data checks name them."""
    import pyarrow.compute as pc

    if as_of is None:
        return table
    limit = as_of - data.labels_after if data.labels_after else as_of
    known = table.filter(pc.fill_null(pc.less_equal(table[data.time], limit), True))
    if known.num_rows:
        return known
    span = pc.min_max(table[data.time]).as_py()
    late = " plus data.labels_after" if data.labels_after else ""
    raise NoRows(
        f"no row was known at {as_of.isoformat()}: {data.time}{late} must not be later, "
        f"and the data goes from {span['min'].isoformat()} to {span['max'].isoformat()}",
        hint="ask for a later date",
    )


def _by_time(table: pa.Table, time: str) -> pa.Table:
    import numpy as np
    import pyarrow.compute as pc

    if not table[time].null_count:
        ticks = table[time].cast("int64").to_numpy()
        if bool(np.all(ticks[1:] >= ticks[:-1])):
            return table
    return table.take(pc.sort_indices(table, sort_keys=[(time, "ascending")]))


def _keep(content: bytes, sha256: str, usecase: str, store: str) -> str:
    """Write the file unless it is there and whole; gives its URI."""
    base = store if "://" in store else str(Path(store).absolute())
    uri = f"{base.rstrip('/')}/{usecase}/{sha256}.parquet"
    fs, path = open_filesystem(uri, Path.cwd())
    folder = posixpath.dirname(path)
    temporary = f"{folder}/.{sha256[:12]}-{secrets.token_hex(4)}.tmp"
    try:
        if _is_whole(fs, path, content) and _is_recent(fs, path):
            return uri
        fs.makedirs(folder, exist_ok=True)
        try:
            fs.pipe_file(temporary, content)
            fs.mv(temporary, path)
        except BaseException:
            if fs.exists(temporary):
                fs.rm_file(temporary)
            raise
    except Exception as error:
        raise SnapshotStoreFailed(
            f"the snapshot {uri} cannot be written: {type(error).__name__}: {error}",
            hint="MLOPS_SNAPSHOTS must name a place that this process may read and write, with room left",
        ) from error
    return uri


def _is_recent(fs: Any, path: str) -> bool:
    """Whether `mlops clean`, which counts from the last use, sees it as used now. A store without times keeps all."""
    try:
        changed = fs.modified(path)
    except NotImplementedError:
        return True
    return bool(datetime.now(UTC) - changed.replace(tzinfo=changed.tzinfo or UTC) < REFRESH_AFTER)


def _is_whole(fs: Any, path: str, content: bytes) -> bool:
    fs.invalidate_cache()
    if not fs.exists(path) or fs.size(path) != len(content):
        return False
    return bool(fs.cat_file(path) == content)


def _utc(time: datetime | None) -> datetime | None:
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
