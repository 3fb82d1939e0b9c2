"""What a client may send, and what it is told otherwise."""

import json

import numpy as np
import pytest

from bento.faults import InvalidBody, InvalidInstances
from bento.instances import parse_bytes, parse_json
from bento.signature import NumberField, Signature, TensorField
from tests.tiny_models import PICTURE, TABULAR

FLIGHT = {"distance": 1400, "temperature": 51.5, "origin": "EWR", "carrier": "UA"}
IMAGE = np.arange(784).reshape(28, 28) % 256
VECTOR = Signature(
    name="vector", task="regression", fields={"is_true": TensorField(shape=(3,), dtype="float32", min=-1)}
)


def body(*instances) -> bytes:
    return json.dumps({"instances": instances}).encode()


def faults_of(sent: bytes, signature: Signature = TABULAR) -> list[tuple]:
    with pytest.raises(InvalidInstances) as raised:
        parse_json(sent, signature)
    return [(fault.instance, fault.field, fault.detail) for fault in raised.value.faults]


def only_fault(sent: bytes, signature: Signature = TABULAR) -> tuple:
    faults = faults_of(sent, signature)
    assert len(faults) == 1, faults
    return faults[0]


def complaint(sent: bytes, signature: Signature = TABULAR) -> str:
    with pytest.raises(InvalidBody) as raised:
        parse_json(sent, signature)
    return str(raised.value)


class TestTables:
    def test_become_a_column_a_field(self):
        columns = parse_json(body(FLIGHT, {**FLIGHT, "distance": 2.5, "carrier": "ß✈"}), TABULAR)
        assert list(columns) == ["distance", "temperature", "origin", "carrier"]
        assert columns["distance"].dtype == np.float32
        assert columns["distance"].tolist() == [1400, 2.5]
        assert columns["carrier"].tolist() == ["UA", "ß✈"]

    @pytest.mark.parametrize("flight", [{**FLIGHT, "temperature": None}, {k: FLIGHT[k] for k in FLIGHT if k[0] != "t"}])
    def test_a_nullable_number_may_be_null_or_left_out(self, flight):
        assert np.isnan(parse_json(body(flight), TABULAR)["temperature"]).all()

    def test_an_unknown_value_of_an_open_category_is_the_models_to_judge(self):
        assert parse_json(body({**FLIGHT, "carrier": "no such airline"}), TABULAR)["carrier"] == ["no such airline"]

    @pytest.mark.parametrize(
        ("field", "value", "detail"),
        [
            ("distance", "1400", "is a text; expected a number"),
            ("distance", True, "is a boolean; expected a number"),
            ("distance", [1400], "is a list; expected a number"),
            ("distance", {}, "is an object; expected a number"),
            ("distance", None, "is null; expected a number"),
            ("distance", 5001, "5001 is out of range; expected 0 to 5000"),
            ("distance", -0.5, "-0.5 is out of range; expected 0 to 5000"),
            ("temperature", "warm", "is a text; expected a number or null"),
            ("origin", "BER", '"BER" is not allowed; expected one of EWR, JFK, LGA'),
            ("origin", "", '"" is not allowed; expected one of EWR, JFK, LGA'),
            ("origin", None, "is null; expected a text"),
            ("carrier", 1, "is a whole number; expected a text"),
            ("carrier", 1.5, "is a number with a fraction; expected a text"),
        ],
    )
    def test_a_wrong_value_is_named_with_what_would_be_right(self, field, value, detail):
        assert only_fault(body(FLIGHT, {**FLIGHT, field: value})) == (1, field, detail)

    def test_a_missing_field_is_named(self):
        assert only_fault(body({k: FLIGHT[k] for k in FLIGHT if k != "origin"})) == (
            0,
            "origin",
            "is missing; expected a text",
        )

    def test_an_unknown_field_is_named(self):
        index, field, detail = only_fault(body({**FLIGHT, "dep_delay": 3}))
        assert (index, field) == (0, "dep_delay")
        assert detail.startswith("unknown field; the fields are distance, ")

    @pytest.mark.parametrize(("value", "kind"), [([1400], "a list"), (None, "null"), ("UA", "a text"), (7, "a whole")])
    def test_an_instance_must_be_an_object(self, value, kind):
        index, field, detail = only_fault(body(FLIGHT, value))
        assert (index, field) == (1, None)
        assert detail.startswith(f"is {kind}")

    @pytest.mark.parametrize("literal", ["1e39", "-1e39", "9" * 40])
    def test_a_number_beyond_32_bits_is_out_of_range(self, literal):
        wide = Signature(name="wide", task="regression", fields={"x": NumberField()})
        sent = b'{"instances": [{"x": %s}]}' % literal.encode()
        assert "expected a finite 32-bit number" in only_fault(sent, wide)[2]

    def test_of_many_faults_the_first_twenty_are_told_in_order(self):
        faults = faults_of(body(*[{"origin": 1, "carrier": 2}] * 50))
        assert len(faults) == 20
        assert [fault[0] for fault in faults] == sorted(fault[0] for fault in faults)

    def test_a_huge_value_is_not_echoed_whole(self):
        assert len(only_fault(body({**FLIGHT, "origin": "x" * 1_000_000}))[2]) < 200
        assert len(only_fault(body({**FLIGHT, "x" * 1_000_000: 1}))[1]) <= 40


class TestTheBody:
    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            (b"", "not valid JSON"),
            (b"{", "not valid JSON"),
            (b"\xff\xfe", "not valid JSON"),
            (b'{"instances": [NaN]}', "not valid JSON"),
            (b'{"instances": [{"distance": Infinity}]}', "not valid JSON"),
            (b"[" * 5000 + b"]" * 5000, "not valid JSON"),
            (b'{"instances": [1e999]}', "number is infinity"),
            (b"[]", 'is a list; expected an object {"instances": [...]}'),
            (b"null", "is null"),
            (b"{}", 'the key "instances" is missing'),
            (b'{"instance": []}', 'the key "instances" is missing'),
            (b'{"instances": {}}', '"instances" is an object; expected a list'),
            (b'{"instances": []}', '"instances" is empty'),
            (b'{"instances": [1], "signature_name": "x"}', 'unknown key "signature_name"'),
        ],
    )
    def test_is_an_object_with_a_list(self, sent, expected):
        assert expected in complaint(sent)

    def test_has_no_more_instances_than_the_model_takes(self):
        assert parse_json(body(*[FLIGHT] * 100), TABULAR)["distance"].shape == (100,)
        assert "101 instances are too many; send at most 100" in complaint(body(*[FLIGHT] * 101))


class TestKeys:
    def sent(self, keys, count=2) -> bytes:
        return json.dumps({"instances": [FLIGHT] * count, "keys": keys}).encode()

    def test_one_for_each_instance_is_taken_and_not_shown_to_the_model(self):
        assert set(parse_json(self.sent(["a", "ß✈" * 100]), TABULAR)) == set(TABULAR.fields)

    @pytest.mark.parametrize(
        ("keys", "detail"),
        [
            ("ab", '"keys" is a text; expected a list of texts'),
            (None, '"keys" is null; expected a list of texts'),
            ([], '"keys" has 0 entries; expected 2'),
            (["a", "b", "c"], '"keys" has 3 entries; expected 2'),
            (["a", 7], '"keys"[1] is a whole number; expected a text'),
            (["a", None], '"keys"[1] is null; expected a text'),
            (["", "b"], '"keys"[0] has 0 characters; expected 1 to 200'),
            (["a", "b" * 201], '"keys"[1] has 201 characters; expected 1 to 200'),
        ],
    )
    def test_others_are_refused(self, keys, detail):
        assert detail in complaint(self.sent(keys))

    @pytest.mark.parametrize("key", ["k", 'instances"', "true", "null"])
    @pytest.mark.parametrize("first", ["keys", "instances"])
    def test_pictures_are_read_as_well_with_keys_as_without(self, key, first):
        picture = np.arange(784).reshape(28, 28) % 256
        parts = {"instances": [picture.tolist()], "keys": [key]}
        sent = json.dumps({first: parts.pop(first), **parts}).encode()
        assert np.array_equal(parse_json(sent, PICTURE)["image"][0], picture)

    @pytest.mark.parametrize("first", ["keys", "instances"])
    def test_a_text_among_the_pixels_is_found_with_keys_as_without(self, first):
        rows = [[0] * 28 for _ in range(28)]
        parts = {"instances": [[["1", *rows[0][1:]], *rows[1:]]], "keys": ["k"]}
        sent = json.dumps({first: parts.pop(first), **parts}).encode()
        assert only_fault(sent, PICTURE) == (0, "image[0][0]", "is a text; expected a whole number")


class TestTensors:
    @pytest.mark.parametrize("instance", [IMAGE.tolist(), {"image": IMAGE.tolist()}, IMAGE.astype(float).tolist()])
    def test_come_bare_or_by_name_and_a_whole_number_may_be_written_with_a_point(self, instance):
        parsed = parse_json(body(instance, IMAGE.tolist()), PICTURE)["image"]
        assert parsed.dtype == np.uint8
        assert (parsed == IMAGE).all()

    def test_a_field_may_be_called_like_a_literal(self):
        assert parse_json(body({"is_true": [1, 2, 3.5]}), VECTOR)["is_true"].tolist() == [[1, 2, 3.5]]

    def test_whole_numbers_beyond_64_bits_are_floats(self):
        assert parse_json(body([2**63, 0, -1], [2**64 - 1, 0, -1]), VECTOR)["is_true"][0].tolist() == [2.0**63, 0, -1]

    @staticmethod
    def changed(value, row=3, column=5):
        picture = IMAGE.tolist()
        picture[row][column] = value
        return picture

    @pytest.mark.parametrize(
        ("value", "detail"),
        [
            (True, "is a boolean; expected a whole number"),
            ("7", "is a text; expected a whole number"),
            (None, "is null; expected a whole number"),
            (1.5, "is a number with a fraction; expected a whole number"),
            ([1], "is a list; expected a whole number"),
            ({}, "is an object; expected a whole number"),
            (256, "256 is out of range; expected 0 to 255"),
            (-1, "-1 is out of range; expected 0 to 255"),
            (10**30, f"{1e30:g} is out of range; expected 0 to 255"),
        ],
    )
    def test_a_wrong_pixel_is_named_by_its_place(self, value, detail):
        index, field, told = only_fault(body(IMAGE.tolist(), self.changed(value)), PICTURE)
        assert (index, field) == (1, "image[3][5]")
        assert told.replace("1e30", "1e+30") == detail

    @pytest.mark.parametrize(
        ("instance", "field", "detail"),
        [
            (IMAGE[:27].tolist(), "image", "has 27 entries; expected 28"),
            (IMAGE.reshape(784).tolist(), "image", "has 784 entries; expected 28"),
            (IMAGE.reshape(28, 28, 1).tolist(), "image[0][0]", "is a list; expected a whole number"),
            ([*IMAGE.tolist()[:27], [1, 2]], "image[27]", "has 2 entries; expected 28"),
            ([*IMAGE.tolist()[:27], 9], "image[27]", "is a whole number; expected a list of 28"),
            ([], "image", "has 0 entries; expected 28"),
            (7, "image", "is a whole number; expected a list of 28"),
            ("x", "image", "is a text; expected a list of 28"),
            (None, "image", "is null; expected a list of 28"),
            ({}, "image", "is missing; expected uint8 [28, 28]"),
            ({"image": IMAGE.tolist(), "label": 1}, "label", "unknown field; the only field is image"),
        ],
    )
    def test_a_wrong_shape_is_named(self, instance, field, detail):
        faults = faults_of(body(IMAGE.tolist(), instance), PICTURE)
        assert faults[0][:2] == (1, field)
        assert faults[0][2].startswith(detail)

    def test_the_first_twenty_faults_are_told(self):
        assert len(faults_of(body(*[(IMAGE - 300).tolist()] * 3), PICTURE)) == 20
        assert len(faults_of(body(*[[["x"] * 28] * 28] * 3), PICTURE)) == 20

    def test_one_long_text_does_not_make_room_in_every_cell(self):
        """NumPy makes an array of texts as wide as the longest; 500 cells of 8 MB would not fit here."""
        faults = faults_of(body("x" * 2_000_000, *[""] * 499), PICTURE)
        assert faults[0][1:] == ("image", "is a text; expected a list of 28 (the whole is uint8 [28, 28])")

    @pytest.mark.parametrize("value", ["1e39", "-1e39", "-1.5"])
    def test_floats_must_be_finite_and_in_range(self, value):
        sent = b'{"instances": [[0, 1, %s]]}' % value.encode()
        assert only_fault(sent, VECTOR)[:2] == (0, "is_true[2]")


class TestRawBytes:
    def test_are_tensors_one_after_the_other(self):
        pictures = np.stack([IMAGE, 255 - IMAGE]).astype(np.uint8)
        assert (parse_bytes(pictures.tobytes(), PICTURE)["image"] == pictures).all()
        numbers = np.array([[1, 2, 3.5]], "<f4")
        assert parse_bytes(numbers.tobytes(), VECTOR)["is_true"].tolist() == [[1, 2, 3.5]]

    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            (b"", "the body is empty"),
            (bytes(783), "783 bytes are no whole number"),
            (bytes(784 * 1001), "1001 instances are too many"),
        ],
    )
    def test_must_be_whole_instances(self, sent, expected):
        with pytest.raises(InvalidBody, match=expected):
            parse_bytes(sent, PICTURE)

    def test_are_not_for_tables(self):
        with pytest.raises(InvalidBody, match="send application/json"):
            parse_bytes(bytes(8), TABULAR)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -2])
    def test_must_be_in_range(self, value):
        with pytest.raises(InvalidInstances) as raised:
            parse_bytes(np.array([[0, 0, 0], [0, value, 0]], "<f4").tobytes(), VECTOR)
        (fault,) = raised.value.faults
        assert (fault.instance, fault.field) == (1, "is_true[1]")
        assert "expected at least -1" in fault.detail
