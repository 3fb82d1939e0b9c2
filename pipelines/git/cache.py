"""The private bare clone that a `Repository` works in: made on first use, kept packed, made anew when it is broken."""

import contextlib
import fcntl
import tempfile
import time
from pathlib import Path

from pipelines.git.process import GitFailed, run_git

# Every fetch of a few commits leaves one small pack; a log over thousands of loose objects takes ten times as long.
KEEP_PACKS = ("-c", "fetch.unpackLimit=1")
MOST_PACKS = 30
MOST_LOOSE = 3  # in one of 256 folders, so about 800
TURN_FILE = "mlops-pack.lock"
LOCK_SECONDS = 600  # no command of ours lasts longer


def ensure_cache(cache: Path) -> None:
    """Make an empty bare repository, unless there is one."""
    if (cache / "HEAD").is_file():
        return
    cache.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            made = Path(scratch) / "cache.git"
            run_git(["init", "--quiet", "--bare", str(made)])
            with contextlib.suppress(OSError):  # another process was faster: its cache is as good
                made.rename(cache)
        if (cache / "HEAD").is_file():
            return
        if is_private(cache):
            remove_cache(cache)
    raise GitFailed(f"{cache} is in the way: it is no Git repository", hint="move it away")


def is_private(cache: Path) -> bool:
    """Whether the clone holds nothing of its own: it has no branches, only what was fetched."""
    heads = cache / "refs" / "heads"
    return not (heads.is_dir() and any(heads.iterdir())) and not _has_packed_branches(cache)


def remove_cache(cache: Path) -> None:
    """Remove a private clone in one step, so that others never see half of one."""
    aside = tempfile.TemporaryDirectory(dir=cache.parent, prefix=".broken-", ignore_cleanup_errors=True)
    with aside as scratch, contextlib.suppress(FileNotFoundError):
        cache.rename(Path(scratch) / "cache.git")


def pack_cache(cache: Path) -> None:
    """Merge the small packs that fetches leave, when there are many; one process at a time, others skip it."""
    if not _is_scattered(cache):
        return
    with (cache / TURN_FILE).open("w") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        # It is only housekeeping: where it fails, the next fetch tries again.
        run_git(["repack", "--geometric=2", "-d", "-l", "-q"], cwd=cache, check=False)


def remove_stale_lock(path: str, cache: Path) -> bool:
    """Remove a lock in this cache that no command can still hold; False when it stays."""
    if not (Path(path).resolve().is_relative_to(cache.resolve()) and is_stale(path)):
        return False
    Path(path).unlink(missing_ok=True)
    return True


def is_stale(lock: str) -> bool:
    """Whether this lock file, if it is on this machine, is older than any command of ours may last."""
    try:
        return time.time() - Path(lock).stat().st_mtime > LOCK_SECONDS
    except OSError:
        return False


def _is_scattered(cache: Path) -> bool:
    packs = sum(1 for _ in (cache / "objects" / "pack").glob("*.pack"))
    loose = cache / "objects" / "17"
    return packs > MOST_PACKS or (loose.is_dir() and sum(1 for _ in loose.iterdir()) > MOST_LOOSE)


def _has_packed_branches(cache: Path) -> bool:
    try:
        return " refs/heads/" in (cache / "packed-refs").read_text("utf-8", errors="replace")
    except OSError:
        return False
