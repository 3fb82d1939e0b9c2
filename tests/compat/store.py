"""Keep the database as a version makes it, for SQLite and PostgreSQL: part of `tests.compat.make`, or by itself
`python -m tests.compat.store 0.2.0`.

The newest sample is upgraded by today's revisions, so its rows are those that 0.1.0 wrote. Run before a version is
tagged; what a released program has made does not change any more.
"""

import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import create_engine

from pipelines.predictions.store.database import Database, read_url
from tests.databases import postgres

HERE = Path(__file__).parent
HEAD = "-- A prediction store as {} makes it, with rows in every table. Never changed once that is released.\n"
SESSION = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")  # of pg_dump, and not of the database
KINDS = {"sqlite": "store.sqlite.sql", "postgresql": "store.postgres.sql"}


def versions() -> list[str]:
    """Those of which a database is kept, the oldest first."""
    found = {path.parent.name for path in HERE.glob("*/store.sqlite.sql")}
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def load(url: str, version: str) -> None:
    """Fill an empty database with the sample of a version."""
    engine = create_engine(read_url(url))
    run(engine, (HERE / version / KINDS[engine.dialect.name]).read_text())
    engine.dispose()


def run(engine, script: str) -> None:
    """Several statements at once, as a person would run them."""
    connection = engine.raw_connection()
    if engine.dialect.name == "sqlite":
        connection.driver_connection.executescript(script)
    else:
        connection.cursor().execute(script)
        connection.commit()
    connection.close()


def keep(version: str) -> None:
    """Write both dumps."""
    before = [one for one in versions() if one != version][-1]
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        for url in (f"sqlite:///{folder}/monitor.db", server.database("kept")):
            load(url, before)
            database = Database(url)
            database.upgrade()
            kind = database.url.get_backend_name()
            database.close()
            lines = dump_sqlite(Path(folder) / "monitor.db") if kind == "sqlite" else dump_postgres(url)
            (HERE / version / KINDS[kind]).write_text(HEAD.format(version) + "\n".join(lines) + "\n")


def dump_sqlite(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def dump_postgres(url: str) -> list[str]:
    command = ["pg_dump", "--no-owner", "--no-privileges", "--no-comments", "--inserts", url]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line for line in told.splitlines() if line and not line.startswith(SESSION)]


if __name__ == "__main__":
    keep(sys.argv[1])
