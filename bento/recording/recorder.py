"""Keeping every prediction without a request noticing: one append in memory; a thread writes it to the spool.

Where RecordingVariables name a monitor, a server records what it answers, and `bento.recording.shipper` sends it there.
Whatever cannot be kept is dropped and counted; no request waits or fails for it.
"""

import collections
import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from bento.recording import segments
from bento.recording.losses import Losses
from bento.recording.metrics import RecordingMetrics
from bento.recording.segments import SegmentHeader
from bento.recording.shipper import Address, Shipper
from bento.recording.spool import Spool
from bento.variables import Variables, VariableWrong, variable

QUEUE_BYTES = 32 * 1024 * 1024
QUEUE_LENGTH = 20_000
WAKE_BYTES = 2 * 1024 * 1024  # more than this is written at once
PAUSE_SECONDS = 0.1
SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENT_SECONDS = 1.0
RETRY_SECONDS = 5.0
LOOK_SECONDS = 2.0
SHIP_SECONDS = 10.0
DEFAULT_SPOOL_BYTES = 64 * 1024 * 1024
DEFAULT_SPOOL_HOURS = 7 * 24

log = logging.getLogger("bento")


class RecordingVariables(Variables):
    """Read by a model server when it starts. What it records waits in a spool until the monitor has taken it."""

    title: ClassVar[str] = "Recording predictions"

    monitor: str = variable("MLOPS_MONITOR_URL", "", "The monitor, where predictions go.", shown="none: no recording")
    token: SecretStr | None = variable("MLOPS_MONITOR_TOKEN", None, "Bearer token for the monitor.")
    folder: Path | None = variable(
        "MLOPS_MONITOR_FOLDER",
        None,
        "In place of both: a folder with the files `url` and `token`, which may come later, and change.",
    )
    spool: Path | None = variable(
        "MLOPS_SPOOL",
        None,
        "The folder in which predictions wait.",
        shown="`mlops-spool-<user id>` in the system's temporary folder",
    )
    spool_bytes: int = variable(
        "MLOPS_SPOOL_BYTES",
        DEFAULT_SPOOL_BYTES,
        "Most bytes that may wait there; then the oldest predictions are dropped.",
        shown="64 MiB",
        ge=1,
    )
    spool_hours: int = variable(
        "MLOPS_SPOOL_HOURS",
        DEFAULT_SPOOL_HOURS,
        "How long a prediction may wait there for a monitor that does not take it; then it is dropped.",
        shown="168, a week",
        ge=1,
    )


@dataclass(frozen=True)
class RecordingOptions:
    """Where to, and how much may wait."""

    monitor: str = ""
    token: str = field(default="", repr=False)
    folder: Path | None = None
    spool: Path = Path(tempfile.gettempdir()) / f"mlops-spool-{os.getuid()}"
    spool_bytes: int = DEFAULT_SPOOL_BYTES
    spool_hours: int = DEFAULT_SPOOL_HOURS

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "RecordingOptions | None":
        """From the environment; None where nothing is to be recorded.

        A size that cannot be is logged and left out: a server that answers is worth more than one that records.
        """
        env = os.environ if environ is None else environ
        try:
            given = RecordingVariables.load(env)
        except VariableWrong as error:
            log.error("%s; the default is used", error)  # noqa: TRY400 - its cause is the message
            given = RecordingVariables.load({**env, "MLOPS_SPOOL_BYTES": "", "MLOPS_SPOOL_HOURS": ""})
        monitor = given.monitor.rstrip("/")
        if not monitor and not given.folder:
            return None
        return cls(
            monitor=monitor,
            token=given.token.get_secret_value() if given.token else "",
            folder=None if monitor else given.folder,
            spool=given.spool or cls.spool,
            spool_bytes=given.spool_bytes,
            spool_hours=given.spool_hours,
        )

    def address(self) -> Address | None:
        """Where to now; None while the folder, a Secret that is mounted, does not say."""
        if self.folder is None:
            return Address(self.monitor, self.token)
        try:
            url, token = ((self.folder / name).read_text("utf-8", "replace").strip() for name in ("url", "token"))
        except OSError:
            return None
        return Address(url.rstrip("/"), token) if url else None


class Recorder:
    """Takes exchanges from the event loop's thread; two threads of its own write and ship them."""

    def __init__(self, options: RecordingOptions, header: SegmentHeader) -> None:
        self.spool = Spool(options.spool, options.spool_bytes)
        self.metrics = RecordingMetrics(self.spool)
        self.losses = Losses(self.metrics)
        self.shipper = Shipper(self.spool, options.address, self.metrics, self.losses, options.spool_hours * 3600)
        self._options = options
        self._is_on = options.address() is not None
        self._looked = time.monotonic()
        self._beginning = segments.begin(header)
        self._queue: collections.deque[tuple[int, int, str, bytes, bytes]] = collections.deque()
        # Each has one writer: what the event loop put in, and what the thread took out.
        self._put, self._taken = 0, 0
        self._wake = threading.Event()
        self._stopping = False
        self._segment: _OpenSegment | None = None
        self._broken_until = 0.0
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)

    def start(self) -> None:
        if not self._is_on:
            log.warning("%s does not say where the monitor is; nothing is recorded until it does", self._options.folder)
        self._thread.start()
        self.shipper.start()

    def record(self, content_type: str, request: bytes, answer: bytes, predictions: int) -> None:
        """Called with every answer, from one thread. Never waits and never raises."""
        if not self._is_on:
            return
        size = len(request) + len(answer)
        waiting = self._put - self._taken + size
        if waiting > QUEUE_BYTES or len(self._queue) >= QUEUE_LENGTH:
            self.losses.drop(
                "queue-full", predictions, "predictions come faster than they can be kept: some are dropped"
            )
            return
        self._put += size
        self._queue.append((time.time_ns() // 1_000_000, predictions, content_type, request, answer))
        if waiting > WAKE_BYTES:
            self._wake.set()

    def close(self, seconds: float = SHIP_SECONDS) -> None:
        """Write what is in memory, ship what can be shipped in time, leave the rest on disk."""
        if self._stopping:
            return
        deadline = time.monotonic() + seconds
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self.shipper.close(max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(OSError):
            self.spool.leave()
        self.losses.report(is_last=True)

    def _run(self) -> None:
        while True:
            self._wake.wait(PAUSE_SECONDS)
            self._wake.clear()
            stopping = self._stopping  # read before the queue is, so that nothing is left in it
            try:
                if not self._is_on:
                    self._look_for_the_monitor()
                self._write_queue()
                self._close_segment(unless_younger=0.0 if stopping else SEGMENT_SECONDS)
                self.losses.report()
            except Exception:
                log.exception("recording predictions failed; it goes on with the next ones")
            if stopping:
                return

    def _look_for_the_monitor(self) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if self._options.address() is not None:
            log.warning("%s says where the monitor is; predictions are recorded from now on", self._options.folder)
            self._is_on = True

    def _write_queue(self) -> None:
        while self._queue:
            parts: list[bytes] = []
            size, exchanges, predictions = 0, 0, 0
            while self._queue and size < SEGMENT_BYTES:
                milliseconds, count, content_type, request, answer = self._queue.popleft()
                parts += segments.pack(milliseconds, count, content_type, request, answer)
                size += len(request) + len(answer)
                exchanges += 1
                predictions += count
            self._write(parts, size + exchanges * segments.OVERHEAD, predictions)
            self._taken += size

    def _write(self, parts: list[bytes], size: int, predictions: int) -> None:
        if time.monotonic() < self._broken_until:
            self.metrics.drop("spool-broken", predictions)
            return
        if not self._make_room(size + (len(self._beginning) if self._segment is None else 0)):
            self.losses.drop("spool-full", predictions, f"{self.spool.root} is too small for what is recorded at once")
            self._close_segment()
            return
        try:
            if self._segment is None:
                self.spool.claim()
                self._segment = _OpenSegment(self.spool, self._beginning)
            self._segment.append(parts)
        except OSError as error:
            self.metrics.drop("spool-broken", predictions)
            self._broken_until = time.monotonic() + RETRY_SECONDS
            self._tell(f"predictions cannot be kept in {self.spool.root}: {error.strerror}; they are dropped")
            self._close_segment()
            return
        self._tell("")
        self.metrics.recorded.inc(predictions)
        if self._segment.size >= SEGMENT_BYTES:
            self._close_segment()

    def _make_room(self, size: int) -> bool:
        """Whether so many bytes can be written, perhaps in place of the oldest."""
        if self.spool.has_room(size):
            return True
        why = f"{self.spool.limit} bytes wait for the monitor in {self.spool.root}: the oldest predictions are dropped"
        with contextlib.suppress(OSError):
            self.losses.drop("spool-full", self.spool.make_room(size), why)
        return self.spool.has_room(size)

    def _close_segment(self, unless_younger: float = 0.0) -> None:
        segment = self._segment
        if segment is None or (unless_younger and time.monotonic() - segment.began < unless_younger):
            return
        self._segment = None
        try:
            segment.close()
            self.shipper.wake()
        except OSError as error:
            self._tell(f"{segment.path} cannot be closed: {error.strerror}")

    _told = ""

    def _tell(self, trouble: str) -> None:
        """Each trouble once, not with every request."""
        if trouble and trouble != self._told:
            log.error("%s", trouble)
        elif self._told and not trouble:
            log.warning("predictions are kept in %s again", self.spool.root)
        self._told = trouble


class _OpenSegment:
    """The segment that is being written. It holds whole frames, whatever happens to the disk."""

    def __init__(self, spool: Spool, beginning: bytes) -> None:
        self.spool = spool
        self.path = spool.begin_segment()
        self.began = time.monotonic()
        self.size = 0
        self._file: Any = self.path.open("xb", buffering=0)
        try:
            self.append([beginning])
        except OSError:
            self._file.close()
            self.path.unlink(missing_ok=True)
            raise

    def append(self, parts: list[bytes]) -> None:
        """All of them or, when the disk is full, none."""
        data = memoryview(b"".join(parts))
        rest = data
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self.size)
            raise
        self.size += len(data)
        self.spool.grew(len(data))

    def close(self) -> None:
        self._file.close()
        self.spool.close_segment(self.path)
