"""Files on disk and behind a real HTTP server: CSV, Parquet and JSON lines, one or many."""

import gzip
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec  # noqa: F401 - the registry of the protocols
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.data.sources.files import FilesNotFound, FilesystemMissing, FileUnreadable
from pipelines.data.sources.load import load_table
from pipelines.data.sources.secrets import VariableMissing
from pipelines.usecase.model import FileSource


@pytest.fixture
def read(tmp_path):
    return lambda url, **more: load_table(FileSource(type="file", url=url, **more), tmp_path, None)


@pytest.fixture
def web(tmp_path):
    """A web server of the test's folder; gives its URL."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_relative_path_starts_at_the_use_cases_folder(read, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("n,t\n1,x\n2,\n")
    assert read("data/a.csv").to_pydict() == {"n": [1, 2], "t": ["x", None]}
    assert read(f"file://{tmp_path}/data/a.csv").num_rows == 2
    assert read(f"{tmp_path}/data/a.csv").num_rows == 2


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl", "csv.gz"])
def test_the_ending_says_the_format(read, tmp_path, ending):
    table = pa.table({"n": [1, 2], "t": ["x", "y"]})
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        text = '{"n": 1, "t": "x"}\n{"n": 2, "t": "y"}\n' if ending == "jsonl" else "n,t\n1,x\n2,y\n"
        path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    assert read(path.name).to_pydict() == table.to_pydict()


def test_many_files_are_read_in_name_order(read, tmp_path):
    for name, number in (("b", 2), ("a", 1), ("c", 3)):
        (tmp_path / f"{name}.csv").write_text(f"n\n{number}\n")
    assert read("*.csv")["n"].to_pylist() == [1, 2, 3]


def test_files_of_different_types_and_columns_still_fit_together(read, tmp_path):
    (tmp_path / "a.csv").write_text("n,t\n1,5\n")
    (tmp_path / "b.csv").write_text("n,t,new\n1.5,many,7\n")
    assert read("*.csv").to_pydict() == {"n": [1.0, 1.5], "t": ["5", "many"], "new": [None, 7]}


def test_a_csv_column_that_changes_its_mind_late_becomes_text(read, tmp_path):
    lines = ["n,m", *(f"{row},{row}" for row in range(200_000)), "many,3"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    table = read("a.csv")
    assert table["n"][-1].as_py() == "many"
    assert table["m"].type == pa.int64()


def test_blank_text_is_missing_and_na_in_a_text_column_is_namibia(read, tmp_path):
    (tmp_path / "a.csv").write_text('country,n,note\nNA,NA,"two\nlines"\nDE,1,\n')
    assert read("a.csv").to_pydict() == {"country": ["NA", "DE"], "n": [None, 1], "note": ["two\nlines", None]}


def test_json_lines_of_changing_types_become_text(read, tmp_path):
    (tmp_path / "a.json").write_text('{"n": 1, "p": [[1, 2], [3, 4]]}\n\n{"n": "many"}\n')
    assert read("a.json").to_pydict() == {"n": ["1", "many"], "p": [[[1, 2], [3, 4]], None]}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", b"PAR1 cut off", "a.parquet cannot be read as parquet"),
        ("a.csv", b"", "a.csv cannot be read as csv: Empty CSV file"),
        ("a.csv", b"a,b\n1,2\n3\n", "a.csv cannot be read as csv: .*Expected 2 columns, got 1"),
        ("a.csv.gz", b"no gzip", "a.csv.gz cannot be read as csv"),
        ("a.json", b'[{"a": 1}]', "one array; write one object a line"),
        ("a.json", b"", "the file is empty"),
        ("a.json", b'{"a": 1}\n{"a": ', "line 2 is no JSON"),
        ("a.json", b'{"a": 1}\n7\n', "line 2 is no object"),
        ("a.txt", b"a", "the ending of .*a.txt says no format"),
    ],
)
def test_an_unreadable_file_is_named(read, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileUnreadable, match=says):
        read(name)


def test_one_bad_file_among_many_is_named(read, tmp_path):
    (tmp_path / "a.csv").write_text("n\n1\n")
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(FileUnreadable, match=r"b\.csv"):
        read("*.csv")


def test_no_file_says_where_it_was_looked_for(read, tmp_path):
    with pytest.raises(FilesNotFound, match=rf"no file matches data/\*.csv \(looked for {tmp_path}/data/\*.csv\)"):
        read("data/*.csv")
    (tmp_path / "data").mkdir()
    with pytest.raises(FilesNotFound, match=r"data is a folder\n  hint: name its files: data/\*.parquet"):
        read("data")


def test_a_missing_package_names_the_extra(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(FilesystemMissing, match=r"s3:// needs .*\n  hint: pip install 'mlops-blueprint\[s3\]'"):
        read("s3://bucket/a.csv")
    with pytest.raises(FilesystemMissing, match="nope"):
        read("nope://bucket/a.csv")


def test_variables_are_filled_in_the_url_and_the_options(read, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("n\n1\n")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    assert read("${FOLDER}/a.csv").num_rows == 1
    with pytest.raises(VariableMissing, match=r"data.source.options: the environment variable NO_KEY is not set"):
        read("a.csv", options={"auto_mkdir": "${NO_KEY}"})


def test_a_secret_in_a_url_does_not_show(read, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "hunter22")
    (tmp_path / "hunter22.csv").write_text("")
    with pytest.raises(FileUnreadable, match=r"\$\{TOKEN\}\.csv cannot be read") as caught:
        read("${TOKEN}.csv")
    assert "hunter22" not in str(caught.value)
    with pytest.raises(FilesNotFound, match=r"no file matches \$\{TOKEN\}\.json \(looked for .*/\$\{TOKEN\}\.json"):
        read("${TOKEN}.json")


def test_files_behind_http_may_be_named_or_matched(read, tmp_path, web):
    for name, number in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.csv").write_text(f"n\n{number}\n")
    assert read(f"{web}/a.csv")["n"].to_pylist() == [1]
    assert read(f"{web}/a.csv?version=3", format="csv")["n"].to_pylist() == [1]
    assert read(f"{web}/*.csv")["n"].to_pylist() == [1, 2]


def test_a_web_page_that_is_not_there_is_named(read, web):
    with pytest.raises(FilesNotFound, match=r"no file matches http://127\.0\.0\.1"):
        read(f"{web}/none.csv")


def test_a_server_that_is_not_there_is_named(read):
    with pytest.raises((FileUnreadable, FilesNotFound), match=r"http://127.0.0.1:1/a.csv"):
        read("http://127.0.0.1:1/a.csv")
