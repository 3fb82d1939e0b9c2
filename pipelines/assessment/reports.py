"""Evidently's own report of each evaluation, as an HTML file that needs no server and no internet.

    <folder>/<environment>/<use case>/20130401-060000-alert.html    one file of about 4 MB

The newest of each kind are kept, alerts and others apart, so that a quiet week does not wash away what an alert saw.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

ALERT, QUIET = "alert", "ok"
KEPT = {ALERT: 10, QUIET: 3}


class HtmlReport(Protocol):
    """Evidently's snapshot, as far as it is used here."""

    def save_html(self, filename: str, /) -> None: ...


@dataclass(frozen=True)
class Reports:
    """A folder of reports, bounded in number."""

    folder: Path

    def keep(self, usecase: str, environment: str, time: datetime, alert: bool, report: HtmlReport) -> Path:
        """Write the report, whole or not at all, and remove the oldest beyond the bound."""
        place = self.folder / environment / usecase
        place.mkdir(parents=True, exist_ok=True)
        kind = ALERT if alert else QUIET
        path = place / f"{time:%Y%m%d-%H%M%S}-{kind}.html"
        temporary = place / f".{path.name}.{os.getpid()}.tmp"
        try:
            report.save_html(str(temporary))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._tidy(place)
        return path

    def _tidy(self, place: Path) -> None:
        """Also what writers left that were killed: none is at work beside this one on the same use case."""
        for leftover in place.glob(".*.html.*.tmp"):
            leftover.unlink(missing_ok=True)
        for kind, most in KEPT.items():
            for old in sorted(place.glob(f"*-{kind}.html"), reverse=True)[most:]:
                old.unlink(missing_ok=True)
