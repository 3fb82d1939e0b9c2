"""Telling the past again: the day that a state folder pretends it is.

While there is one, runs that begin by themselves train on what was known then. The demo moves it from month to month.
"""

from datetime import UTC, datetime
from pathlib import Path

from pipelines.documents import write_atomically

DAY_FILE = "replay-day"


def replay_day(home: Path) -> datetime | None:
    """The day, at midnight UTC; None in a state folder that lives in the present."""
    try:
        return datetime.fromisoformat((home / DAY_FILE).read_text(encoding="utf-8").strip()).replace(tzinfo=UTC)
    except FileNotFoundError:
        return None


def set_replay_day(home: Path, day: datetime) -> None:
    write_atomically(home / DAY_FILE, f"{day:%Y-%m-%d}")
