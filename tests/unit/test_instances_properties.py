"""Whatever a client sends, the fast parsers agree with a slow one that looks at one value at a time."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.faults import InvalidBody, InvalidInstances
from bento.instances import parse_bytes, parse_json
from bento.signature import CategoryField, NumberField, Signature, TensorField

TABLE = Signature(
    name="table",
    task="regression",
    max_batch=8,
    fields={
        "amount": NumberField(min=-10, max=10),
        "weight": NumberField(nullable=True),
        "colour": CategoryField(one_of=("red", "grün")),
        "note": CategoryField(nullable=True),
    },
)
PICTURE = Signature(
    name="p", task="regression", max_batch=8, fields={"image": TensorField(shape=(2, 2), dtype="uint8")}
)
VECTOR = Signature(
    name="v", task="regression", max_batch=8, fields={"true_size": TensorField(shape=(3,), dtype="float32", min=-1)}
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(["red", "grün", "", "1", "true", "null", "image", "é\\u0000"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["amount", "weight", "colour", "image", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
GOOD_ROW = st.fixed_dictionaries(
    {"amount": st.integers(-10, 10) | st.floats(-10, 10, width=32), "colour": st.sampled_from(["red", "grün"])},
    optional={"weight": st.none() | st.integers(-9, 9), "note": st.none() | st.text(max_size=3)},
)
ROW = GOOD_ROW | st.dictionaries(st.sampled_from([*TABLE.fields, "stranger"]), SCALARS, max_size=5) | SCALARS
PIXEL = st.integers(0, 255)
BYTE_PICTURE = st.lists(st.lists(PIXEL, min_size=2, max_size=2), min_size=2, max_size=2)
ODD_PICTURE = st.lists(st.lists(PIXEL | SCALARS, max_size=3), max_size=3) | JSON


def is_number(value) -> bool:
    return type(value) in (int, float)


def accepted_row(row) -> bool:
    """What usecase.yaml promises of TABLE, said as plainly as possible."""
    return (
        isinstance(row, dict)
        and set(row) <= set(TABLE.fields)
        and is_number(row.get("amount"))
        and -10 <= row["amount"] <= 10
        and (row.get("weight") is None or is_number(row["weight"]))
        and row.get("colour") in ("red", "grün")
        and isinstance(row["colour"], str)
        and (row.get("note") is None or isinstance(row["note"], str))
    )


def accepted_tensor(value, shape, dtype, low, high) -> bool:
    if not shape:
        whole = dtype != "uint8" or (is_number(value) and value == value // 1)
        return is_number(value) and whole and low <= value <= high
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(accepted_tensor(one, shape[1:], dtype, low, high) for one in value)
    )


def parsed(instances, signature):
    """The columns, or None where the request is refused for its instances."""
    try:
        return parse_json(json.dumps({"instances": instances}).encode(), signature)
    except InvalidInstances as refused:
        faults = refused.faults
    assert faults, "a refusal names at least one fault"
    assert all(0 <= (fault.instance or 0) < len(instances) for fault in faults)
    return None


@given(st.lists(ROW, min_size=1, max_size=8))
def test_a_table_is_taken_exactly_when_every_row_is_as_declared(rows):
    columns = parsed(rows, TABLE)
    assert (columns is not None) == all(accepted_row(row) for row in rows)
    if columns is None:
        return
    assert list(columns) == list(TABLE.fields)
    assert columns["amount"].tolist() == [float(np.float32(row["amount"])) for row in rows]
    assert columns["colour"].tolist() == [row["colour"] for row in rows]
    assert columns["note"].tolist() == [row.get("note") or "" for row in rows]
    for value, row in zip(columns["weight"].tolist(), rows, strict=True):
        assert math.isnan(value) if row.get("weight") is None else value == float(np.float32(row["weight"]))


@given(st.lists(BYTE_PICTURE | ODD_PICTURE | BYTE_PICTURE.map(lambda one: {"image": one}), min_size=1, max_size=4))
def test_pictures_are_taken_exactly_when_every_pixel_is_a_byte(instances):
    values = [one["image"] if isinstance(one, dict) and set(one) == {"image"} else one for one in instances]
    columns = parsed(instances, PICTURE)
    assert (columns is not None) == all(accepted_tensor(value, (2, 2), "uint8", 0, 255) for value in values)
    if columns is not None:
        assert columns["image"].dtype == np.uint8
        assert columns["image"].tolist() == values


@given(st.lists(st.lists(SCALARS, min_size=2, max_size=4) | JSON, min_size=1, max_size=4))
def test_vectors_are_taken_exactly_when_every_entry_is_a_number_in_range(instances):
    columns = parsed(instances, VECTOR)
    assert (columns is not None) == all(
        accepted_tensor(value, (3,), "float32", -1, float("inf")) for value in instances
    )


@given(st.binary(max_size=64))
def test_any_bytes_are_a_batch_or_a_clear_refusal(body):
    for signature in (TABLE, PICTURE, VECTOR):
        with pytest.raises((InvalidBody, InvalidInstances)):
            parse_json(body, signature)
    if body and len(body) % 4 == 0 and len(body) // 4 <= PICTURE.max_batch:
        assert parse_bytes(body, PICTURE)["image"].tobytes() == body
    else:
        with pytest.raises(InvalidBody):
            parse_bytes(body, PICTURE)
