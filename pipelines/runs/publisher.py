"""Publishes journals to MLflow while the pipeline works on another core."""

import logging
import threading

from pipelines.runs.index import UNREADABLE, UnreadableRun, close_run, describe_unreadable, ensure_index, open_runs
from pipelines.runs.request import RunRequest
from pipelines.runs.run import REMOTE_FILE, REQUEST_FILE, is_worked_on
from pipelines.runs.tracking import TrackingUnavailable, has_unpublished, publish
from pipelines.settings import Settings

LOOK_SECONDS = 1.0


log = logging.getLogger(__name__)


class Publisher(threading.Thread):
    """Brings to MLflow what open runs have said, earlier ones too; a look reads only their folders.

    `problem`: why MLflow took nothing, after which the next run tries again. `unreadable`: the folders that the last
    look skipped.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.settings = settings
        self.ended = threading.Event()
        self.problem: str | None = None
        self.unreadable: list[UnreadableRun] = []

    def run(self) -> None:
        ensure_index(self.settings.runs)
        while not self.ended.wait(LOOK_SECONDS):
            self.look()
            if self.problem:
                return

    def finish(self) -> None:
        """Publish what is left, and warn of what could not be."""
        self.ended.set()
        self.join()
        self.look()
        if self.problem:
            log.warning("%s", self.problem)
        for folder in self.unreadable:
            log.warning("run folder %s cannot be read: %s", folder.run_id, folder.why)

    def look(self) -> None:
        """Publish what is new, and close the runs that are over."""
        self.unreadable = []
        for run_id, markers in sorted(open_runs(self.settings.runs).items()):
            try:
                if self._is_done(run_id):
                    close_run(markers)
            except TrackingUnavailable as error:
                self.problem = error.message
                return
            except UNREADABLE as error:
                self.unreadable.append(UnreadableRun(run_id, describe_unreadable(error)))

    def _is_done(self, run_id: str) -> bool:
        """Publish the run; whether nothing can follow any more."""
        folder = self.settings.runs / run_id
        if not folder.exists() or (folder / REMOTE_FILE).exists():
            return True
        if not (folder / REQUEST_FILE).exists():  # it is being made, or was never
            return False
        over = not is_worked_on(folder)
        if has_unpublished(folder):
            usecase = RunRequest.read(folder / REQUEST_FILE).usecase
            publish(folder, usecase, self.settings.tracking_uri, self.settings.home / "artifacts")
            self.problem = None
        return over
