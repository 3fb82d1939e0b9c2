"""Examples: arrays as a trainer takes them, targets as class indices or numbers."""

import numpy as np
import pyarrow as pa
import pytest
from data_cases import flight_rows, flights, pictures, prices

from pipelines.data.classes import TargetUnusable
from pipelines.data.examples import ColumnUnusable, Examples


def test_columns_are_float32_and_text_with_missing_as_nan_and_blank():
    table = flight_rows(4, wind=[1, None, 3, 4], carrier=["UA", None, "AA", "DL"])
    examples = Examples.from_table(table, flights())
    assert len(examples) == 4
    assert list(examples.columns) == ["distance", "wind", "carrier"]
    assert examples.columns["wind"].dtype == np.float32
    assert np.isnan(examples.columns["wind"][1])
    assert examples.columns["carrier"].tolist() == ["UA", "", "AA", "DL"]


def test_the_frame_has_the_features_and_nothing_else():
    frame = Examples.from_table(flight_rows(), flights()).frame()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "distance": "float32",
        "wind": "float32",
        "carrier": "object",
    }


def test_pictures_keep_shape_and_dtype_also_in_a_part_of_the_table():
    values = np.arange(60, dtype=np.uint8).reshape(10, 2, 3)
    table = pa.table({"picture": pa.FixedShapeTensorArray.from_numpy_ndarray(values), "label": [0, 1] * 5})
    whole, part = (Examples.from_table(each, pictures()) for each in (table, table.slice(3, 4)))
    assert whole.columns["picture"].dtype == np.uint8
    assert np.array_equal(part.columns["picture"], values[3:7])
    assert whole.frame().empty
    chunked = pa.concat_tables([table.slice(7), table.slice(0, 2)])
    assert np.array_equal(Examples.from_table(chunked, pictures()).columns["picture"], values[[7, 8, 9, 0, 1]])


def test_slices_kept_columns_and_time_are_text():
    table = flight_rows(3, departure=["2013-01-01T05:00:00Z"] * 3).append_column("month", pa.array([1.0, None, 2.0]))
    kept = Examples.from_table(table, flights(keep=["month"])).kept
    assert kept["month"].tolist() == ["1", "", "2"]
    assert kept["carrier"].tolist() == ["UA", "AA", "DL"]
    assert kept["departure"][0] == "2013-01-01 05:00:00Z"


def test_a_slice_by_the_target_shows_the_classes_names():
    usecase = flights(classes=["on time", "late"], keep=["late"])
    assert Examples.from_table(flight_rows(2), usecase).kept["late"].tolist() == ["late", "on time"]


@pytest.mark.parametrize(
    ("target", "declared", "classes", "indices"),
    [
        (["b", "a", "b"], None, ("a", "b"), [1, 0, 1]),
        ([7, 3, 7], None, (3, 7), [1, 0, 1]),
        ([True, False, True], None, (False, True), [1, 0, 1]),
        ([1.0, 0.0, 1.0], None, (0, 1), [1, 0, 1]),
        (["late", "on time", "late"], ["on time", "late"], ("on time", "late"), [1, 0, 1]),
        ([1, 0, 1], ["on time", "late"], ("on time", "late"), [1, 0, 1]),
        ([True, False, True], ["on time", "late"], ("on time", "late"), [1, 0, 1]),
        ([7, 3, 7], [9, 3, 7], (9, 3, 7), [2, 1, 2]),
        (["1", "0", "1"], [0, 1], (0, 1), [1, 0, 1]),
        (["true", "false", "true"], [False, True], (False, True), [1, 0, 1]),
        ([1, 0, 1], [False, True], (False, True), [1, 0, 1]),
    ],
)
def test_a_target_may_hold_names_indices_or_yes_and_no(target, declared, classes, indices):
    examples = Examples.from_table(flight_rows(3, late=target), flights(classes=declared))
    assert (examples.classes, examples.target.tolist()) == (classes, indices)
    assert examples.target.dtype == np.int64


def test_a_part_is_read_by_the_classes_of_the_training():
    training = Examples.from_table(flight_rows(3, late=["a", "b", "c"]), flights())
    test = Examples.from_table(flight_rows(2, late=["c", "c"]), flights(), classes=training.classes)
    assert (test.target.tolist(), test.classes) == ([2, 2], ("a", "b", "c"))


@pytest.mark.parametrize(
    ("target", "classes", "says"),
    [
        (["a", "z", "b"], ("a", "b"), "1 rows have none of the classes 'a', 'b': row 1: 'z'"),
        ([0, 1, 5], ("a", "b"), "row 2: 5"),
        (["a", None, "b"], ("a", "b"), "row 1: missing"),
        (["a", "a", "a"], None, "has a single class, 'a'"),
        ([None, None, None], None, "has no value"),
        ([0.5, 1.0, 0.0], None, "fractions"),
    ],
)
def test_a_target_that_cannot_be_learned_is_an_error(target, classes, says):
    with pytest.raises(TargetUnusable, match=says):
        Examples.from_table(flight_rows(3, late=target), flights(), classes=classes)


def test_a_regression_has_numbers_and_no_classes():
    examples = Examples.from_table(pa.table({"area": [1, 2], "price": [10, 20]}), prices())
    assert (examples.target.tolist(), examples.target.dtype, examples.classes) == ([10.0, 20.0], np.float64, None)


@pytest.mark.parametrize("price", [[1.0, None], [1.0, np.inf], ["a", "b"]])
def test_a_regression_without_numbers_is_an_error(price):
    with pytest.raises(TargetUnusable, match="'price'"):
        Examples.from_table(pa.table({"area": [1, 2], "price": price}), prices())


def test_features_that_are_not_what_they_are_declared_are_named():
    with pytest.raises(ColumnUnusable, match="'wind' is declared a number, but the data holds string"):
        Examples.from_table(flight_rows(3, wind=["calm", "1", "2"]), flights())
    pixels = pa.table({"picture": [[1, 2]] * 4, "label": [0, 1] * 2})
    with pytest.raises(ColumnUnusable, match=r"'picture' is declared uint8 of shape \[2, 3\]"):
        Examples.from_table(pixels, pictures())


def test_large_whole_numbers_reach_the_model_as_float32():
    examples = Examples.from_table(flight_rows(2, distance=[2**60 + 1, 3], late=[True, False]), flights())
    assert examples.columns["distance"].tolist() == [2.0**60, 3.0]
