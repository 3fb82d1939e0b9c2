"""What can be wrong with the prediction store, and what of it may be tried again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.errors import MlopsError

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError


class StoreError(MlopsError):
    """Something is wrong with the prediction store."""


class StoreUnavailable(StoreError):
    """Not now: the same call may go well later."""


class StoreAway(StoreUnavailable):
    """The database cannot be reached, or does not let us in."""


class StoreLocked(StoreUnavailable):
    """Somebody else has held a lock for too long."""


class StoreFull(StoreUnavailable):
    """The database's disk is full."""


class StoreUnusable(StoreError):
    """Wrong URL, driver missing, no database or another one's: a person has to look."""


class StoreTooNew(StoreUnusable):
    """A newer program has upgraded the database: this one must not touch it."""


class StoreNotUpgraded(StoreUnusable):
    """A revision could not be run; the database is as it was before."""


class StoreRefused(StoreError):
    """The database does not take these values."""


SQLITE = {
    "SQLITE_BUSY": StoreLocked,
    "SQLITE_LOCKED": StoreLocked,
    "SQLITE_FULL": StoreFull,
    "SQLITE_CANTOPEN": StoreAway,
    "SQLITE_IOERR": StoreAway,
    "SQLITE_READONLY": StoreAway,
    "SQLITE_CORRUPT": StoreUnusable,
    "SQLITE_NOTADB": StoreUnusable,
    "SQLITE_ERROR": StoreUnusable,  # a table or a column is not ours
}
# By the first characters of PostgreSQL's SQLSTATE; the longest match counts.
POSTGRES = {
    "22": StoreRefused,  # data exception
    "23": StoreRefused,  # constraint
    "25006": StoreAway,  # read only: a standby, or a failover under way
    "40": StoreLocked,  # deadlock, serialization
    "42": StoreUnusable,  # a table is not ours, or not allowed
    "53": StoreAway,  # too many connections, out of memory
    "53100": StoreFull,
    "55P03": StoreLocked,
    "57014": StoreLocked,  # statement timeout
}


@contextmanager
def told_as_store_errors(where: str) -> Iterator[None]:
    """What SQLAlchemy and the drivers raise, as the errors of this room. `where`: the URL without its password."""
    from sqlalchemy import exc

    try:
        yield
    except exc.DBAPIError as error:
        kind = _kind_of(error)
        raise kind(f"the prediction store {where}: {_first_line(error.orig)}", hint=_hint(kind)) from error
    except exc.TimeoutError as error:
        raise StoreLocked(f"the prediction store {where}: no connection was free in time") from error


def _kind_of(error: DBAPIError) -> type[StoreError]:
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        found = [kind for start, kind in SQLITE.items() if name.startswith(start)]
        return found[0] if found else StoreRefused
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        starts = sorted((start for start in POSTGRES if state.startswith(start)), key=len)
        return POSTGRES[starts[-1]] if starts else StoreAway
    from sqlalchemy.exc import InterfaceError, OperationalError

    return StoreAway if isinstance(error, OperationalError | InterfaceError) else StoreRefused


def _hint(kind: type[StoreError]) -> str | None:
    if kind is StoreFull:
        return "free space, or keep predictions for a shorter time: monitoring.store.retention in usecase.yaml"
    return None


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
