"""Recorded predictions for tests: segments as a server writes them, and a monitor on loopback that takes them."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import orjson

from bento.ids import PredictionIds
from bento.recording import segments
from bento.recording.segments import SegmentHeader, read_segment
from bento.signature import Signature
from pipelines.predictions.privacy import StoreRules
from tests.tiny_models import PICTURE, TABULAR

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FLIGHT = {"distance": 1400, "temperature": None, "origin": "EWR", "carrier": "UA"}
SALE = Signature(name="tiny-sale", task="regression", fields={"x": {"type": "number"}})  # type: ignore[dict-item]


def header(signature: Signature = TABULAR, version: str = "7", environment: str | None = "staging") -> SegmentHeader:
    return SegmentHeader(
        bento=f"{signature.name}:{version}",
        model=f"{signature.name}/{version}",
        run="r" * 32,
        data="d" * 12,
        code="c" * 40,
        environment=environment,
        commit="a" * 40,
        signature=signature,
    )


class Recorded:
    """What one server recorded: add requests, then take `segment()`."""

    def __init__(self, head: SegmentHeader | None = None) -> None:
        self.header = head or header()
        self.ids: list[str] = []
        self.exchanges: list[bytes] = []
        self._ids = PredictionIds(self.header.bento)

    def add(
        self,
        *instances: Any,
        at: datetime = NOW - timedelta(hours=1),
        keys: list[str] | None = None,
        predictions: list[Any] | None = None,
    ) -> list[str]:
        """One JSON request; the ids it got."""
        body = {"instances": list(instances), **({} if keys is None else {"keys": keys})}
        return self.add_raw("application/json", orjson.dumps(body), len(instances), at, predictions)

    def add_raw(
        self, content_type: str, body: bytes, count: int, at: datetime = NOW, predictions: list[Any] | None = None
    ) -> list[str]:
        made = self._ids.make(count)
        told = predictions or [self._prediction(number) for number in range(count)]
        answer = orjson.dumps({"predictions": told, "ids": made, "release": {}})
        parts = segments.pack(int(at.timestamp() * 1000), count, content_type, body, answer)
        self.exchanges.append(b"".join(parts))
        self.ids += made
        return made

    def segment(self) -> bytes:
        return segments.begin(self.header) + b"".join(self.exchanges)

    def _prediction(self, number: int) -> dict[str, Any]:
        if self.header.signature.task == "regression":
            return {"value": float(number)}
        names = [str(name).lower() if isinstance(name, bool) else name for name in self.header.signature.classes or ()]
        rest = 0.2 / (len(names) - 1)
        return {
            "label": (self.header.signature.classes or ())[-1],
            "probabilities": {name: 0.8 if name == names[-1] else rest for name in names},
        }


def flights(count: int = 1, **options: Any) -> Recorded:
    recorded = Recorded()
    for number in range(count):
        recorded.add({**FLIGHT, "distance": number}, **options)
    return recorded


def pictures() -> tuple[Recorded, np.ndarray]:
    """One picture as JSON, one named, and two raw."""
    arrays = np.random.default_rng(5).integers(0, 256, (4, 28, 28)).astype("uint8")
    recorded = Recorded(header(PICTURE))
    recorded.add(arrays[0].tolist())
    recorded.add({"image": arrays[1].tolist()})
    recorded.add_raw("application/octet-stream", arrays[2:].tobytes(), 2)
    return recorded, arrays


def no_rules(usecase: str) -> StoreRules:
    return StoreRules(usecase, {}, (), b"")


class LoopbackMonitor:
    """Takes segments as the monitor does, or answers what a test tells it to."""

    def __init__(self, port: int = 0, *, keep: bool = True) -> None:
        self.bodies: list[bytes] = []
        self.tokens: list[str] = []
        self.statuses: deque[int] = deque()  # the next answers; then `status`
        self.status = 200
        self.retry_after = ""
        self.judge: Callable[[bytes], int] | None = None  # what it answers, by the body
        self.says_why = True  # as the monitor does; a proxy does not
        self.refuses: set[str] = set()  # texts of which a segment is always answered with `status`
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # a server that was killed
                    super().handle()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if keep:
                    monitor.tokens.append(self.headers.get("authorization", ""))
                status = monitor.statuses.popleft() if monitor.statuses else monitor.status
                if monitor.refuses and not any(text.encode() in body for text in monitor.refuses):
                    status = 200
                status = monitor.judge(body) if monitor.judge else status
                if status < 300 and keep:
                    monitor.bodies.append(body)
                told = b'{"detail": "because"}' if status >= 400 and monitor.says_why else b""
                self.send_response(status)
                self.send_header("content-length", str(len(told)))
                if told:
                    self.send_header("content-type", "application/problem+json")
                if monitor.retry_after:
                    self.send_header("retry-after", monitor.retry_after)
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ids(self) -> list[str]:
        """Of every prediction that was taken, as often as it came."""
        return [
            name
            for body in list(self.bodies)
            for exchange in read_segment(body).exchanges
            for name in orjson.loads(exchange.answer)["ids"]
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
