"""Files that the page hands on: Evidently's reports, model cards, and its own style sheet."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from pipelines.assessment.assess import Assessment
from pipelines.assessment.reports import ALERT
from pipelines.evaluation.card import HTML_FILE
from pipelines.monitor.page.view_models import ReportLink

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
REPORT = re.compile(r"(?P<time>[0-9]{8}-[0-9]{6})-(?P<kind>alert|ok)\.html")


def find_report(reports: Path | None, environment: str, usecase: str, file: str) -> Path | None:
    """The report by that address, if there is one. A name that is no report's leads nowhere."""
    if reports is None or not (NAME.fullmatch(environment) and NAME.fullmatch(usecase) and REPORT.fullmatch(file)):
        return None
    return _within(reports, reports / environment / usecase / file)


def find_card(state: Path | None, run_id: str) -> Path | None:
    """The model card of a run, if this machine has it."""
    if state is None or not NAME.fullmatch(run_id):
        return None
    return _within(state / "runs", state / "runs" / run_id / "evaluation" / HTML_FILE)


def report_url(reports: Path, assessment: Assessment) -> str | None:
    """Where Evidently's report of it is read, as long as it is kept."""
    if not assessment.report_path:
        return None
    file = Path(assessment.report_path).name
    found = find_report(reports, assessment.environment, assessment.usecase, file)
    return f"/reports/{assessment.environment}/{assessment.usecase}/{file}" if found else None


def card_url(state: Path | None, run_id: str | None) -> str | None:
    return f"/cards/{run_id}" if run_id and find_card(state, run_id) else None


def list_reports(reports: Path, environment: str, usecase: str) -> list[ReportLink]:
    """Those that are kept, the newest first."""
    folder = reports / environment / usecase
    matches = [REPORT.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    found = [
        ReportLink(
            time=datetime.strptime(match["time"], "%Y%m%d-%H%M%S").replace(tzinfo=UTC),
            alert=match["kind"] == ALERT,
            url=f"/reports/{environment}/{usecase}/{match.string}",
        )
        for match in matches
        if match
    ]
    return sorted(found, key=lambda report: report.time, reverse=True)


def _within(folder: Path, path: Path) -> Path | None:
    """The file, unless a link leads out of the folder."""
    real = path.resolve()
    return real if real.is_file() and real.is_relative_to(folder.resolve()) else None
