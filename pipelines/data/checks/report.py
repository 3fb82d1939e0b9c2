"""The result of data checks: one entry per check, with samples of the rows that fail it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.documents import Document, Value
from pipelines.errors import MlopsError

if TYPE_CHECKING:
    pass


SAMPLES = 5


TABLE = "(table)"


class CheckResult(Value):
    """One check of one column. `samples` are rows that break it: number (from 0) and value."""

    column: str
    check: str
    passed: bool
    detail: str
    samples: list[str] = []


class CheckReport(Document):
    """Every check that was made."""

    KIND = "check-report"

    passed: bool
    rows: int
    checks: list[CheckResult]

    @property
    def failed(self) -> list[CheckResult]:
        return [check for check in self.checks if not check.passed]

    def to_markdown(self) -> str:
        """The failed checks with their rows first, then every check."""
        verdict = "passed" if self.passed else f"{len(self.failed)} of {len(self.checks)} checks failed"
        lines = [f"# Data checks: {verdict}", "", f"{self.rows:,} rows.", ""]
        for check in self.failed:
            lines.append(f"- **{check.column}**, {check.check}: {check.detail}")
            lines += [f"  - `{sample.replace('`', chr(39))}`" for sample in check.samples]
        if self.failed:
            lines.append("")
        lines += ["| | column | check | detail |", "|---|---|---|---|"]
        for check in self.checks:
            sign = "passed" if check.passed else "**failed**"
            lines.append(f"| {sign} | {_cell(check.column)} | {_cell(check.check)} | {_cell(check.detail)} |")
        return "\n".join(lines) + "\n"


class DataRejected(MlopsError):
    """The data breaks what usecase.yaml says of it; nothing is trained on it."""

    def __init__(self, report: CheckReport) -> None:
        lines = [f"the data failed {len(report.failed)} of {len(report.checks)} checks ({report.rows:,} rows)"]
        for check in report.failed:
            rows = f"; {', '.join(check.samples)}" if check.samples else ""
            lines.append(f"  column {check.column}, {check.check}: {check.detail}{rows}")
        super().__init__(
            "\n".join(lines),
            hint="mend the data, or change data.features and data.checks in usecase.yaml if the data is right",
        )
        self.report = report


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
