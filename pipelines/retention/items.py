"""A thing that may be removed, and how a folder goes without ever being half there."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

HIDDEN = ".removed-"
LEFT_BEHIND = timedelta(days=1)  # after which a temporary file's writer is no longer alive


@dataclass(frozen=True)
class RetentionItem:
    """`kept`: why it stays; None where it goes. `remove` is called then, once."""

    name: str
    size: int
    kept: str | None
    remove: Callable[[], object]


def remove_folder(folder: Path) -> None:
    """Rename it out of every reader's sight, then delete it; what a kill leaves behind goes the next time."""
    hidden = folder.with_name(f"{HIDDEN}{folder.name}")
    if hidden.exists():
        shutil.rmtree(hidden)
    folder.rename(hidden)
    shutil.rmtree(hidden)


def hidden_items(place: Path) -> Iterator[RetentionItem]:
    """What earlier cleans were killed over."""
    for folder in sorted(place.glob(f"{HIDDEN}*")):
        yield RetentionItem(folder.name, size_of(folder), None, partial(shutil.rmtree, folder))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; what vanishes meanwhile counts as nothing."""
    try:
        if not path.is_dir():
            return path.lstat().st_size
        with os.scandir(path) as entries:
            return sum(
                size_of(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else _size(entry) for entry in entries
            )
    except OSError:
        return 0


def modified(path: Path) -> datetime | None:
    """The time of a file's or folder's last change; None where there is none."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def young(last_used: datetime, now: datetime, keep: timedelta) -> str | None:
    """The reason that keeps what was used lately."""
    return f"used in the last {keep.days} days" if now - last_used < keep else None


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
