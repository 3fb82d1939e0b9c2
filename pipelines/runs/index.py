"""Which run folders there are, and which of them still have something to publish.

<home>/runs/.open/<run id>.<session>     one empty file for each session of a run that MLflow may not know whole

A state folder holds thousands of runs. Whoever looks every second reads only the markers; whoever wants the newest runs
sorts by the time in their ids and reads only those. A state folder without markers is one of an earlier version: its
journals are looked through once.
"""

import os
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import MlopsError, one_line
from pipelines.runs.request import RunRequest
from pipelines.runs.run import PID_FILE, REMOTE_FILE, REQUEST_FILE, Run, read_run

OPEN_FOLDER = ".open"
RUN_ID = re.compile(r"(?P<usecase>[a-z0-9-]+)-(?P<stamp>[0-9]{8}-[0-9]{6})-[0-9a-f]+")
STAMP = slice(-20, -5)
STAMP_FORMAT = "%Y%m%d-%H%M%S"
UNREADABLE = (OSError, MlopsError, ValidationError)


@dataclass(frozen=True)
class UnreadableRun:
    """A run folder that was skipped, and why."""

    run_id: str
    why: str


@dataclass
class RunListing:
    """The newest runs first, and the folders among them that could not be read."""

    runs: list[Run] = field(default_factory=list)
    unreadable: list[UnreadableRun] = field(default_factory=list)


def newest_runs(runs: Path, usecase: str | None = None, limit: int = 20) -> RunListing:
    """Read the newest `limit` runs; a folder that cannot be read is skipped and listed.

    A run counts from its request, or from when it was last resumed while it is open.
    """
    listing = RunListing()
    for name in newest_names(runs):
        if len(listing.runs) >= limit:
            break
        known = RUN_ID.fullmatch(name)
        if usecase and known and known["usecase"] != usecase:
            continue
        if not (runs / name / REQUEST_FILE).is_file():
            continue
        try:
            run = read_run(runs / name)
        except UNREADABLE as error:
            listing.unreadable.append(UnreadableRun(name, describe_unreadable(error)))
            continue
        if usecase in (None, run.request.usecase):
            listing.runs.append(run)
    return listing


def list_runs(runs: Path, usecase: str | None = None, limit: int = 20) -> list[Run]:
    """The newest runs first; folders that cannot be read are left out, `newest_runs` names them."""
    return newest_runs(runs, usecase, limit).runs


def newest_names(runs: Path) -> list[str]:
    """The names of all run folders, the newest first, without reading one of them."""
    try:
        with os.scandir(runs) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    resumed = _opened_at(runs)

    def when(name: str) -> tuple[str, str]:
        stamp = name[STAMP]
        if not (stamp[:8].isdigit() and stamp[9:].isdigit()):
            stamp = _requested_at(runs / name)
        return max(stamp, resumed.get(name, "")), name

    return sorted(names, key=when, reverse=True)


def open_run(runs: Path, request: RunRequest) -> Path:
    """Make or resume the folder of a run on this machine, marked as one that MLflow does not know whole.

    Returns the folder. The request comes last: a folder without one is no run.
    """
    ensure_index(runs)
    folder = runs / request.run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PID_FILE).write_text(str(os.getpid()))
    mark_open(runs, request.run_id)
    request.write(folder / REQUEST_FILE)
    return folder


def mark_open(runs: Path, run_id: str) -> None:
    """A marker of its own for each session, so that whoever saw an earlier one end does not close this one."""
    (runs / OPEN_FOLDER / f"{run_id}.{os.getpid()}-{secrets.token_hex(4)}").touch()


def open_runs(runs: Path) -> dict[str, list[Path]]:
    """The markers of each run that may hold something unpublished, by run id."""
    found: dict[str, list[Path]] = defaultdict(list)
    for marker in _markers(runs):
        found[marker.name.partition(".")[0]].append(Path(marker.path))
    return found


def close_run(markers: list[Path]) -> None:
    """Everything that was said when these markers were listed is published, and the run is over."""
    for marker in markers:
        marker.unlink(missing_ok=True)


def ensure_index(runs: Path) -> None:
    """Make the markers where there are none: a state folder of an earlier version, or a new one."""
    from pipelines.runs.tracking import has_unpublished

    if (runs / OPEN_FOLDER).is_dir():
        return
    made = runs / f"{OPEN_FOLDER}.{os.getpid()}-{secrets.token_hex(4)}"
    made.mkdir(parents=True)
    for name in newest_names(runs):
        folder = runs / name
        if not (folder / REQUEST_FILE).is_file() or (folder / REMOTE_FILE).exists():
            continue
        try:
            wanted = has_unpublished(folder)
        except UNREADABLE:
            wanted = True  # the publisher says why
        if wanted:
            (made / f"{name}.0-found").touch()
    try:
        made.rename(runs / OPEN_FOLDER)
    except OSError:  # another process was first
        for marker in made.iterdir():
            marker.unlink()
        made.rmdir()


def describe_unreadable(error: Exception) -> str:
    """An error's message in one line, short enough for a table."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    return one_line(error, 200)


def _markers(runs: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(runs / OPEN_FOLDER) as entries:
            yield from entries
    except FileNotFoundError:
        return


def _opened_at(runs: Path) -> dict[str, str]:
    """When each open run began its newest session, as in a run's id."""
    found: dict[str, str] = {}
    for marker in _markers(runs):
        try:
            opened = datetime.fromtimestamp(marker.stat().st_mtime, UTC).strftime(STAMP_FORMAT)
        except FileNotFoundError:
            continue
        name = marker.name.partition(".")[0]
        found[name] = max(opened, found.get(name, ""))
    return found


def _requested_at(folder: Path) -> str:
    try:
        return datetime.fromtimestamp((folder / REQUEST_FILE).stat().st_mtime, UTC).strftime(STAMP_FORMAT)
    except OSError:
        return ""
