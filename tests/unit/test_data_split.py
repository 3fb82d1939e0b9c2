"""Splits: given, by time, or at random and always the same."""

import numpy as np
import pyarrow as pa
import pytest
from data_cases import flight_rows, flights, pictures, prices

from pipelines.data.split import EmptyPart, RowWithoutTime, UnknownPart, split

RANDOM = {"by": "random", "test": 0.2, "validation": 0.1}


def parts(table, usecase, seed=1):
    found = split(table, usecase.data, usecase.task, seed)
    return found.train, found.validation, found.test


def numbered(labels):
    return pa.table({"row": range(len(labels)), "label": labels})


def test_the_newest_rows_are_the_test():
    train, validation, test = parts(flight_rows(), flights())
    assert (train.num_rows, validation.num_rows, test.num_rows) == (4, 2, 4)
    assert train["departure"][-1].as_py() < validation["departure"][0].as_py() < test["departure"][0].as_py()


def test_a_row_on_the_border_is_in_the_older_part():
    table = flight_rows(4, departure=["2013-01-01", "2013-01-02", "2013-01-03", "2013-01-05"])
    train, validation, test = parts(table, flights())
    assert [part["distance"].to_pylist() for part in (train, validation, test)] == [[100, 400], [700], [1000]]


def test_time_splits_need_no_order_and_every_time():
    table = flight_rows().take(list(reversed(range(10))))
    assert [part.num_rows for part in parts(table, flights())] == [4, 2, 4]
    with pytest.raises(RowWithoutTime, match="1 rows have no departure, the first is row 1"):
        parts(flight_rows(3, departure=["2013-01-01", None, "2013-01-09"]), flights())


def test_an_empty_part_says_what_each_got_and_how_far_the_data_goes():
    with pytest.raises(
        EmptyPart, match=r"nothing for train and validation: train 0, validation 0, test 3 of 3 rows; .*to"
    ):
        parts(flight_rows(3), flights())
    with pytest.raises(EmptyPart, match="test 0 of 0 rows"):
        parts(flight_rows(0), flights())


def test_a_random_split_is_stratified_and_loses_no_row():
    table = numbered(["a"] * 70 + ["b"] * 30)
    train, validation, test = parts(table, pictures(split=RANDOM))
    assert test["label"].value_counts().to_pylist() == [{"values": "a", "counts": 14}, {"values": "b", "counts": 6}]
    assert (train.num_rows, validation.num_rows) == (70, 10)
    together = pa.concat_tables([train, validation, test])["row"].to_pylist()
    assert sorted(together) == list(range(100))
    assert train["row"].to_pylist() == sorted(train["row"].to_pylist())


def test_the_seed_decides_and_nothing_else():
    table, usecase = numbered(["a", "b"] * 50), pictures(split=RANDOM)
    again = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert parts(table, usecase, 3)[2]["row"].to_pylist() == parts(again, usecase, 3)[2]["row"].to_pylist()
    assert parts(table, usecase, 3)[2]["row"].to_pylist() != parts(table, usecase, 4)[2]["row"].to_pylist()


def test_the_rows_a_seed_draws_never_change():
    table = pa.table({"area": np.arange(20.0), "price": np.arange(20.0)})
    assert parts(table, prices(), seed=42)[2]["area"].to_pylist() == [4.0, 8.0, 15.0, 17.0]


def test_one_row_of_a_rare_class_stays_in_the_training():
    train, _, _ = parts(numbered(["a"] * 20 + ["b"]), pictures(split={"by": "random", "test": 0.6, "validation": 0.3}))
    assert "b" in train["label"].to_pylist()


def test_a_column_may_give_the_parts():
    usecase = pictures(split={"by": "column", "column": "part"})
    table = numbered(["a"] * 4).append_column("part", pa.array(["test", "train", "train", "validation"]))
    assert [part["row"].to_pylist() for part in parts(table, usecase)] == [[1, 2], [3], [0]]


@pytest.mark.parametrize("stranger", ["holdout", None, "Train"])
def test_any_other_part_is_an_error_with_its_rows(stranger):
    usecase = pictures(split={"by": "column", "column": "part"})
    table = numbered(["a"] * 4).append_column("part", pa.array(["test", "train", stranger, "validation"]))
    with pytest.raises(
        UnknownPart, match=f"1 rows hold something else: row 2: {(stranger and repr(stranger)) or 'missing'}"
    ):
        parts(table, usecase)
