"""What kustomize made of a folder, kept under a hash of everything it reads.

kustomize is a process that takes a tenth of a second and more for each folder, and a tree of 300 use cases has a
thousand folders. The key covers the bytes of every file that the folder's kustomization names, directly or through
others, so an entry is never stale. What comes from the network is not kept.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from pipelines.documents import write_atomically
from pipelines.variables import Variables, variable

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
FORMAT = 1
KEPT_SECONDS = 30 * 86400.0
PRUNED_FILE = ".pruned"
PRUNED_EVERY_SECONDS = 86400.0

Built = list[tuple[str, dict[str, Any]]]
"""Each object after the path of its file, relative to the folder that was built; empty where that is not known."""


class CacheVariables(Variables):
    """Read by `mlops check` and `mlops render`."""

    title: ClassVar[str] = "Builds of the tree"

    builds: Path | None = variable(
        "MLOPS_BUILD_CACHE",
        None,
        "Where built folders of the tree are kept, by content. It may be deleted at any time.",
        shown="`mlops-blueprint/builds` in `XDG_CACHE_HOME`, else in `~/.cache`",
    )


def cache_folder() -> Path:
    """MLOPS_BUILD_CACHE, else a folder in the user's cache."""
    if named := CacheVariables.load().builds:
        return named
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlops-blueprint" / "builds"


def key_of(folder: Path, components: Sequence[str], patches: Sequence[Any], tool: Path) -> str | None:
    """The name under which a build is kept; None where it reads from the network or from what is not there."""
    digest = hashlib.sha256()
    status = tool.stat()
    digest.update(json.dumps([FORMAT, status.st_size, status.st_mtime_ns, list(components), list(patches)]).encode())
    try:
        for start in (folder, *(folder / component for component in components)):
            for path in sorted(_files(start.resolve(), set())):
                digest.update(os.path.relpath(path, folder.resolve()).encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    except (OSError, yaml.YAMLError, _FromNetwork):
        return None
    return digest.hexdigest()


def read(key: str) -> Built | None:
    """A kept build; None where there is none that can be read."""
    try:
        path = cache_folder() / f"{key}.json"
        kept: list[list[Any]] = json.loads(path.read_bytes())
        os.utime(path)
        return [(origin, manifest) for origin, manifest in kept]
    except (OSError, ValueError):
        return None


def keep(key: str, built: Built) -> None:
    """A cache that cannot be written costs time and nothing else."""
    with contextlib.suppress(OSError):
        write_atomically(cache_folder() / f"{key}.json", json.dumps(built))
        _prune(cache_folder())


class _FromNetwork(Exception):
    """A kustomization names something that is not on this disk."""


def _files(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Every file that building the folder can read: whatever its kustomization names that exists, at any key."""
    if folder in seen:
        return
    seen.add(folder)
    listing = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if listing is None:
        yield from (path for path in folder.rglob("*") if path.is_file())
        return
    yield listing
    document = yaml.load(listing.read_bytes(), yaml.CSafeLoader) or {}
    for key in ("resources", "components", "bases"):
        if any("://" in str(each) or "?ref=" in str(each) for each in document.get(key) or []):
            raise _FromNetwork
    for text in _texts(document):
        named = folder / text.rpartition("=")[2]
        if "\n" in text or len(text) > 500 or not named.exists():
            continue
        resolved = named.resolve()
        if resolved.is_dir():
            yield from _files(resolved, seen)
        elif resolved not in seen:
            seen.add(resolved)
            yield resolved


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _prune(folder: Path) -> None:
    """Once a day, what was not asked for during a month."""
    mark, now = folder / PRUNED_FILE, time.time()
    if mark.exists() and now - mark.stat().st_mtime < PRUNED_EVERY_SECONDS:
        return
    mark.touch()
    for path in folder.glob("*.json"):
        if now - path.stat().st_mtime > KEPT_SECONDS:
            path.unlink(missing_ok=True)
