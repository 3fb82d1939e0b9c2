"""A real SQLite database: queries, the run's date, secrets that never show."""

import sqlite3
from datetime import UTC, datetime

import pytest
import sqlalchemy

from pipelines.data.snapshot import prepare, take_snapshot
from pipelines.data.sources import sql
from pipelines.data.sources.load import load_table
from pipelines.data.sources.secrets import VariableMissing
from pipelines.data.sources.sql import DriverMissing, QueryFailed
from pipelines.usecase import UseCase
from pipelines.usecase.model import SqlSource


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "flights.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table flights (id integer, delay real, carrier text, seen timestamp)")
        rows = [(n, n / 2, "UA" if n % 2 else None, f"2013-01-0{n} 12:00:00") for n in range(1, 8)]
        connection.executemany("insert into flights values (?, ?, ?, ?)", rows)
    connection.close()
    return path


@pytest.fixture
def ask(tmp_path, database):
    def ask(query, url="sqlite:///flights.db", as_of=None):
        return load_table(SqlSource(type="sql", url=url, query=query), tmp_path, as_of)

    return ask


def test_a_query_gives_a_table(ask):
    table = ask("select id, delay, carrier from flights where id < 3 order by id")
    assert table.to_pydict() == {"id": [1, 2], "delay": [0.5, 1.0], "carrier": ["UA", None]}


def test_the_runs_date_is_bound_in_utc(ask):
    query = "select id from flights where seen <= :as_of order by id"
    assert ask(query, as_of=datetime(2013, 1, 3, 12, tzinfo=UTC))["id"].to_pylist() == [1, 2, 3]
    assert ask(query, as_of=datetime.fromisoformat("2013-01-03T14:00:00+03:00"))["id"].to_pylist() == [1, 2]
    assert ask(query).num_rows == 7


def test_a_snapshot_says_as_of_when_the_query_asked_for_it(tmp_path, database):
    def take(query):
        return take_snapshot(_usecase(query), tmp_path, str(tmp_path / "store"), datetime(2013, 1, 3, 12, tzinfo=UTC))

    asked = take("select delay, id from flights where seen <= :as_of")
    assert (asked.rows, asked.as_of) == (3, "2013-01-03T12:00:00+00:00")
    assert take("select delay, id from flights").as_of is None


def test_its_times_are_texts_that_a_snapshot_understands(ask):
    data = _usecase("-", time="seen").data
    table = prepare(ask("select * from flights order by id desc"), data, datetime(2013, 1, 2, 12, tzinfo=UTC))
    assert table["seen"].to_pylist() == [datetime(2013, 1, day, 12, tzinfo=UTC) for day in (1, 2)]


def test_rows_come_in_chunks_whose_types_may_differ(ask, monkeypatch):
    monkeypatch.setattr(sql, "ROWS_AT_A_TIME", 2)
    table = ask("select case when id < 3 then null when id < 5 then id else id + 0.5 end as n from flights order by id")
    assert table["n"].to_pylist() == [None, None, 3.0, 4.0, 5.5, 6.5, 7.5]
    mixed = ask("select case when id < 3 then id else 'many' end as n from flights order by id limit 4")
    assert mixed["n"].to_pylist() == ["1", "2", "many", "many"]


def test_a_query_without_rows_keeps_its_columns(ask):
    assert ask("select id, delay from flights where id > 99").column_names == ["id", "delay"]


def test_the_url_may_come_from_the_environment(ask, database, monkeypatch):
    monkeypatch.setenv("FLIGHTS_URL", f"sqlite:///{database}")
    assert ask("select * from flights", url="${FLIGHTS_URL}").num_rows == 7
    with pytest.raises(VariableMissing, match=r"data.source.url: the environment variable NO_URL is not set"):
        ask("select 1", url="${NO_URL}")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select * from fligths", "the query at sqlite:///flights.db failed: no such table: fligths"),
        ("selct", "syntax error"),
        ("delete from flights where id = 99", "must be one statement that gives rows"),
        ("select * from flights where id = :id", "asks for :id; the only parameter there is, is :as_of"),
    ],
)
def test_a_query_that_fails_says_why(ask, query, says):
    with pytest.raises(QueryFailed, match=says):
        ask(query)


def test_a_database_that_is_not_there_is_not_made(ask, tmp_path):
    with pytest.raises(QueryFailed, match=r"there is no SQLite file .*none\.db"):
        ask("select 1", url="sqlite:///none.db")
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("url", ["nosuchdialect://u:hunter22@h/d", "${SECRET_URL}"])
def test_a_missing_driver_is_named_and_the_secret_is_not(ask, monkeypatch, url):
    monkeypatch.setenv("SECRET_URL", "nosuchdialect://u:hunter22@h/d")
    with pytest.raises(DriverMissing, match="nosuchdialect needs") as caught:
        ask("select 1", url=url)
    assert "hunter22" not in str(caught.value)


def test_no_secret_shows_when_the_url_or_the_server_is_wrong(ask, monkeypatch):
    monkeypatch.setenv("SECRET_URL", "hunter22 is no url")
    with pytest.raises(QueryFailed, match=r"\$\{SECRET_URL\} is no SQLAlchemy URL") as caught:
        ask("select 1", url="${SECRET_URL}")
    assert "hunter22" not in str(caught.value)
    url = sqlalchemy.make_url("postgresql://u:hunter22@h/d?sslpassword=other99")
    with pytest.raises(QueryFailed, match=r"://u:\*\*\*@h"):
        ask("select 1", url="no good://u:hunter22@h/d")
    assert sql.without_secrets("no way to u:hunter22@h with other99", url) == "no way to u:***@h with ***"


def _usecase(query, **data):
    return UseCase.model_validate(
        {
            "apiVersion": "mlops-blueprint/v1",
            "name": "delays",
            "purpose": "Says how late a flight is.",
            "owner": {"team": "t", "contact": "t@example.com", "accountable": "head"},
            "risk": {"level": "minimal"},
            "task": "regression",
            "data": {
                "source": {"type": "sql", "url": "sqlite:///flights.db", "query": query},
                "target": "id",
                "features": {"delay": {"type": "number"}},
                "split": {"by": "random", "test": 0.2, "validation": 0.2},
                **data,
            },
            "training": {"train": "model.py:train"},
            "evaluation": {"metrics": ["rmse"], "gates": [{"metric": "rmse", "at_most": 1}]},
        }
    )
