"""How predictions lie on disk and go to the monitor: segments of frames, each with its length and checksum.

    segment    MAGIC, one frame with the header as JSON, then one frame for each request
    frame      length and CRC-32 of what follows, 4 bytes each, little endian
    exchange   milliseconds (8 bytes), predictions (4), content type (1), length of the request (4), request, answer

The header says which release answered and what its inputs are, so that a reader needs no model. A server that is
killed leaves a torn last frame; everything before it can be read.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError

from bento.documents import Document
from bento.errors import BentoError
from bento.signature import Signature

MAGIC = b"mlops-predictions-1\n"
MEDIA_TYPE = "application/vnd.mlops.predictions.v1"
CONTENT_TYPES = ("application/json", "application/octet-stream")
FRAME = struct.Struct("<II")
EXCHANGE = struct.Struct("<QIBI")
OVERHEAD = FRAME.size + EXCHANGE.size

Name = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]  # what every store can hold and index


class NotASegment(BentoError):
    """Bytes that do not begin as a segment does, so that nothing of them can be used."""


class SegmentHeader(Document):
    """Where all answers of a segment come from."""

    KIND = "segment"

    bento: Name
    model: Name
    run: Name
    data: Name
    code: Name
    environment: Name | None
    commit: Name | None
    signature: Signature

    @property
    def usecase(self) -> str:
        return self.bento.partition(":")[0]


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they went over the wire."""

    milliseconds: int
    predictions: int
    content_type: str
    request: memoryview
    answer: memoryview


@dataclass(frozen=True)
class Segment:
    """What can be read of one. `damaged`: exchanges with another checksum; `torn`: it ends in the middle of a frame."""

    header: SegmentHeader
    exchanges: list[Exchange]
    damaged: int = 0
    torn: bool = False


def begin(header: SegmentHeader) -> bytes:
    """The first bytes of a segment."""
    text = header.to_json().encode()
    return MAGIC + FRAME.pack(len(text), zlib.crc32(text)) + text


def pack(milliseconds: int, predictions: int, content_type: str, request: bytes, answer: bytes) -> list[bytes]:
    """The parts of one frame."""
    head = EXCHANGE.pack(milliseconds, predictions, CONTENT_TYPES.index(content_type), len(request))
    checksum = zlib.crc32(answer, zlib.crc32(request, zlib.crc32(head)))
    return [FRAME.pack(len(head) + len(request) + len(answer), checksum), head, request, answer]


def read_segment(data: bytes) -> Segment:
    """Whatever is whole.

    Raises:
        NotASegment: not even the header is whole, or it is none.
        SchemaTooNew: a newer server wrote the header; a newer reader can read it.
    """
    frames = _frames(memoryview(data)[len(MAGIC) :])
    first = next(frames, None)
    if not data.startswith(MAGIC) or first is None or first[1] is None:
        raise NotASegment(f"no segment of predictions: it must begin with {MAGIC.decode().strip()!r} and a header")
    try:
        header = SegmentHeader.parse(bytes(first[1]), "the segment's header")
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(part) for part in wrong["loc"])
        raise NotASegment(f"the segment's header: {place}: {wrong['msg']}") from None
    exchanges: list[Exchange] = []
    damaged, end = 0, first[0]
    for end, payload in frames:  # noqa: B007 - where the last whole frame ends
        exchange = None if payload is None else _exchange(payload)
        if exchange is None:
            damaged += 1
        else:
            exchanges.append(exchange)
    return Segment(header, exchanges, damaged, torn=len(MAGIC) + end < len(data))


def count_predictions(data: bytes) -> int:
    """How many a segment holds, without looking at them."""
    if not data.startswith(MAGIC):
        return 0
    found, place = -1, len(MAGIC)
    counted = 0
    while place + FRAME.size <= len(data):
        size, _ = FRAME.unpack_from(data, place)
        place += FRAME.size
        if place + size > len(data):
            break
        found += 1
        if found and size >= EXCHANGE.size:
            counted += EXCHANGE.unpack_from(data, place)[1]
        place += size
    return counted


def _frames(data: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Where each whole frame ends, and its payload; None when the checksum is another."""
    place = 0
    while place + FRAME.size <= len(data):
        size, checksum = FRAME.unpack_from(data, place)
        end = place + FRAME.size + size
        if end > len(data):
            return
        payload = data[place + FRAME.size : end]
        yield end, payload if zlib.crc32(payload) == checksum else None
        place = end


def _exchange(payload: memoryview) -> Exchange | None:
    if len(payload) < EXCHANGE.size:
        return None
    milliseconds, predictions, kind, length = EXCHANGE.unpack_from(payload)
    rest = payload[EXCHANGE.size :]
    if kind >= len(CONTENT_TYPES) or length > len(rest):
        return None
    return Exchange(milliseconds, predictions, CONTENT_TYPES[kind], rest[:length], rest[length:])
