"""Reading predictions back: samples in bounded memory, counts of everything."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select

from pipelines.predictions.source import Coverage
from pipelines.predictions.store import schema
from pipelines.predictions.store.rows import Counts

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import ColumnElement, Connection

FETCHED_ROWS = 1000
LAGS = 20_000
HASHES = 2**32
TENSOR = "tensor"

Window = tuple[str, str, datetime, datetime, str | None]


def read_predictions(connection: Connection, window: Window, limit: int) -> pd.DataFrame:
    """At most `limit` of the window's, evenly at random and always the same ones, by time."""
    table = schema.predictions.c
    columns = (table.id, table.time, table.bento, table.inputs, table.label, table.confidence, table.value)
    total = _count(connection, window)
    return _frame(connection, select(*columns), window, total, limit)


def read_joined(connection: Connection, window: Window, limit: int) -> pd.DataFrame:
    """The same of those whose true value is known, with `output`, `truth` and `observed_at`."""
    table, label = schema.predictions.c, schema.labels.c
    columns = (
        *(table.id, table.time, table.bento, table.inputs, table.output, table.label, table.confidence, table.value),
        *(label.value.label("truth"), label.observed_at),
    )
    total = _count(connection, window, labelled=True)
    return _frame(connection, _with_labels(select(*columns)), window, total, limit)


def read_coverage(connection: Connection, window: Window) -> Coverage:
    """Of how many predictions the true value is known, and how long it took to come."""
    total, labelled = _count(connection, window), _count(connection, window, labelled=True)
    if not labelled:
        return Coverage(predictions=total, labelled=0)
    import numpy as np

    table, label = schema.predictions.c, schema.labels.c
    chosen = _sampled(_with_labels(select(table.time, label.received)), window, labelled, LAGS)
    lags = [(received - made).total_seconds() for made, received in connection.execute(chosen)]
    median, late = (max(0.0, float(value)) for value in np.quantile(lags, [0.5, 0.95]))
    return Coverage(total, labelled, lag_median_seconds=median, lag_p95_seconds=late)


def read_counts(connection: Connection, usecase: str) -> Counts:
    table, label, keys = schema.predictions.c, schema.labels.c, schema.key_labels.c
    conflicts, losses = schema.label_conflicts.c, schema.losses.c
    made = connection.execute(
        select(func.count(), func.min(table.time), func.max(table.time)).where(table.usecase == usecase)
    ).one()
    known = select(schema.predictions.c.id).where(table.id == label.prediction_id).exists()
    used = select(table.id).where(table.usecase == keys.usecase, table.join_key == keys.join_key).exists()
    lost = select(losses.reason, func.sum(losses.count)).where(losses.usecase == usecase).group_by(losses.reason)
    return Counts(
        predictions=made[0],
        labels=_scalar(connection, select(func.count()).where(label.usecase == usecase, known)),
        pending_labels=_scalar(connection, select(func.count()).where(label.usecase == usecase, ~known)),
        pending_keys=_scalar(connection, select(func.count()).where(keys.usecase == usecase, ~used)),
        conflicts=_scalar(connection, select(func.count()).where(conflicts.usecase == usecase)),
        losses={reason: int(count) for reason, count in connection.execute(lost)},
        oldest=made[1],
        newest=made[2],
    )


def read_signature(connection: Connection, usecase: str) -> dict[str, Any] | None:
    """What the model of the use case that answered last takes and gives."""
    table = schema.bentos.c
    latest = select(table.signature).where(table.usecase == usecase).order_by(table.last_seen.desc()).limit(1)
    found: dict[str, Any] | None = connection.execute(latest).scalar()
    return found


def pack_tensor(values: Any) -> dict[str, Any]:
    """An array as it is stored: raw bytes take a third of the space of a list of numbers, and a tenth of the time."""
    data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    told = base64.b64encode(data).decode()
    return {TENSOR: told, "dtype": values.dtype.name, "shape": list(values.shape)}


def unpack_inputs(inputs: dict[str, Any] | None) -> dict[str, Any]:
    """Stored inputs as they were sent; tensors as arrays."""
    return {name: _unpack(value) for name, value in (inputs or {}).items()}


def _unpack(value: Any) -> Any:
    if not isinstance(value, dict) or TENSOR not in value:
        return value
    import numpy as np

    dtype = np.dtype(value["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(value[TENSOR]), dtype=dtype).reshape(value["shape"])


def _frame(connection: Connection, query: Select[Any], window: Window, total: int, limit: int) -> pd.DataFrame:
    import pandas as pd

    result = connection.execution_options(yield_per=FETCHED_ROWS).execute(_sampled(query, window, total, limit))
    names = list(result.keys())
    cells: dict[str, list[Any]] = {name: [] for name in names}
    for row in result:
        for name, value in zip(names, row, strict=True):
            cells[name].append(unpack_inputs(value) if name == "inputs" else value)
    frame = pd.DataFrame({name: pd.Series(values, dtype=_dtype(name)) for name, values in cells.items()})
    return frame.sort_values(["time", "id"], ignore_index=True)


def _dtype(name: str) -> str:
    return {"confidence": "float64", "value": "float64"}.get(name, _time_dtype(name))


def _time_dtype(name: str) -> str:
    return "datetime64[us, UTC]" if name in ("time", "observed_at") else "object"


def _sampled(query: Select[Any], window: Window, total: int, limit: int) -> Select[Any]:
    """Those with the smallest hashes. What is surely too big is left out before it is sorted."""
    query = query.where(*_within(window))
    if total <= limit:
        return query
    share = limit / total
    most = share + 6 * (share / total) ** 0.5  # six standard deviations: practically never too few
    sample = schema.predictions.c.sample
    return query.where(sample < int(most * HASHES)).order_by(sample, schema.predictions.c.id).limit(limit)


def _within(window: Window) -> list[ColumnElement[bool]]:
    usecase, environment, since, until, bento = window
    table = schema.predictions.c
    found = [table.usecase == usecase, table.environment == environment, table.time >= since, table.time < until]
    return [*found, table.bento == bento] if bento is not None else found


def _with_labels(query: Select[Any]) -> Select[Any]:
    joined = schema.predictions.join(schema.labels, schema.labels.c.prediction_id == schema.predictions.c.id)
    return query.select_from(joined)


def _count(connection: Connection, window: Window, *, labelled: bool = False) -> int:
    query = select(func.count(schema.predictions.c.sample))
    return _scalar(connection, (_with_labels(query) if labelled else query).where(*_within(window)))


def _scalar(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(query).scalar() or 0)
