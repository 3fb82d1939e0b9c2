"""Processes remembered by pid and start time, so that a number used again is never taken for the old process."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from pipelines.documents import Document, SchemaTooNew

CLOCK_SLACK_SECONDS = 0.05


class ProcessMark(Document):
    """One process: its pid, and when it was started (seconds since 1970, as the system tells it)."""

    KIND = "process-mark"

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int | None = None) -> "ProcessMark":
        """The mark of a process that runs now (default: this one). Raises psutil.NoSuchProcess when it is gone."""
        import psutil

        pid = os.getpid() if pid is None else pid
        return cls(pid=pid, created=psutil.Process(pid).create_time())

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < CLOCK_SLACK_SECONDS
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


class ProcessBook:
    """A folder with one mark per supervised process: what a supervisor that was killed leaves for the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, pid: int, name: str) -> None:
        import psutil

        try:
            ProcessMark.of(pid).write(self.folder / f"{pid}.{name}.json")
        except psutil.NoSuchProcess:
            return

    def remove(self, pid: int) -> None:
        for path in self.folder.glob(f"{pid}.*.json"):
            path.unlink(missing_ok=True)

    def has(self, pid: int) -> bool:
        """Whether this process was started by the supervisor of this folder, living or dead."""
        marks = (ProcessMark.read(path) for path in self.folder.glob(f"{pid}.*.json"))
        return any(mark.is_alive() for mark in marks)

    def end_all(self, patience: float = 5.0) -> list[str]:
        """End every marked process that still runs, with its children; gives their names."""
        ended, marks = [], []
        for path in sorted(self.folder.glob("*.json")):
            try:
                mark = ProcessMark.read(path)
            except (ValueError, SchemaTooNew):
                path.unlink(missing_ok=True)
                continue
            if mark.is_alive():
                ended.append(path.name.split(".", 1)[1].removesuffix(".json"))
                marks += [mark, *_children(mark.pid)]
        end(marks, patience)
        for path in self.folder.glob("*.json"):
            path.unlink(missing_ok=True)
        return ended


def end(marks: Iterable[ProcessMark], patience: float) -> None:
    """SIGTERM, and SIGKILL for what is still there after `patience` seconds."""
    left = [mark for mark in marks if mark.is_alive()]
    for mark in left:
        _signal(mark, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [mark for mark in left if mark.is_alive()]
    for mark in left:
        _signal(mark, signal.SIGKILL)
    while any(mark.is_alive() for mark in left):
        time.sleep(0.02)


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    told = [line for line in text.splitlines() if line.strip()]
    return "\n".join(told[-lines:])


def _children(pid: int) -> list[ProcessMark]:
    import psutil

    try:
        return [ProcessMark(pid=c.pid, created=c.create_time()) for c in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _signal(mark: ProcessMark, number: signal.Signals) -> None:
    if mark.is_alive():
        try:
            os.kill(mark.pid, number)
        except ProcessLookupError:
            return
