"""Data checks: what fails is named by column, check and row; what passes says what was seen."""

import numpy as np
import pyarrow as pa
import pytest
from data_cases import flight_rows, flights, pictures, prices

from pipelines.data.checks.check import check_data
from pipelines.data.checks.report import CheckReport, DataRejected
from pipelines.data.snapshot import prepare


def result(report, column, check):
    return next(item for item in report.checks if (item.column, item.check) == (column, check))


def failed(report):
    return {(item.column, item.check): item.samples for item in report.failed}


def picture_rows(values, labels=None):
    return pa.table({"picture": values, "label": labels or [row % 2 for row in range(len(values))]})


def tensors(values):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))


def test_good_data_passes_and_says_what_was_seen():
    report = check_data(flight_rows(), flights())
    assert report.passed
    assert not report.failed
    assert result(report, "distance", "type").detail == "from 100 to 1000 (miles), mean 550"
    assert result(report, "carrier", "type").detail == "3 distinct, most often 'UA' (40.0%)"
    assert result(report, "late", "classes").detail == "2 classes: False, True"
    assert CheckReport.model_validate_json(report.model_dump_json()) == report


def test_everything_that_is_wrong_is_found_at_once():
    table = flight_rows(
        distance=[7, -3, None, 9000, np.inf, *[1.0] * 5],
        wind=[*[np.nan] * 6, 1.0, 2.0, 3.0, 4.0],
        carrier=["UA", "XX", None, *["AA"] * 7],
        late=[True, None, *[False] * 8],
    )
    assert failed(check_data(table, flights())) == {
        ("distance", "missing"): ["row 2: missing"],
        ("distance", "finite"): ["row 4: inf"],
        ("distance", "min"): ["row 1: -3.0"],
        ("distance", "max"): ["row 3: 9000.0", "row 4: inf"],
        ("wind", "missing"): [f"row {row}: nan" for row in range(5)],
        ("carrier", "missing"): ["row 2: missing"],
        ("carrier", "one_of"): ["row 1: 'XX'"],
        ("late", "missing"): ["row 1: missing"],
    }


def test_a_share_of_missing_values_may_be_allowed():
    table = flight_rows(wind=[*[None] * 5, *[1.0, 2.0, 3.0, 4.0, 5.0]])
    assert check_data(table, flights()).passed
    assert result(check_data(table, flights()), "wind", "missing").detail == "50.00% missing, at most 50.00% allowed"


def test_a_column_of_mixed_types_names_the_rows_that_are_no_number():
    table = prepare(flight_rows(distance=["7", "many", "-1", "", *["9"] * 6]), flights().data, None)
    assert failed(check_data(table, flights())) == {
        ("distance", "type"): ["row 1: 'many'"],
        ("distance", "missing"): ["row 3: ''"],
        ("distance", "min"): ["row 2: '-1'"],
    }


def test_a_number_column_of_times_or_lists_is_no_number():
    for wrong in (["2013-01-01"] * 10, [[1.0]] * 10, flight_rows()["departure"]):
        report = check_data(prepare(flight_rows(wind=wrong), flights().data, None), flights())
        assert "must hold numbers" in result(report, "wind", "type").detail
        assert ("wind", "type") in failed(report)


def test_a_category_of_lists_is_no_text():
    report = check_data(prepare(flight_rows(carrier=[["UA"]] * 10), flights().data, None), flights())
    assert failed(report)["carrier", "type"][0] == "row 0: ['UA']"


def test_a_constant_column_is_a_warning():
    report = check_data(flight_rows(wind=[3.0] * 10, carrier=["UA"] * 10), flights())
    assert report.passed
    assert result(report, "wind", "varies").detail == "warning: every value is 3; the model learns nothing from it"
    assert "'UA'" in result(report, "carrier", "varies").detail


def test_a_column_of_nothing_but_missing_values():
    table = prepare(flight_rows(wind=pa.nulls(10)), flights().data, None)
    loose = flights(features={"wind": {"type": "number", "max_missing": 1.0}})
    assert "every value is missing" in result(check_data(table, loose), "wind", "varies").detail
    assert ("wind", "missing") in failed(check_data(table, flights()))


def test_an_empty_table_and_missing_columns_are_readable():
    report = check_data(flight_rows(0), flights())
    assert [item.detail for item in report.failed] == ["the table is empty"]
    report = check_data(flight_rows().drop_columns(["wind", "late", "departure"]), flights())
    assert set(failed(report)) == {("wind", "present"), ("late", "present"), ("departure", "present")}


def test_the_number_of_rows_has_limits():
    report = check_data(flight_rows(), flights(checks={"min_rows": 11}))
    assert result(report, "(table)", "min_rows").detail == "10 rows, at least 11 wanted"
    assert ("(table)", "max_rows") in failed(check_data(flight_rows(), flights(checks={"min_rows": 1, "max_rows": 9})))


def test_columns_that_identify_a_row_must_not_repeat():
    usecase = flights(checks={"min_rows": 1, "unique": ["carrier", "distance"]})
    assert check_data(flight_rows(), usecase).passed
    table = flight_rows(carrier=["UA"] * 10, distance=[1.0, 2, 3, 1, 5, 6, 7, 8, 9, 10])
    assert failed(check_data(table, usecase)) == {("carrier, distance", "unique"): ["row 3: 'UA', 1.0"]}


def test_every_row_needs_a_time():
    table = flight_rows(departure=["2013-01-01", None, *["2013-01-03"] * 8])
    assert failed(check_data(table, flights())) == {("departure", "time"): ["row 1: missing"]}


def test_unknown_classes_are_named_with_their_rows():
    usecase = flights(classes=["on time", "late"])
    table = flight_rows(late=["late", "on time", "lost", *["late"] * 7])
    report = check_data(table, usecase)
    assert failed(report) == {("late", "classes"): ["row 2: 'lost'"]}
    assert "none of the classes on time, late" in result(report, "late", "classes").detail


def test_a_class_that_is_too_rare_or_alone_is_named():
    rare = flights(checks={"min_rows": 1, "min_share_per_class": 0.2})
    report = check_data(flight_rows(late=[True] + [False] * 9), rare)
    assert failed(report) == {("late", "class_share"): ["class True: 1 rows"]}
    alone = check_data(flight_rows(late=[True] * 10), flights())
    assert "a single class, True" in result(alone, "late", "classes").detail
    declared = check_data(flight_rows(late=[True] * 10), flights(classes=[False, True]))
    assert set(failed(declared)) == {("late", "class_share")}


def test_fractions_are_no_classes():
    report = check_data(flight_rows(late=np.linspace(0, 1, 10)), flights())
    assert "fractions, which are no classes" in result(report, "late", "classes").detail


def test_a_regression_needs_finite_numbers():
    table = pa.table({"area": [1.0, 2, 3, 4], "price": [1.0, np.inf, np.nan, None]})
    assert failed(check_data(table, prices())) == {
        ("price", "missing"): ["row 2: nan", "row 3: missing"],
        ("price", "finite"): ["row 1: inf"],
    }
    words = pa.table({"area": [1.0, 2], "price": ["cheap", "dear"]})
    assert failed(check_data(words, prices())) == {("price", "type"): ["row 0: 'cheap'", "row 1: 'dear'"]}


def test_pictures_of_the_declared_shape_pass():
    report = check_data(picture_rows(tensors(np.arange(24, dtype=np.uint8).reshape(4, 2, 3))), pictures())
    assert report.passed
    assert result(report, "picture", "type").detail == "uint8 [2, 3]"


def test_pictures_of_another_shape_or_dtype_fail():
    other = picture_rows(tensors(np.zeros((4, 3, 2), np.uint8)))
    report = check_data(other, pictures())
    assert "must be uint8 [2, 3], and the column holds uint8 [3, 2]" in result(report, "picture", "type").detail
    ragged = picture_rows(pa.array([[[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4]], [[1], [2, 3]], [[0, 0, 0], [0, 0, 999]]]))
    assert failed(check_data(ragged, pictures())) == {
        ("picture", "type"): [
            "row 1: shape [2, 2]",
            "row 2: not an array of numbers with equal sides",
            "row 3: values from 0 to 999 are no bytes",
        ]
    }


def test_missing_pictures_are_named_and_the_others_still_checked():
    cells = pa.array([[1] * 6, None, [3] * 6, [200] * 6])
    limited = pictures(features={"picture": {"type": "tensor", "shape": [2, 3], "dtype": "uint8", "max": 9}})
    found = failed(check_data(picture_rows(cells), limited))
    assert found["picture", "missing"] == ["row 1: missing"]
    assert ("picture", "max") in found


def test_vectors_have_limits_and_no_nan():
    usecase = pictures(features={"picture": {"type": "tensor", "shape": [2], "dtype": "float32", "min": 0, "max": 1}})
    values = np.array([[0, 1], [np.nan, 0], [np.inf, 0], [0, -2], [0.5, 3]], np.float32)
    assert failed(check_data(picture_rows(tensors(values)), usecase)) == {
        ("picture", "finite"): ["row 1: holds nan", "row 2: holds inf"],
        ("picture", "min"): ["row 3: holds -2"],
        ("picture", "max"): ["row 2: holds inf", "row 4: holds 3"],
    }


def test_the_error_names_column_check_and_rows():
    error = DataRejected(check_data(flight_rows(carrier=["XX"] * 10), flights()))
    assert "column carrier, one_of: 10 of 10 rows (100.00%) are not one of UA, AA, DL; row 0: 'XX'" in str(error)


@pytest.mark.parametrize("value", ["a|b", "line\nbreak", "`tick`"])
def test_the_report_is_markdown_whatever_the_values(value):
    text = check_data(flight_rows(carrier=[value] * 10), flights()).to_markdown()
    assert text.startswith("# Data checks: 1 of 17 checks failed\n\n10 rows.\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 18
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)
