"""What may lie in the spool of a server that was killed: torn segments, any bytes. Every whole record arrives, once."""

import secrets
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bento.recording import segments
from bento.recording.losses import Losses
from bento.recording.metrics import RecordingMetrics
from bento.recording.segments import MAGIC, NotASegment, read_segment
from bento.recording.shipper import Address, Shipper
from bento.recording.spool import CLOSED, OPEN, REFUSED, Spool
from tests.recording_cases import LoopbackMonitor, header

BEGINNING = segments.begin(header())
JSON = "application/json"


def frame(name: str) -> bytes:
    return b"".join(segments.pack(1, 1, JSON, b"request", b'{"ids": ["%s"]}' % name.encode()))


@st.composite
def left_behind(draw):
    """One file: its bytes, and the names of the records that are whole in it."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: MAGIC + tail)), []
    names = draw(st.lists(st.uuids().map(str), max_size=4))
    frames = [frame(name) for name in names]
    data = BEGINNING + b"".join(frames)
    end = draw(st.integers(0, len(data)) | st.just(len(data)))
    ends = [len(BEGINNING) + sum(map(len, frames[: number + 1])) for number in range(len(frames))]
    return data[:end], [name for name, place in zip(names, ends, strict=True) if place <= end]


def judge(body: bytes) -> int:
    """As the monitor does."""
    try:
        read_segment(body)
    except NotASegment:
        return 400
    return 200


@pytest.fixture(scope="module")
def monitor():
    made = LoopbackMonitor()
    made.judge = judge
    yield made
    made.close()


def files_in(root: Path, files: list[tuple[bytes, bool]]) -> None:
    """In the folder of a server that was killed; the last one may be open still."""
    dead = Spool(root, 10**9)
    dead.claim()
    for data, is_open in files:
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        (dead.folder / f"{name}{OPEN if is_open else CLOSED}").write_bytes(data)
    dead.leave()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(left_behind(), st.booleans()), max_size=6))
def test_every_whole_record_arrives_once_and_nothing_else_stops_the_others(monitor, left):
    monitor.bodies.clear()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files_in(root, [(data, is_open) for (data, _), is_open in left])
        spool = Spool(root, 10**9)
        metrics = RecordingMetrics(spool)
        shipper = Shipper(spool, lambda: Address(monitor.url), metrics, Losses(metrics), 3600)
        shipper.start()
        shipper.close(30)
        spool.leave()
        assert sorted(monitor.ids()) == sorted(name for (_, names), _ in left for name in names)
        assert spool.bytes == 0
        kept = {path.name for path in root.iterdir()} - {REFUSED, "lock"}
        assert kept == set()
        aside = sum(judge(data) == 400 for (data, _), _ in left)
        assert len(list((root / REFUSED).glob("*"))) == min(aside, 5)


@settings(deadline=None, max_examples=60)
@given(st.lists(left_behind(), max_size=8), st.integers(0, 4000), st.integers(0, 1000))
def test_a_spool_that_makes_room_keeps_the_newest_and_stays_within_its_limit(left, limit, size):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files_in(root, [(data, False) for data, _ in left])
        spool = Spool(root, limit)
        assert spool.adopt() == len(left)
        before = [path.read_bytes() for path in spool.waiting()]
        assert before == [data for data, _ in left]
        spool.make_room(size)
        after = [path.read_bytes() for path in spool.waiting()]
        assert after == before[len(before) - len(after) :]
        assert spool.bytes == sum(map(len, after))
        assert spool.has_room(size) or not after
        spool.leave()
