"""A prediction's id says who made it and when."""

from datetime import UTC, datetime, timedelta

import pytest

from bento.ids import PredictionIds, parse_prediction_id


def test_ids_are_unique_and_sort_by_time():
    one, other = PredictionIds("flight-delays:7"), PredictionIds("flight-delays:7")
    made = one.make(5000)
    later = one.make(5000)
    assert len({*made, *later, *other.make(5000)}) == 15_000
    assert [*made, *later] == sorted([*made, *later])


@pytest.mark.parametrize(("bento", "version"), [("flight-delays:7", "7"), ("iris:1.2.3-rc.1", "1.2.3-rc.1")])
def test_an_id_is_read_back(bento, version):
    (made,) = PredictionIds(bento).make(1)
    parsed = parse_prediction_id(made)
    assert parsed is not None
    assert (parsed.usecase, parsed.version) == (bento.partition(":")[0], version)
    assert abs(parsed.time - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flight-delays",
        "flight-delays.7",
        "flight-delays.7.0199c2a1f03b7d41c09e00000",  # one digit short
        "flight-delays.7.0199c2a1f03b7d41c09e0000011",  # one too many, without a dot
        "flight-delays.7.0199C2A1F03B7D41C09E000001",
        "flight-delays.7.0199c2a1f03b7d41c09e000001\n",
        ".7.0199c2a1f03b7d41c09e000001",
        "Flight.7.0199c2a1f03b7d41c09e000001",
        "flight-delays.7.ffffffffffff7d41c09e000001",  # a time after the year 9999
        "flight-delays..0199c2a1f03b7d41c09e000001",
    ],
)
def test_anything_else_is_no_id(text):
    assert parse_prediction_id(text) is None
