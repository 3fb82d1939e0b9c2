"""Tables from a SQL query at any SQLAlchemy URL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.data.arrow import concatenate, values_to_arrow
from pipelines.data.sources.secrets import fill_variables, hide_secrets
from pipelines.data.sources.source import Source, hash_facts
from pipelines.errors import MlopsError
from pipelines.usecase.sources import SqlSource

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy

Read = TypeVar("Read")
ROWS_AT_A_TIME = 50_000
AS_OF = "as_of"
SECRET_WORDS = ("pass", "pwd", "secret", "token", "key")


class DriverMissing(MlopsError):
    """The Python package that speaks to this kind of database is not installed."""


class QueryFailed(MlopsError):
    """The database cannot be reached, or refuses the query. The message never shows the URL's secrets."""


class Query(Source[SqlSource]):
    """A query's rows. A SQLite file with a relative path is looked for from the use case's folder.

    Each method raises VariableMissing, DriverMissing and QueryFailed.
    """

    settings = SqlSource

    def read(self, as_of: datetime | None) -> pa.Table:
        """All rows, streamed in chunks into Arrow. `:as_of` is bound to `as_of`, or to now, in UTC."""
        return _execute(self.section, self.folder, _statement(self.section, as_of), _collect)

    def fingerprint(self, time: str | None) -> str:
        """Of the number of rows and the newest `time` among them, counted by the database."""
        import sqlalchemy

        names: list[Any] = [sqlalchemy.column(time)] if time else [sqlalchemy.literal_column("1").label("one")]
        rows = _statement(self.section, None).columns(*names).subquery("data")
        asked = [sqlalchemy.func.count(), *([sqlalchemy.func.max(rows.c[time])] if time else [])]
        statement = sqlalchemy.select(*asked).select_from(rows)
        return hash_facts(_execute(self.section, self.folder, statement, lambda result: [str(v) for v in result.one()]))

    def takes_as_of(self) -> bool:
        """Whether the query asks for `:as_of`."""
        return AS_OF in _parameters(self.section)

    def check(self) -> None:
        """The query has no parameter but `:as_of`; looked at where SQLAlchemy is installed."""
        if find_spec("sqlalchemy"):
            _require_known_parameters(self.section)


def _execute(source: SqlSource, folder: Path, statement: Any, read: Callable[[Any], Read]) -> Read:
    import sqlalchemy

    url = _url(source, folder)
    try:
        engine = sqlalchemy.create_engine(url)
    except (ModuleNotFoundError, sqlalchemy.exc.NoSuchModuleError) as error:
        name = getattr(error, "name", None)
        raise DriverMissing(
            f"data.source.url: {url.drivername} needs {f'the package {name}' if name else 'a SQLAlchemy dialect'}, "
            "which is not installed",
            hint=f"pip install {name or 'the dialect of this database, or write its name right'}",
        ) from None
    try:
        with engine.connect().execution_options(stream_results=True, yield_per=ROWS_AT_A_TIME) as connection:
            return read(connection.execute(statement))
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = without_secrets(str(getattr(error, "orig", None) or error).strip(), url)
        raise QueryFailed(
            hide_secrets(f"data.source: the query at {source.url} failed: {reason}", source.url),
            hint="data.source.query must be one statement that gives rows",
        ) from None
    finally:
        engine.dispose()


def _url(source: SqlSource, folder: Path) -> sqlalchemy.URL:
    import sqlalchemy

    text = fill_variables(source.url, "data.source.url")
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise QueryFailed(
            hide_secrets(f"data.source.url: {source.url} is no SQLAlchemy URL", source.url),
            hint="write it as postgresql+psycopg://user:${PASSWORD}@host/database or sqlite:////data/flights.db",
        ) from None
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":memory:", "file:")):
        return url
    path = folder.absolute() / url.database
    if not path.is_file():
        raise QueryFailed(f"data.source.url: {source.url}: there is no SQLite file {path}")
    return url.set(database=str(path))


def _statement(source: SqlSource, as_of: datetime | None) -> Any:
    import sqlalchemy

    _require_known_parameters(source)
    statement = sqlalchemy.text(source.query)
    if AS_OF not in _parameters(source):
        return statement
    value = (as_of or datetime.now(UTC)).astimezone(UTC)
    kind = sqlalchemy.DateTime(timezone=True)
    return statement.bindparams(sqlalchemy.bindparam(AS_OF, value, type_=kind))


def _require_known_parameters(source: SqlSource) -> None:
    unknown = sorted(_parameters(source) - {AS_OF})
    if unknown:
        raise QueryFailed(
            f"data.source.query asks for :{unknown[0]}; the only parameter there is, is :{AS_OF}",
            hint=r"write \: for a colon that starts no parameter",
        )


def _parameters(source: SqlSource) -> set[str]:
    import sqlalchemy

    return set(sqlalchemy.text(source.query).compile().params)


def _collect(result: Any) -> pa.Table:
    import pyarrow as pa

    names = list(result.keys())
    tables = [
        pa.Table.from_arrays([values_to_arrow(list(column)) for column in zip(*rows, strict=True)], names=names)
        for rows in result.partitions()
    ]
    return concatenate(tables) if tables else pa.table({name: pa.nulls(0) for name in names})


def without_secrets(text: str, url: sqlalchemy.URL) -> str:
    """The text with *** where it shows the URL, its password or a query value that is named like a secret."""
    named = [value for key, value in url.query.items() if any(word in key.lower() for word in SECRET_WORDS)]
    secrets = [url.render_as_string(hide_password=False), url.password, *named]
    for secret in sorted((str(value) for value in secrets if value), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
