"""Where recorded predictions wait on disk until the monitor has them.

    <root>/lock                       held for a moment by whoever makes or adopts a folder
    <root>/<server>/lock              held by the server for as long as it lives
    <root>/<server>/*.open            the segment that is being written
    <root>/<server>/*.segment         closed ones; their names sort by age
    <root>/refused/*.segment          the last few that the monitor would not take, for people to look at

Several servers share a root. The folder of one that has died is adopted by the next that looks.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bento.recording.segments import count_predictions

OPEN, CLOSED = ".open", ".segment"
REFUSED = "refused"
LOCK = "lock"
REFUSED_KEPT = 5
SERVER = re.compile(r"server-[0-9]+-[0-9a-f]{8}")


class Spool:
    """One server's folder below a shared root. Every method may raise OSError: disks fill up and go away."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self.folder = root / f"server-{os.getpid()}-{secrets.token_hex(4)}"
        self._lock_file: int | None = None
        self._guard = threading.RLock()
        self._bytes = 0
        self._sending = ""

    @property
    def bytes(self) -> int:
        """What lies here, written or waiting."""
        return self._bytes

    def claim(self) -> None:
        """Make this server's folder, unless it is there."""
        if self._is_mine():
            return
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.root.stat().st_uid not in (os.getuid(), 0):  # 0: a volume
            raise PermissionError(errno.EPERM, "the folder belongs to another user")
        with self._root_lock():
            if self._is_mine():
                return
            if self._lock_file is not None:  # somebody has cleared the folder away
                os.close(self._lock_file)
                self._lock_file, self._bytes = None, 0
            self.folder.mkdir(mode=0o700, exist_ok=True)
            opened = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock_file = opened

    def adopt(self) -> int:
        """Take over the segments of servers that have died; how many they are."""
        self.claim()
        with self._root_lock():
            others = [path for path in self.root.iterdir() if SERVER.fullmatch(path.name) and path != self.folder]
            return sum(self._take_over(path) for path in others if _is_dead(path))

    def begin_segment(self) -> Path:
        """The path of a new one, open for writing."""
        return self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}{OPEN}"

    def grew(self, size: int) -> None:
        with self._guard:
            self._bytes += size

    def close_segment(self, path: Path) -> None:
        """It is written to its end, and may be shipped."""
        path.rename(path.with_suffix(CLOSED))

    def waiting(self) -> list[Path]:
        """Closed segments, the oldest first."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(self.folder.glob(f"*{CLOSED}"))
        return []

    @contextlib.contextmanager
    def sending(self, path: Path) -> Iterator[None]:
        """While it is under way to the monitor, it is not dropped."""
        with self._guard:
            self._sending = path.name
        try:
            yield
        finally:
            self._sending = ""

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more are within the limit."""
        return self.bytes + size <= self.limit

    def make_room(self, size: int) -> int:
        """Drop the oldest until there is room, or nothing is left to drop; how many predictions those held.

        At once a little more than is needed, so that a full spool is not searched for every request.
        """
        dropped = 0
        for path in self.waiting() if not self.has_room(size) else []:
            if self.has_room(max(size, self.limit // 16)):
                break
            dropped += self._discard(path)
        return dropped

    def expire(self, before: float, may_go: Callable[[str], bool]) -> int:
        """Drop what was begun before, in seconds since 1970, and `may_go` by its name; how many predictions it held."""
        return sum(self._discard(path) for path in self.waiting() if _begun(path) < before and may_go(path.name))

    def drop(self, path: Path) -> None:
        """The monitor has it."""
        size = path.stat().st_size
        path.unlink()
        self.grew(-size)

    def refuse(self, path: Path) -> None:
        """The monitor will never take it; the last few are kept for people."""
        size = path.stat().st_size
        folder = self.root / REFUSED
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            path.rename(folder / path.name)
            for old in sorted(folder.glob(f"*{CLOSED}"))[:-REFUSED_KEPT]:
                old.unlink(missing_ok=True)
        except OSError:
            path.unlink(missing_ok=True)
        self.grew(-size)

    def oldest(self) -> float | None:
        """When the oldest waiting segment was begun, in seconds since 1970."""
        waiting = self.waiting()
        return _begun(waiting[0]) if waiting else None

    def leave(self) -> None:
        """Give the folder up: what is left in it is for the next server."""
        if self._lock_file is None:
            return
        with contextlib.suppress(OSError), self._root_lock():
            if not self.waiting() and not any(self.folder.glob(f"*{OPEN}")):
                _remove(self.folder)
        os.close(self._lock_file)
        self._lock_file = None

    def _discard(self, path: Path) -> int:
        """Delete it unseen by the monitor; how many predictions it held."""
        with self._guard, contextlib.suppress(FileNotFoundError):
            if path.name == self._sending:
                return 0
            size, predictions = path.stat().st_size, 0
            with contextlib.suppress(OSError):  # what cannot be read can be deleted
                predictions = count_predictions(path.read_bytes())
            path.unlink()
            self.grew(-size)
            return predictions
        return 0

    def _is_mine(self) -> bool:
        return self._lock_file is not None and (self.folder / LOCK).exists()

    def _take_over(self, folder: Path) -> int:
        taken = 0
        for path in sorted([*folder.glob(f"*{OPEN}"), *folder.glob(f"*{CLOSED}")]):
            size = path.stat().st_size
            path.rename(self.folder / f"{path.stem}{CLOSED}")
            self.grew(size)
            taken += 1
        _remove(folder)
        return taken

    @contextlib.contextmanager
    def _root_lock(self) -> Iterator[None]:
        opened = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield
        finally:
            os.close(opened)


def _is_dead(folder: Path) -> bool:
    """Whether no living server holds this folder's lock."""
    try:
        opened = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(opened)
    return True


def _remove(folder: Path) -> None:
    """An empty one; whatever else somebody put there stays."""
    (folder / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _begun(path: Path) -> float:
    """A segment's name begins with the nanoseconds at which it was begun."""
    with contextlib.suppress(ValueError):
        return int(path.name.partition("-")[0]) / 1e9
    return path.stat().st_mtime
