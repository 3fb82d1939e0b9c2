"""The stores of Bentos and snapshots: what no release needs and nobody used lately."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.data.sources.files import open_filesystem
from pipelines.errors import MlopsError
from pipelines.packaging.bentos import BENTO_DIGEST
from pipelines.retention.items import LEFT_BEHIND, RetentionItem, hidden_items, modified, remove_folder, size_of, young
from pipelines.retention.needed import Needed
from pipelines.retention.rules import RetentionRules
from pipelines.retention.run_folders import UNKNOWN

DIGEST = re.compile(r"[0-9a-f]{64}")
SNAPSHOT = re.compile(r"[0-9a-f]{64}\.parquet")
SUMS, MANIFEST = ".sums", ".manifest.json"
TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")


class SnapshotsUnreadable(MlopsError):
    """The store of snapshots could not be listed."""


def bento_items(store: Path, needed: Needed | None, rules: RetentionRules, now: datetime) -> Iterator[RetentionItem]:
    """Every Bento of the store with what belongs to it, manifests of images, and what killed packers left."""
    for scratch in sorted((*store.glob(".packing-*"), *store.glob(".pulling-*"))):
        kept = _being_written(scratch, now)
        yield RetentionItem(scratch.name, size_of(scratch), kept, partial(shutil.rmtree, scratch))
    for folder in sorted(path for path in store.glob("*") if path.is_dir() and not path.name.startswith(".")):
        yield from hidden_items(folder)
        yield from _bentos_of(folder, needed, rules, now)


def _bentos_of(folder: Path, needed: Needed | None, rules: RetentionRules, now: datetime) -> Iterator[RetentionItem]:
    released = {image.rsplit(":", 1)[1] for image in needed.images} if needed else set()
    manifests = {path.name.removesuffix(MANIFEST): path for path in sorted(folder.glob(f"*{MANIFEST}"))}
    inside = {digest: _inside(path) for digest, path in manifests.items()}
    wanted = released | {inside[digest] for digest in released & inside.keys()}
    for bento in sorted(path for path in folder.iterdir() if path.is_dir() and DIGEST.fullmatch(path.name)):
        sums = folder / f"{bento.name}{SUMS}"
        kept = _why_kept(bento, bento.name in wanted, needed, rules, now)

        def remove(bento: Path = bento, sums: Path = sums) -> None:
            remove_folder(bento)
            sums.unlink(missing_ok=True)

        yield RetentionItem(f"{folder.name}/{bento.name[:12]}", size_of(bento) + size_of(sums), kept, remove)
    for digest, path in manifests.items():
        kept = _why_kept(path, digest in released, needed, rules, now)
        yield RetentionItem(f"{folder.name}/{path.name[:12]}{MANIFEST}", size_of(path), kept, path.unlink)
    for sums in sorted(folder.glob(f"*{SUMS}")):
        if not (folder / sums.name.removesuffix(SUMS)).exists():
            yield RetentionItem(
                f"{folder.name}/{sums.name[:12]}{SUMS}", size_of(sums), _being_written(sums, now), sums.unlink
            )


def _why_kept(path: Path, is_released: bool, needed: Needed | None, rules: RetentionRules, now: datetime) -> str | None:
    if is_released:
        return "released, or a rollback could restore it"
    if recent := young(modified(path) or now, now, rules.bentos):
        return recent
    return UNKNOWN if needed is None else None


def _inside(manifest: Path) -> str:
    """The digest of the Bento in an image; empty where the manifest does not say."""
    try:
        said = json.loads(manifest.read_text(encoding="utf-8")).get("annotations", {})
    except (OSError, ValueError):
        return ""
    return str(said.get(BENTO_DIGEST, "")).removeprefix("sha256:")


def snapshot_items(
    store: str, needed: Needed | None, used: set[str], rules: RetentionRules, now: datetime
) -> Iterator[RetentionItem]:
    """Every snapshot at the fsspec URL `store`; `used` are the hashes that runs of this machine used.

    Raises:
        SnapshotsUnreadable: the store cannot be listed.
    """
    fs, place = open_filesystem(store, Path.cwd())
    for path, facts in _listed(fs, place, store):
        name = path.rsplit("/", 1)[1]
        changed = _time_of(facts)
        if SNAPSHOT.fullmatch(name):
            kept = _why_snapshot_kept(name, changed, needed, used, rules, now)
        elif name.startswith(".") and name.endswith(".tmp"):
            kept = "being written" if changed is None or now - changed < LEFT_BEHIND else None
        else:
            kept = "no snapshot"
        yield RetentionItem(
            path.removeprefix(place).strip("/"), int(facts.get("size") or 0), kept, partial(fs.rm_file, path)
        )


def _listed(fs: Any, place: str, store: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = fs.find(place, detail=True)
    except FileNotFoundError:
        return []
    except Exception as error:
        raise SnapshotsUnreadable(
            f"the snapshots at {store} cannot be listed: {type(error).__name__}: {error}",
            hint="MLOPS_SNAPSHOTS must name a place that this process may list",
        ) from error
    return sorted(found.items())


def _why_snapshot_kept(
    name: str, changed: datetime | None, needed: Needed | None, used: set[str], rules: RetentionRules, now: datetime
) -> str | None:
    if needed and name[:12] in needed.snapshots:
        return "a release was trained on it"
    if name.removesuffix(".parquet") in used:
        return "a kept run used it"
    if changed is None:
        return "its age is not known"
    if recent := young(changed, now, rules.snapshots):
        return recent
    return UNKNOWN if needed is None else None


def _time_of(facts: dict[str, Any]) -> datetime | None:
    """When it was last written, as local files, S3, Google Cloud Storage and Azure say it."""
    value = next((facts[name] for name in TIMES if facts.get(name) is not None), None)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return None


def _being_written(path: Path, now: datetime) -> str | None:
    return "being written" if now - (modified(path) or now) < LEFT_BEHIND else None
