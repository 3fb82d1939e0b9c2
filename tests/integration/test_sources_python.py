"""The use case's own load(): what it may give, and how its faults read."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from pipelines.data import DatasetMissing
from pipelines.data.arrow import LoadFailed
from pipelines.data.columns import tensor_values
from pipelines.data.sources.load import load_table
from pipelines.usecase.model import PythonSource


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))

    def load(body):
        (tmp_path / "model.py").write_text(
            f"import numpy as np, pandas as pd, pyarrow as pa\ndef load():\n    {body}\n"
        )
        return load_table(PythonSource(type="python", load="model.py:load"), tmp_path, None)

    return load


@pytest.mark.parametrize(
    "body",
    [
        "return pa.table({'a': [1, 2], 'b': ['x', None]})",
        "return pd.DataFrame({'a': [1, 2], 'b': ['x', None]}, index=[7, 9])",
        "return {'a': np.array([1, 2]), 'b': np.array(['x', None], dtype=object)}",
    ],
)
def test_tables_frames_and_arrays_are_the_same_table(load, body):
    assert load(body).to_pydict() == {"a": [1, 2], "b": ["x", None]}


def test_an_array_of_pictures_becomes_cells_without_a_copy_of_each(load):
    table = load("return {'picture': np.arange(24, dtype='uint8').reshape(4, 2, 3), 'label': np.arange(4)}")
    assert table["picture"].type == pa.fixed_shape_tensor(pa.uint8(), [2, 3])
    assert np.array_equal(tensor_values(table["picture"]), np.arange(24).reshape(4, 2, 3))


def test_no_pictures_at_all_are_an_empty_column(load):
    assert load("return {'picture': np.zeros((0, 2, 3), 'uint8')}").num_rows == 0


def test_a_frame_may_hold_arrays_in_its_cells(load):
    table = load("return pd.DataFrame({'picture': [np.ones((2, 2)), np.zeros((2, 2))]})")
    assert table["picture"].type == pa.fixed_shape_tensor(pa.float64(), [2, 2])
    ragged = load("return pd.DataFrame({'picture': [np.ones((2, 2)), np.zeros((1, 2)), None]})")
    assert ragged["picture"].to_pylist() == [[[1, 1], [1, 1]], [[0, 0]], None]


def test_a_column_of_mixed_types_becomes_text(load):
    table = load("return pd.DataFrame({'a': [1, 'many', None, 2.5]})")
    assert table["a"].to_pylist() == ["1", "many", None, "2.5"]


def test_categories_times_and_missing_numbers_of_pandas_survive(load):
    table = load(
        "return pd.DataFrame({'c': pd.Categorical(['a', None]), 't': pd.to_datetime(['2013-01-01', None]),"
        " 'n': [1.5, None], 'i': pd.array([1, None], dtype='Int64')})"
    )
    assert [table[name].null_count for name in table.column_names] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return None", r"model.py:load gave None \(is a return missing\?\); it must give a pyarrow.Table"),
        ("return [1, 2]", "gave list;"),
        ("return np.ones(3)", "gave numpy.ndarray;"),
        ("return pd.Series([1])", "gave pandas.Series;"),
        ("return {'a': np.ones(3), 'b': np.ones(2)}", "different lengths: a 3, b 2"),
        ("return {'a': 'text'}", "column 'a' is one value, 'text'"),
        ("return {'a': 5}", "column 'a' is int; it must be an array"),
        ("return 1 / 0", "model.py:load raised ZeroDivisionError at model.py:3: division by zero"),
        ("return open('/no/such')", "raised FileNotFoundError at model.py:3"),
    ],
)
def test_anything_else_is_named(load, body, says):
    with pytest.raises(LoadFailed, match=says):
        load(body)


def test_a_missing_data_set_says_how_to_get_it(load):
    with pytest.raises(DatasetMissing, match="hint: apt install the-data"):
        load("from pipelines.data import DatasetMissing; raise DatasetMissing('not here', hint='apt install the-data')")
