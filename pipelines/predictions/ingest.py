"""From a segment of recorded requests to rows of the prediction store.

A segment tells what its requests are made of, so no model is needed. It may come twice: ids make that harmless. What
of it cannot be read is counted, and the rest is kept.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bento.errors import SchemaTooNew
from bento.ids import parse_prediction_id
from bento.recording.segments import Exchange, NotASegment, Segment, SegmentHeader, read_segment
from bento.signature import Signature, TensorField
from pipelines.errors import MlopsError
from pipelines.predictions.privacy import StoreRules
from pipelines.predictions.store.rows import Loss, Origin, PredictionRow

if TYPE_CHECKING:
    import numpy as np

    from pipelines.predictions.store.store import Store

LARGEST_SEGMENT = 64 * 1024 * 1024
MOST_AHEAD = timedelta(minutes=5)
NO_ENVIRONMENT = "unknown"
FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)

IngestRules = Callable[[str], StoreRules]


class SegmentInvalid(MlopsError):
    """Bytes that are no segment of predictions. They will not become one: HTTP 400."""


class SegmentTooNew(MlopsError):
    """A segment of a newer server: this monitor must be upgraded first, and then takes it: HTTP 409."""


class SegmentTooLarge(MlopsError):
    """More bytes than one segment may have: HTTP 413."""


@dataclass(frozen=True)
class IngestReport:
    """What came of a segment, in predictions. `clock_skewed` ones came from the future, and are stored as of now."""

    usecase: str
    environment: str
    stored: int
    duplicates: int
    labelled: int
    malformed: int
    clock_skewed: int


class _Malformed(Exception):
    """A request and an answer that no server of ours can have recorded."""


def ingest(data: bytes, store: Store, rules: IngestRules, now: datetime, *, is_gzipped: bool = False) -> IngestReport:
    """Store a segment's predictions. `rules` gives a use case's, and raises UsecaseNotWatched where there is none.

    Raises SegmentInvalid, SegmentTooNew, SegmentTooLarge, UsecaseNotWatched, and what the store raises.
    """
    data = _inflate(data) if is_gzipped else data
    if len(data) > LARGEST_SEGMENT:
        raise SegmentTooLarge(f"a segment has at most {LARGEST_SEGMENT} bytes; this one has {len(data)}")
    try:
        segment = read_segment(data)
    except NotASegment as error:
        raise SegmentInvalid(str(error)) from None
    except SchemaTooNew as error:
        raise SegmentTooNew(str(error), hint="upgrade the monitor; the server keeps the segment until then") from None
    header = segment.header
    reader = _Reader(header, rules(header.usecase), now)
    rows, malformed = _read_all(segment, reader)
    kept = store.save_predictions(_origin(header), rows, now, _losses(data, segment, malformed))
    return IngestReport(
        usecase=header.usecase,
        environment=header.environment or NO_ENVIRONMENT,
        stored=kept.stored,
        duplicates=kept.duplicates,
        labelled=kept.labelled,
        malformed=malformed + segment.damaged + segment.torn,
        clock_skewed=reader.clock_skewed,
    )


class _Reader:
    """Reads the exchanges of one segment."""

    def __init__(self, header: SegmentHeader, rules: StoreRules, now: datetime) -> None:
        self.usecase = header.usecase
        self.signature = header.signature
        self.rules = rules
        self.now = now
        self.clock_skewed = 0

    def rows(self, exchange: Exchange) -> Iterator[PredictionRow]:
        """One for each prediction. Raises _Malformed."""
        import orjson

        try:
            answer = orjson.loads(exchange.answer)
            instances, keys = self._request(exchange)
            predictions, ids = answer["predictions"], answer["ids"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise _Malformed from error
        if not isinstance(predictions, list) or not isinstance(ids, list):
            raise _Malformed
        if not len(instances) == len(predictions) == len(ids) == len(keys):
            raise _Malformed
        time = self._time(exchange)
        for instance, prediction, name, key in zip(instances, predictions, ids, keys, strict=True):
            parsed = parse_prediction_id(name) if isinstance(name, str) else None
            if parsed is None or parsed.usecase != self.usecase or not isinstance(prediction, dict):
                raise _Malformed
            if key is not None and not isinstance(key, str):
                raise _Malformed
            yield PredictionRow(
                id=name,
                time=time,
                inputs=self.rules.apply(instance),
                output=prediction,
                join_key=None if key is None else self.rules.join_key(key),
                **_told(prediction),
            )

    def _request(self, exchange: Exchange) -> tuple[list[dict[str, Any]], list[str | None]]:
        import orjson

        tensor = self.signature.tensor
        if exchange.content_type == "application/octet-stream":
            if tensor is None:
                raise _Malformed
            name, field = tensor
            arrays = list(_arrays(bytes(exchange.request), field))
            return [{name: _packed(array, field)} for array in arrays], [None] * len(arrays)
        body = bytes(exchange.request)
        # PostgreSQL's texts cannot hold it, and nobody misses it.
        document = orjson.loads(body.replace(rb"\u0000", rb"\ufffd") if rb"\u0000" in body else body)
        instances, keys = document["instances"], document.get("keys")
        keys = [None] * len(instances) if keys is None else keys
        if not isinstance(instances, list) or not isinstance(keys, list):
            raise _Malformed
        if tensor is not None:
            return [{tensor[0]: _packed(_bare(instance, tensor[0]), tensor[1])} for instance in instances], keys
        return [_named(self.signature, instance) for instance in instances], keys

    def _time(self, exchange: Exchange) -> datetime:
        """A server's clock may be wrong; nothing is stored as of a time that has not come."""
        try:
            time = datetime.fromtimestamp(exchange.milliseconds / 1000, UTC)
        except (OverflowError, OSError, ValueError):
            raise _Malformed from None
        if time < FIRST_DAY:
            raise _Malformed
        if time > self.now + MOST_AHEAD:
            self.clock_skewed += exchange.predictions
            return self.now
        return time


def _read_all(segment: Segment, reader: _Reader) -> tuple[list[PredictionRow], int]:
    """Every row that can be read, each id once, and how many predictions cannot be."""
    rows: dict[str, PredictionRow] = {}
    malformed = 0
    for exchange in segment.exchanges:
        try:
            found = list(reader.rows(exchange))
        except _Malformed:
            malformed += max(1, exchange.predictions)
            continue
        rows.update((row.id, row) for row in found)
    return list(rows.values()), malformed


def _origin(header: SegmentHeader) -> Origin:
    return Origin(
        usecase=header.usecase,
        environment=header.environment or NO_ENVIRONMENT,
        bento=header.bento,
        model=header.model,
        run=header.run,
        commit=header.commit,
        signature=header.signature.model_dump(mode="json"),
    )


def _losses(data: bytes, segment: Segment, malformed: int) -> list[Loss]:
    """Told by the segment's bytes, so that a segment that comes twice is counted once."""
    counted = {"malformed": malformed, "damaged": segment.damaged, "torn": int(segment.torn)}
    if not any(counted.values()):
        return []
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return [Loss(f"{digest}.{reason}", reason, count) for reason, count in counted.items() if count]


def _told(prediction: dict[str, Any]) -> dict[str, Any]:
    """Class and confidence, or the value."""
    if "label" not in prediction:
        return {"value": float(prediction["value"])} if _is_number(prediction.get("value")) else {}
    probabilities = prediction.get("probabilities")
    numbers = [one for one in probabilities.values() if _is_number(one)] if isinstance(probabilities, dict) else []
    label = prediction["label"]
    return {
        "label": str(label).lower() if isinstance(label, bool) else str(label),
        "confidence": max(numbers, default=None),
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _named(signature: Signature, instance: Any) -> dict[str, Any]:
    """Every field in the signature's order; one that was left out is null."""
    if not isinstance(instance, dict):
        raise _Malformed
    return {name: instance.get(name) for name in signature.fields}


def _bare(instance: Any, name: str) -> Any:
    return instance[name] if isinstance(instance, dict) else instance


def _packed(values: Any, field: TensorField) -> dict[str, Any]:
    import numpy as np

    from pipelines.predictions.store.reading import pack_tensor

    array = np.asarray(values, dtype=field.dtype)
    if array.shape != field.shape:
        raise _Malformed
    return pack_tensor(array)


def _arrays(body: bytes, field: TensorField) -> Iterator[np.ndarray]:
    import numpy as np

    dtype = np.dtype(field.dtype).newbyteorder("<")
    yield from np.frombuffer(body, dtype=dtype).reshape(-1, *field.shape)


def _inflate(data: bytes) -> bytes:
    """At most what a segment may have, however much is packed into it."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        inflated = unpacking.decompress(data, LARGEST_SEGMENT + 1)
    except zlib.error as error:
        raise SegmentInvalid(f"the body is said to be gzip, and is not: {error}") from None
    if len(inflated) > LARGEST_SEGMENT:
        raise SegmentTooLarge(f"a segment has at most {LARGEST_SEGMENT} bytes when it is unpacked")
    if not unpacking.eof:
        raise SegmentInvalid("the gzip body ends too early")
    return inflated
