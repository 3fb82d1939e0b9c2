"""Snapshots: the columns that count, as they were known, under the hash of their own bytes."""

import hashlib
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_cases import flight_rows, flights, pictures

from pipelines.data import snapshot as module
from pipelines.data.columns import TimeUnreadable, tensor_values
from pipelines.data.snapshot import (
    ColumnMissing,
    DataRef,
    NoRows,
    SnapshotCorrupted,
    SnapshotMissing,
    SnapshotStoreFailed,
    open_snapshot,
    prepare,
    take_snapshot,
)


@pytest.fixture
def take(tmp_path, monkeypatch):
    """Snapshot a given table; the source itself is tested elsewhere."""

    def take(table, usecase=None, as_of=None, store=None):
        monkeypatch.setattr(module, "load_table", lambda *_: table)
        return take_snapshot(usecase or flights(), tmp_path, str(store or tmp_path / "store"), as_of)

    return take


def test_the_file_is_named_by_the_hash_of_its_bytes(take):
    ref = take(flight_rows())
    assert hashlib.sha256(Path(ref.uri).read_bytes()).hexdigest() == ref.sha256 == Path(ref.uri).stem
    assert ref.version == ref.sha256[:12]
    assert (ref.rows, ref.columns) == (10, ["distance", "wind", "carrier", "late", "departure"])
    assert DataRef.model_validate_json(ref.model_dump_json()) == ref


def test_equal_content_is_one_file_however_it_was_written(take, tmp_path):
    ref = take(flight_rows())
    written = Path(ref.uri).stat().st_mtime_ns
    table = flight_rows()
    chunked = pa.concat_tables([table.slice(0, 3), table.slice(3)]).replace_schema_metadata({"pandas": "{}"})
    encoded = chunked.set_column(2, "carrier", chunked["carrier"].dictionary_encode())
    wider = encoded.append_column("note", pa.array(["x"] * 10)).select([5, 4, 3, 2, 1, 0])
    shuffled = wider.take(np.random.RandomState(1).permutation(10))
    assert [take(other).sha256 for other in (chunked, encoded, wider, shuffled)] == [ref.sha256] * 4
    assert Path(ref.uri).stat().st_mtime_ns == written
    assert [path.name for path in (tmp_path / "store" / "case").iterdir()] == [f"{ref.sha256}.parquet"]


def test_pandas_and_arrow_give_the_same_snapshot(take, tmp_path):
    (tmp_path / "model.py").write_text(
        "import sys; from data_cases import flight_rows\n"
        "def load(): return flight_rows().to_pandas()\n"
        "def arrow(): return flight_rows()\n"
    )
    store = str(tmp_path / "real")
    one = take_snapshot(flights(), tmp_path, store, None)
    two = take_snapshot(flights(source={"type": "python", "load": "model.py:arrow"}), tmp_path, store, None)
    assert one == two


def test_other_content_is_another_version(take):
    assert take(flight_rows()).sha256 != take(flight_rows(wind=np.zeros(10))).sha256


def test_what_comes_back_is_what_went_in(take):
    table = open_snapshot(take(flight_rows()))
    assert table["carrier"].to_pylist() == flight_rows()["carrier"].to_pylist()
    assert table.schema.field("departure").type == pa.timestamp("us", "UTC")
    assert table.schema.metadata is None


def test_pictures_keep_their_shape_and_bytes(take):
    values = np.arange(60, dtype=np.uint8).reshape(10, 2, 3)
    table = pa.table({"picture": pa.array(values.reshape(10, -1).tolist()), "label": list(range(2)) * 5})
    back = open_snapshot(take(table, pictures()))
    assert tensor_values(back["picture"]).dtype == np.uint8
    assert np.array_equal(tensor_values(back["picture"]), values)


def test_any_other_reader_sees_the_bytes_and_what_they_mean(take):
    values = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 2, 3)
    usecase = pictures(features={"picture": {"type": "tensor", "shape": [2, 3], "dtype": "float32"}})
    table = pa.table({"picture": values.tolist(), "label": [0, 1, 0, 1, 0]})
    ref = take(table, usecase)
    raw = pq.read_table(ref.uri)
    assert json.loads(raw.schema.field("picture").metadata[b"tensor"]) == {"shape": [2, 3], "dtype": "float32"}
    assert raw["picture"][4].as_py() == values[4].tobytes()
    assert np.array_equal(tensor_values(open_snapshot(ref)["picture"]), values)


def test_more_pictures_than_fit_a_row_group_come_back(take, monkeypatch):
    monkeypatch.setattr("pipelines.data.parquet.ROW_GROUP", 3)
    values = np.arange(60, dtype=np.uint8).reshape(10, 2, 3)
    ref = take(pa.table({"picture": values.tolist(), "label": [0, 1] * 5}), pictures())
    assert pq.ParquetFile(ref.uri).num_row_groups == 4
    assert np.array_equal(tensor_values(open_snapshot(ref)["picture"]), values)


@pytest.mark.parametrize("cells", ["tensor", "nested"])
def test_pictures_may_come_as_tensors_or_nested_lists(take, cells):
    values = np.arange(60).reshape(10, 2, 3)
    picture = (
        pa.FixedShapeTensorArray.from_numpy_ndarray(values.astype(float)) if cells == "tensor" else values.tolist()
    )
    back = open_snapshot(take(pa.table({"picture": picture, "label": [0, 1] * 5}), pictures()))
    assert np.array_equal(tensor_values(back["picture"]), values)


def test_values_convert_to_their_declared_types():
    table = flight_rows(
        distance=[" 12.5 ", "", *["1"] * 8],
        wind=[float("nan"), *[1.0] * 9],
        carrier=[1.0, None, *[3.0] * 8],
        departure=["2013-01-01"] * 10,
    )
    ready = prepare(table, flights().data, None)
    assert ready["distance"].to_pylist()[:3] == [12.5, None, 1.0]
    assert ready["wind"].null_count == 1
    assert ready["carrier"].to_pylist()[:3] == ["1", None, "3"]


def test_what_does_not_convert_stays_for_the_checks_to_name():
    ready = prepare(flight_rows(distance=["7", "many", *["1"] * 8]), flights().data, None)
    assert ready["distance"].to_pylist()[:2] == ["7", "many"]


def test_rows_are_sorted_by_time_and_equal_times_keep_their_order():
    times = ["2013-01-02T00:00:00Z", "2013-01-01T00:00:00Z", "2013-01-02T00:00:00Z", None]
    ready = prepare(flight_rows(4, departure=times, distance=[1, 2, 3, 4]), flights().data, None)
    assert ready["distance"].to_pylist() == [2, 1, 3, 4]


def test_as_of_keeps_what_was_known_then(take):
    ref = take(flight_rows(), as_of=datetime(2013, 1, 3))
    assert (ref.rows, ref.as_of) == (5, "2013-01-03T00:00:00+00:00")
    later = take(flight_rows(), flights(labels_after="1d"), as_of=datetime(2013, 1, 3, tzinfo=UTC))
    assert later.rows == 3


def test_as_of_before_the_first_row_says_how_far_the_data_goes(take):
    with pytest.raises(NoRows, match=r"2012.*data goes from 2013-01-01T00:00:00\+00:00 to 2013-01-05T12:00"):
        take(flight_rows(), as_of=datetime(2012, 1, 1))


def test_as_of_is_not_claimed_for_data_without_time(take):
    table = pa.table({"picture": np.zeros((4, 6), np.uint8).tolist(), "label": [0, 1, 0, 1]})
    assert take(table, pictures(), as_of=datetime(2013, 1, 1)).as_of is None


def test_an_empty_source_is_an_error(take):
    with pytest.raises(NoRows, match="gave no row"):
        take(flight_rows(0))


def test_a_missing_column_names_its_key_a_close_one_and_those_there_are(take):
    table = flight_rows().rename_columns(["distanze", "wind", "carrier", "late", "departure"])
    with pytest.raises(
        ColumnMissing, match=r"data.features: .*'distance' \(did you mean distanze\?\); columns there: "
    ):
        take(table)
    with pytest.raises(ColumnMissing, match=r"data.target: .*'late'"):
        take(flight_rows().drop_columns(["late"]))


def test_a_column_that_stands_twice_is_an_error(take):
    twice = flight_rows().append_column("wind", pa.array([1.0] * 10))
    with pytest.raises(ColumnMissing, match="2 columns named 'wind'"):
        take(twice)


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (["2013-01-01", "soon", "2013-01-03"], "row 1: 'soon' is no time like the rows before it"),
        (["soon", "later", "never"], "row 0: 'soon' is no time;"),
        ([1, 2, 3], "holds int64; it must hold timestamps"),
    ],
)
def test_a_time_that_is_none_is_named(take, times, says):
    with pytest.raises(TimeUnreadable, match=says):
        take(flight_rows(3, departure=times))


def test_a_zone_is_honoured_and_none_means_utc():
    aware = pd.Series(pd.date_range("2013-01-01", periods=3, freq="h", tz="America/New_York"))
    ready = prepare(flight_rows(3, departure=aware), flights().data, None)
    assert ready["departure"][0].as_py() == datetime(2013, 1, 1, 5, tzinfo=UTC)


def test_a_missing_snapshot_is_named(take):
    ref = take(flight_rows())
    Path(ref.uri).unlink()
    with pytest.raises(SnapshotMissing, match=ref.version):
        open_snapshot(ref)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: b"X" + raw[1:], lambda _: b""])
def test_a_damaged_snapshot_is_refused_and_mended_by_the_next_run(take, damage):
    ref = take(flight_rows())
    path = Path(ref.uri)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SnapshotCorrupted, match="changed or cut off"):
        open_snapshot(ref)
    assert take(flight_rows()) == ref
    assert open_snapshot(ref).num_rows == 10


def test_a_store_that_cannot_be_written_is_named(take, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SnapshotStoreFailed, match=r"file/store/case/.* cannot be written"):
        take(flight_rows(), store=tmp_path / "file" / "store")


def test_any_fsspec_store_will_do(take):
    ref = take(flight_rows(), store="memory://snapshots")
    assert ref.uri.startswith("memory://snapshots/case/")
    assert open_snapshot(ref).num_rows == 10


def test_a_run_killed_before_the_rename_leaves_no_snapshot_and_the_next_run_makes_it(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from fsspec.implementations.local import LocalFileSystem\n"
        "sys.path.insert(0, sys.argv[2]); from data_cases import flights; from pipelines.data.snapshot import *\n"
        "if sys.argv[3] == 'kill': LocalFileSystem.mv = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder = Path(sys.argv[1]); print(take_snapshot(flights(), folder, str(folder / 'store'), None).uri)"
    )
    (tmp_path / "model.py").write_text("from data_cases import flight_rows\ndef load(): return flight_rows()\n")

    def run(how):
        command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent), how]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert run("kill").returncode == -signal.SIGKILL
    assert not list((tmp_path / "store" / "case").glob("*.parquet"))
    uri = run("live").stdout.strip()
    assert hashlib.sha256(Path(uri).read_bytes()).hexdigest() == Path(uri).stem


def test_many_at_once_make_one_file(take, tmp_path):
    table = flight_rows()
    take(table)
    store = tmp_path / "shared"
    with ThreadPoolExecutor(6) as pool:
        refs = list(pool.map(lambda _: take_snapshot(flights(), tmp_path, str(store), None), range(12)))
    assert len({ref.uri for ref in refs}) == 1
    assert [path.name for path in (store / "case").iterdir()] == [Path(refs[0].uri).name]
