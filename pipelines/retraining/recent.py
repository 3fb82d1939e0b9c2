"""The newest requests for runs, for whoever only wants to show them.

A SQLite file is read without SQLAlchemy, whose import costs more than all of `mlops status` otherwise.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines.retraining.triggers import TriggerRecord

SQLITE = "sqlite:///"
MOMENTS = {"requested_at", "next_attempt", "started_at", "ended_at"}  # SQLite holds them in UTC, without saying so


def recent_requests(store: str, limit: int) -> list[TriggerRecord]:
    """The newest first, of the prediction store at the URL `store`; none where there was never a monitor.

    Raises StoreError where the database is away.
    """
    path = Path(store.removeprefix(SQLITE))
    if store.startswith(SQLITE) and "?" not in store:
        if not path.is_file():
            return []
        try:
            return _read(path, limit)
        except sqlite3.Error:  # the store itself names what is wrong
            pass
    return _ask(store, limit)


def _read(path: Path, limit: int) -> list[TriggerRecord]:
    names = list(TriggerRecord.model_fields)
    query = f"SELECT {', '.join(names)} FROM triggers ORDER BY requested_at DESC, id DESC LIMIT ?"  # noqa: S608
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        rows = connection.execute(query, (limit,)).fetchall()
    return [TriggerRecord.model_validate(dict(map(_with_zone, names, row))) for row in rows]


def _with_zone(name: str, value: Any) -> tuple[str, Any]:
    return name, f"{value}+00:00" if name in MOMENTS and value is not None else value


def _ask(store: str, limit: int) -> list[TriggerRecord]:
    from pipelines.predictions.store.store import Store
    from pipelines.retraining.queue import TriggerTable

    opened = Store.open(store)
    try:
        return TriggerTable(opened.database).newest(limit=limit) if opened.database.was_made else []
    finally:
        opened.close()
