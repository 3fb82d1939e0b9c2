"""The database behind the store: SQLite or PostgreSQL, opened when it is first needed."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from pipelines.predictions.store.errors import StoreAway, StoreUnusable, told_as_store_errors

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, MetaData

BUSY_SECONDS = 10
STATEMENT_SECONDS = 120
CONNECT_SECONDS = 5
WRITES = "mlops_writes"
TURNS = 7_264_501  # any number, the same in every monitor


class Database:
    """An engine whose errors are the store's own, and whose tables are there. Threads may share one."""

    def __init__(self, url: str, metadata: MetaData, version: int) -> None:
        self.url = read_url(url)
        self.where = self.url.render_as_string(hide_password=True)
        self._metadata, self._version = metadata, version
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

    def _prepare(self) -> None:
        """Make the tables that are not there yet, once; several monitors may do so at the same time."""
        if self._is_prepared:
            return
        with self._guard:
            if self._is_prepared:
                return
            self._make_folder()
            with self._engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
                self._make_tables(connection)
            self._is_prepared = True

    def _make_folder(self) -> None:
        if not self.is_sqlite or not self.url.database:
            return
        try:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreAway(f"the prediction store {self.where}: {error.filename}: {error.strerror}") from error

    def _make_tables(self, connection: Connection) -> None:
        from sqlalchemy import insert, select

        self.take_turns(connection, "tables")
        self._metadata.create_all(connection)
        versions = self._metadata.tables["store_version"]
        found = connection.execute(select(versions.c.version)).scalar()
        if found is None:
            connection.execute(insert(versions).values(version=self._version))
        elif found != self._version:
            raise StoreUnusable(
                f"the prediction store {self.where} has version {found} of its tables; known is {self._version}",
                hint="run the program that made it, or name another database in MLOPS_STORE",
            )


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
