"""Whether a source has changed, seen from outside."""

import os
import sqlite3

import pandas as pd
import pytest

from pipelines.data.sources.files import FilesNotFound
from pipelines.data.sources.fingerprint import fingerprint
from pipelines.data.sources.sql import QueryFailed
from pipelines.usecase.model import Data
from tests.pipeline_cases import USECASE


def data(source: dict) -> Data:
    return Data.model_validate({**USECASE["data"], "source": source})


def frame(rows: int) -> pd.DataFrame:
    when = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(range(rows), unit="h")
    return pd.DataFrame({"size": 1.0, "kind": "a", "big": True, "when": when})


def test_files_are_told_by_names_sizes_and_times_without_being_opened(tmp_path):
    files, seen = data({"type": "file", "url": "*.parquet"}), []
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all, and nobody looks")

    seen += [fingerprint(files, tmp_path), fingerprint(files, tmp_path)]
    assert seen[0] == seen[1]
    (tmp_path / "b.parquet").write_bytes(b"x")
    seen.append(fingerprint(files, tmp_path))
    (tmp_path / "b.parquet").write_bytes(b"yy")
    seen.append(fingerprint(files, tmp_path))
    os.utime(tmp_path / "b.parquet", (1, 1))
    seen.append(fingerprint(files, tmp_path))

    assert len(set(seen)) == 4


def test_files_that_are_gone_are_an_error_not_a_change(tmp_path):
    with pytest.raises(FilesNotFound):
        fingerprint(data({"type": "file", "url": "*.parquet"}), tmp_path)


@pytest.mark.parametrize("query", ["SELECT * FROM flights", 'SELECT * FROM flights WHERE "when" < :as_of'])
def test_a_database_counts_its_rows_and_names_the_newest(tmp_path, query):
    source = data({"type": "sql", "url": "sqlite:///flights.db", "query": query})
    with sqlite3.connect(tmp_path / "flights.db") as connection:
        frame(10).to_sql("flights", connection, index=False)
        first = fingerprint(source, tmp_path)
        assert fingerprint(source, tmp_path) == first
        connection.execute("""UPDATE flights SET "when" = '2026-02-01 00:00:00+00:00' WHERE rowid = 3""")
        connection.commit()
        newest = fingerprint(source, tmp_path)
        connection.execute("DELETE FROM flights WHERE rowid = 1")
        connection.commit()
        fewer = fingerprint(source, tmp_path)

    assert len({first, newest, fewer}) == 3


def test_a_query_that_fails_says_why(tmp_path):
    sqlite3.connect(tmp_path / "flights.db").close()
    with pytest.raises(QueryFailed, match="no such table"):
        fingerprint(data({"type": "sql", "url": "sqlite:///flights.db", "query": "SELECT * FROM flights"}), tmp_path)


def test_what_load_gives_is_told_by_its_content(tmp_path):
    source = data({"type": "python", "load": "model.py:load"})
    code = "import pandas as pd\n\n\ndef load():\n    return pd.DataFrame({'size': [1.0, %s], 'kind': ['a', None]})\n"
    seen = []
    for number in ("2.0", "2.0", "3.0"):
        (tmp_path / "model.py").write_text(code % number)
        seen.append(fingerprint(source, tmp_path))

    assert seen[0] == seen[1] != seen[2]
