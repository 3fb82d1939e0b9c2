"""Segments are read whatever they hold: any bytes, any tail, any header that some server may send one day."""

import contextlib
import json
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bento.errors import SchemaTooNew
from bento.recording import segments
from bento.recording.segments import FRAME, MAGIC, NotASegment, count_predictions, read_segment
from pipelines.predictions.ingest import SegmentInvalid, SegmentTooNew, ingest
from pipelines.predictions.store.store import Store
from tests.recording_cases import NOW, Recorded, flights, header, no_rules
from tests.tiny_models import PICTURE

HEADER = header().to_values()
WHOLE = flights(5).segment()
BIG = 10**30
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-BIG, BIG) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def segment(values: Any, tail: bytes = b"") -> bytes:
    """A segment with this header."""
    text = json.dumps(values).encode()
    return MAGIC + FRAME.pack(len(text), zlib.crc32(text)) + text + tail


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('store') / 'monitor.db'}")
    yield opened
    opened.close()


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: MAGIC + tail))
def test_any_bytes_are_a_segment_or_named_as_none(data):
    assert count_predictions(data) >= 0
    with contextlib.suppress(NotASegment):
        read_segment(data)


@given(st.binary(max_size=300))
def test_whatever_follows_a_header_is_counted_as_damaged_or_torn(tail):
    found = read_segment(segment(HEADER, tail))
    assert found.header == header()
    assert found.damaged or found.torn or found.exchanges or not tail


@settings(deadline=None)
@given(st.integers(0, len(WHOLE)))
def test_a_torn_segment_gives_what_is_whole_before_the_tear(end):
    begun = len(segments.begin(header()))
    if end < begun:
        with pytest.raises(NotASegment):
            read_segment(WHOLE[:end])
        return
    whole, found = read_segment(WHOLE), read_segment(WHOLE[:end])
    assert [bytes(one.request) for one in found.exchanges] == [
        bytes(one.request) for one in whole.exchanges[: len(found.exchanges)]
    ]
    assert found.damaged == 0
    missing = len(whole.exchanges) - len(found.exchanges)
    assert found.torn == (end not in ends_of_frames())
    assert (missing == 0) == (end == len(WHOLE))
    assert count_predictions(WHOLE[:end]) == sum(one.predictions for one in found.exchanges)


def ends_of_frames() -> list[int]:
    place, found = len(MAGIC), []
    while place < len(WHOLE):
        place += FRAME.size + FRAME.unpack_from(WHOLE, place)[0]
        found.append(place)
    return found


@given(st.data())
def test_a_flipped_byte_of_an_exchange_costs_that_exchange_alone(data):
    begun, first = ends_of_frames()[:2]
    place = data.draw(st.integers(begun + FRAME.size, first - 1))
    spoilt = bytearray(WHOLE)
    spoilt[place] ^= data.draw(st.integers(1, 255))
    found = read_segment(bytes(spoilt))
    assert (found.damaged, len(found.exchanges)) == (1, len(read_segment(WHOLE).exchanges) - 1)


@given(st.data(), st.sampled_from([header(), header(PICTURE)]))
def test_keys_of_a_later_server_are_ignored_at_every_level(data, head):
    def strangers(known: Any) -> dict[str, Any]:
        return data.draw(st.dictionaries(st.text(max_size=8), ANY_JSON, max_size=2).map(lambda d: drop(d, known)))

    def drop(values: dict[str, Any], known: Any) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key not in known and key != "schema"}

    def with_strangers(value: Any) -> Any:
        if isinstance(value, BaseModel):
            known = {name: with_strangers(getattr(value, name)) for name in type(value).model_fields}
            return strangers(known) | known
        if isinstance(value, dict):
            return {key: with_strangers(part) for key, part in value.items()}
        return [with_strangers(part) for part in value] if isinstance(value, tuple) else value

    assert read_segment(segment(with_strangers(head))).header == head


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in the header."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in inner for found in paths(part, (*path, key)))]


def put(values: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    copy = dict(values) if isinstance(values, dict) else list(values)
    copy[key] = put(values[key], tuple(rest), new)
    return copy


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(paths(HEADER)), ANY_JSON | st.sampled_from([BIG, -BIG, 2**63, "\0", "x" * 5000, float("nan")]))
def test_an_absurd_value_in_the_header_is_refused_or_can_be_stored(store, path, value):
    data = segment(put(HEADER, path, value)) + b"".join(Recorded().exchanges)
    try:
        ingest(data, store, no_rules, NOW)
    except (SegmentInvalid, SegmentTooNew):
        return
    orjson.dumps(read_segment(data).header.to_values())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("signature", "max_batch"), BIG),
        (("signature", "max_batch"), 0),
        (("signature", "classes"), [BIG, 1]),
        (("bento",), "x" * 1001),
        (("run",), "a\0b"),
        (("signature", "fields"), {"x": {"type": "tensor", "shape": [BIG], "dtype": "uint8"}}),
        (("signature", "fields"), {"x": {"type": "sound"}}),
        (("schema",), "one"),
        ((), []),
    ],
)
def test_a_header_that_no_server_can_have_sent_is_answered_400_with_its_key(store, path, value):
    with pytest.raises(SegmentInvalid) as caught:
        ingest(segment(put(HEADER, path, value)), store, no_rules, NOW)
    assert caught.value.message.startswith("the segment's header: ")
    assert ".".join(path[:2]) in caught.value.message


def test_a_segment_of_a_later_shape_is_kept_by_its_server_until_the_monitor_is_upgraded(store):
    with pytest.raises(SegmentTooNew, match="a segment document of schema 2, written by a newer version") as caught:
        ingest(segment(HEADER | {"schema": 2}), store, no_rules, NOW)
    assert "upgrade the monitor" in (caught.value.hint or "")
    with pytest.raises(SchemaTooNew, match="a signature document of schema 3"):
        read_segment(segment(HEADER | {"signature": HEADER["signature"] | {"schema": 3}}))
