"""Evidently's reports, as HTML files that need no server and no internet.

    <folder>/<environment>/<use case>/20130401-060000-alert.html    one file of about 4 MB

Each evaluation that raises an alert has one; the others have one a day, to compare with. The newest of each kind are
kept, alerts and others apart, so that a quiet week does not wash away what an alert saw.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

ALERT, QUIET = "alert", "ok"
KEPT = {ALERT: 10, QUIET: 3}
BETWEEN_QUIET = timedelta(days=1)
STAMP = "%Y%m%d-%H%M%S"


class HtmlReport(Protocol):
    """What Evidently makes, as far as it is used here."""

    def save_html(self, filename: str, /) -> None: ...


@dataclass(frozen=True)
class Reports:
    """A folder of reports, bounded in number."""

    folder: Path

    def is_due(self, usecase: str, environment: str, time: datetime, alert: bool) -> bool:
        """Whether an evaluation at `time` gets a report: each alert, and one a day of those that are none."""
        quiet = self._place(usecase, environment).glob(f"*-{QUIET}.html")
        since = f"{time - BETWEEN_QUIET:{STAMP}}-{QUIET}.html"
        return alert or all(path.name <= since for path in quiet)

    def keep(self, usecase: str, environment: str, time: datetime, alert: bool, report: HtmlReport) -> Path:
        """Write the report, whole or not at all, and remove the oldest beyond the bound."""
        place = self._place(usecase, environment)
        place.mkdir(parents=True, exist_ok=True)
        kind = ALERT if alert else QUIET
        path = place / f"{time:{STAMP}}-{kind}.html"
        temporary = place / f".{path.name}.{os.getpid()}.tmp"
        try:
            report.save_html(str(temporary))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._tidy(place)
        return path

    def _place(self, usecase: str, environment: str) -> Path:
        return self.folder / environment / usecase

    def _tidy(self, place: Path) -> None:
        """Also what writers left that were killed: none is at work beside this one on the same use case."""
        for leftover in place.glob(".*.html.*.tmp"):
            leftover.unlink(missing_ok=True)
        for kind, most in KEPT.items():
            for old in sorted(place.glob(f"*-{kind}.html"), reverse=True)[most:]:
                old.unlink(missing_ok=True)
