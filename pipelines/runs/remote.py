"""What is kept here of a run that another machine schedules."""

from pathlib import Path

from pipelines.documents import Document
from pipelines.runs.run import REMOTE_FILE


class Remote(Document):
    """Who schedules the run, and under which id. `page` is where people look at it."""

    KIND = "remote-run"

    runner: str
    id: str
    pipeline: str
    page: str = ""


def read_remote(folder: Path) -> Remote | None:
    """Of a run's folder; None for a run of this machine."""
    file = folder / REMOTE_FILE
    return Remote.read(file) if file.is_file() else None
