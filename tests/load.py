"""Keep-alive HTTP clients in one event loop, lean enough to leave the processor to the server they load."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

ANSWER_SECONDS = 30


@dataclass
class Answers:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    connections: int = 0

    def percentile(self, share: float) -> float:
        """In seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Load:
    """`with Load(port, body, clients=8) as load: ...` posts to /predict all the while; then read `load.answers`.

    A client reuses its connection until the server says `Connection: close`, as any HTTP client does, and never
    repeats a request: everything but a 200 is a failure. `kind` names an answer's body, to count them by.
    """

    def __init__(  # noqa: PLR0913 - as many as one can say of a load
        self,
        port: int,
        body: bytes,
        *,
        clients: int,
        path: str = "/predict",
        content_type: str = "application/json",
        kind: Callable[[bytes], str] = lambda _: "",
        pause: float = 0,
        host: str = "127.0.0.1",
    ) -> None:
        head = f"POST {path} HTTP/1.1\r\nhost: model\r\ncontent-type: {content_type}\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.host, self.port, self.clients, self.kind, self.pause = host, port, clients, kind, pause
        self.answers = Answers()
        self.first_seen: dict[str, float] = {}  # by kind, on the monotonic clock
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()

    def answered(self) -> int:
        return len(self.answers.seconds)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self.clients)))

    async def _client(self) -> None:
        while not self._stopping:
            writer = None
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port)
                self.answers.connections += 1
                await self._keep_asking(reader, writer)
            except Exception as error:  # noqa: BLE001 - whatever it is, a client saw it
                self.answers.failures.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.01)
            finally:
                if writer is not None:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()

    async def _keep_asking(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._stopping:
            began = time.perf_counter()
            writer.write(self.request)
            head, body = await asyncio.wait_for(read_answer(reader), ANSWER_SECONDS)
            self.answers.seconds.append(time.perf_counter() - began)
            if b" 200 " not in head[:20]:
                self.answers.failures.append(f"{head[:60]!r} {body[:200]!r}")
            kind = self.kind(body)
            self.answers.kinds[kind] += 1
            self.first_seen.setdefault(kind, time.monotonic())
            if b"connection: close" in head:
                return
            if self.pause:
                await asyncio.sleep(self.pause)


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """An answer's head, in lower case, and its body; the server must say the body's length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    return head, await reader.readexactly(length)
