"""The database behind the store: SQLite or PostgreSQL, opened when it is first needed, and upgraded then."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from pipelines.predictions.store.errors import (
    StoreAway,
    StoreError,
    StoreLocked,
    StoreNotUpgraded,
    StoreTooNew,
    StoreUnavailable,
    StoreUnusable,
    told_as_store_errors,
)
from pipelines.predictions.store.revisions import ALEMBIC, FoundRevision, Revision, Revisions

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

BUSY_SECONDS = 10
STATEMENT_SECONDS = 120
CONNECT_SECONDS = 5
WRITES = "mlops_writes"
TURNS = 7_264_501  # any number, the same in every monitor
UPGRADES = "tables"  # monitors take turns about this; 0.1.0 took the same turn when it made its tables

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatabaseState:
    """Where a database is, and where this program needs it. `missing`: the revisions to run, none if it is too new."""

    found: FoundRevision
    head: str
    missing: list[Revision]
    is_too_new: bool = False


class Database:
    """An engine whose errors are the store's own, and whose tables are there. Threads may share one."""

    def __init__(self, url: str, revisions: Revisions | None = None) -> None:
        self.url = read_url(url)
        self.where = self.url.render_as_string(hide_password=True)
        self.revisions = revisions or Revisions()
        self._engine = make_engine(self.url)
        self._is_prepared = False
        self._guard = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def was_made(self) -> bool:
        """Whether there is something to ask; a file of SQLite is made with the first question."""
        return not self.is_sqlite or Path(self.url.database or "").is_file()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, all or nothing. Raises the errors of `pipelines.predictions.store.errors`."""
        with told_as_store_errors(self.where):
            self._prepare()
            with self._engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view. Raises the errors of `pipelines.predictions.store.errors`."""
        with told_as_store_errors(self.where):
            self._prepare()
            with self._engine.connect() as connection, connection.begin():
                yield connection

    def take_turns(self, connection: Connection, about: str) -> None:
        """From here to the end of the transaction, whoever else asks for a turn about the same waits."""
        from sqlalchemy import text

        if not self.is_sqlite:  # there a writer is alone from its beginning on
            turn = text("SELECT pg_advisory_xact_lock(:lock, hashtext(:about))")
            connection.execute(turn, {"lock": TURNS, "about": about})

    def give_back_space(self, pages: int) -> None:
        """Make SQLite's file smaller by what was deleted. PostgreSQL sees to that itself."""
        if not self.is_sqlite:
            return
        with told_as_store_errors(self.where), contextlib.closing(self._engine.raw_connection()) as connection:
            # It frees one page a step; of the driver's ways to execute, only a script takes all steps.
            connection.driver_connection.executescript(f"PRAGMA incremental_vacuum({pages})")  # type: ignore[union-attr]

    def close(self) -> None:
        self._engine.dispose()

    # --- its tables ---------------------------------------------------------------------------------------

    def state(self) -> DatabaseState:
        """Which revision it has and what is missing; changes nothing. Raises StoreError."""
        if not self.was_made:
            return DatabaseState(FoundRevision(None, is_recorded=False), self.revisions.head, self.revisions.all())
        with told_as_store_errors(self.where), self._engine.connect() as connection:
            found = self.revisions.find(connection, self.where)
        try:
            return DatabaseState(found, self.revisions.head, self.revisions.missing(found, self.where))
        except StoreTooNew:
            return DatabaseState(found, self.revisions.head, [], is_too_new=True)

    def upgrade(self) -> list[Revision]:
        """Run the revisions that are missing, all or none; several monitors may do so at the same time.

        Returns what was run, the oldest first.

        Raises:
            StoreTooNew: a newer program has upgraded it.
            StoreNotUpgraded: a revision failed; nothing was changed.
            StoreUnavailable: not now, such as while another monitor upgrades it.
        """
        self._make_folder()
        with told_as_store_errors(self.where), self._engine.connect() as connection:
            # Only what no upgrade takes away can be looked at before it is this monitor's turn.
            found = self.revisions.recorded(connection)
        if found and not self.revisions.missing(found, self.where):
            return []
        with self._alone(f"to {self.revisions.head}") as connection:
            missing = self._missing(connection)  # another monitor may have been quicker
            if missing:
                self.revisions.upgrade(connection)
        if missing:
            log.info("the prediction store %s was upgraded to revision %s", self.where, self.revisions.head)
        return missing

    def downgrade(self, revision: str) -> None:
        """Undo what came after the revision; what only newer columns hold is lost. Raises what `upgrade` raises."""
        if revision not in self.revisions.ids:
            raise StoreUnusable(f"there is no revision {revision!r}; known are {', '.join(self.revisions.ids)}")
        with self._alone(f"back to {revision}") as connection:
            found = self.revisions.find(connection, self.where)
            if found.revision is None or not found.is_recorded:
                raise StoreUnusable("it has no recorded revision")
            self.revisions.require_known(found.revision, self.where)
            if found.revision <= revision:
                raise StoreUnusable(f"it is at revision {found.revision}")
            self.revisions.downgrade(connection, revision)

    def upgrade_sql(self) -> str:
        """The statements of `upgrade`, for whoever may change tables; changes nothing. Raises StoreError."""
        found = self.state().found
        self.revisions.missing(found, self.where)
        return self.revisions.upgrade_sql(found, self.url.get_backend_name(), "" if self.is_sqlite else _turn(UPGRADES))

    def _missing(self, connection: Connection) -> list[Revision]:
        return self.revisions.missing(self.revisions.find(connection, self.where), self.where)

    @contextmanager
    def _alone(self, where_to: str) -> Iterator[Connection]:
        """A transaction that changes tables, while every other monitor that wants to waits."""
        from alembic import command  # noqa: F401 - what takes a second to import is imported before others wait
        from alembic.util.exc import CommandError
        from sqlalchemy import text

        if not ALEMBIC.acquire(timeout=BUSY_SECONDS):
            raise StoreLocked(f"the prediction store {self.where}: tables are being changed by another thread")
        try:
            with (
                told_as_store_errors(self.where),
                self._engine.connect().execution_options(**{WRITES: True}) as connection,
                connection.begin(),
            ):
                self.take_turns(connection, UPGRADES)
                if not self.is_sqlite:
                    connection.execute(text("SET LOCAL statement_timeout = 0"))  # an index of many rows takes its time
                yield connection
        except (StoreUnavailable, StoreTooNew):
            raise
        except (StoreError, CommandError, NotImplementedError) as error:
            raise StoreNotUpgraded(
                f"the prediction store {self.where} could not be brought {where_to}: {_first_line(error)}; "
                "nothing was changed",
                hint="`mlops store upgrade --sql` prints the statements for whoever may change its tables",
            ) from error
        finally:
            ALEMBIC.release()

    def _prepare(self) -> None:
        """Upgrade it, once."""
        if self._is_prepared:
            return
        if not self._guard.acquire(timeout=BUSY_SECONDS):  # whoever asks must not wait as long as an upgrade may take
            raise StoreLocked(f"the prediction store {self.where} is being upgraded")
        try:
            if not self._is_prepared:
                self.upgrade()
                self._is_prepared = True
        finally:
            self._guard.release()

    def _make_folder(self) -> None:
        if not self.is_sqlite or not self.url.database:
            return
        try:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreAway(f"the prediction store {self.where}: {error.filename}: {error.strerror}") from error


def read_url(text: str) -> URL:
    """An SQLAlchemy URL; `postgres://` and `postgresql://` mean psycopg 3."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except ArgumentError:
        raise StoreUnusable(
            "MLOPS_STORE is no database URL",  # it may hold a password: it is not repeated
            hint="write sqlite:////folder/monitor.db or postgresql://user:password@host/database",
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreUnusable(f"MLOPS_STORE: {url.get_backend_name()} is not supported; allowed: sqlite, postgresql")
    return url


def make_engine(url: URL) -> Engine:
    """The engine with what each database needs to be shared by several processes."""
    import orjson
    from sqlalchemy import create_engine, event

    common: dict[str, Any] = {"json_serializer": _to_json, "json_deserializer": orjson.loads}
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, **common)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = create_engine(
            url,
            connect_args={"connect_timeout": CONNECT_SECONDS},
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=4,
            pool_timeout=BUSY_SECONDS,
            **common,
        )
    except ModuleNotFoundError as error:
        raise StoreUnusable(
            f"the database driver {error.name} is not installed", hint="install the extra: mlops-blueprint[postgres]"
        ) from None
    event.listen(engine, "connect", _set_up_postgres)
    return engine


def _turn(about: str) -> str:
    """`take_turns` as a statement for people; `about` is a constant of ours."""
    return f"SELECT pg_advisory_xact_lock({TURNS}, hashtext('{about}'))"


def _first_line(error: Exception) -> str:
    told = error.message if isinstance(error, StoreError) else str(error)
    return told.strip().splitlines()[0] if told.strip() else type(error).__name__


def _to_json(value: Any) -> str:
    import orjson

    return orjson.dumps(value).decode()


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table: deleted rows give space back
    _log_writes_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _log_writes_ahead(connection: Any) -> None:
    """Its busy timeout does not hold for this change of a new file: who comes second is refused at once, and waits."""
    patience = monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > patience:
                raise
            sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock at the beginning: one that begins as a reader can be refused without waiting."""
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_up_postgres(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        cursor.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()
