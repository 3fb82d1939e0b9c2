"""Data quality before training: everything usecase.yaml promises about the data, with the rows that break it.

Columns of one value a row are judged by pandera, tensors by NumPy, the table and the target by both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.documents import Document
from pipelines.errors import MlopsError
from pipelines.usecase.model import TensorFeature, UseCase

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 5
TABLE = "(table)"


class CheckResult(Document):
    """One check of one column. `samples` are rows that break it: number (from 0) and value."""

    column: str
    check: str
    passed: bool
    detail: str
    samples: list[str] = []


class CheckReport(Document):
    """Every check that was made."""

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


def check_data(table: pa.Table, usecase: UseCase) -> CheckReport:
    """Hold the table to data.features, data.checks, data.target and data.time. Never raises for bad data."""
    from pipelines.data.table_checks import check_rows, check_target, check_time, check_unique
    from pipelines.data.tabular_checks import check_tabular
    from pipelines.data.tensor_checks import check_tensor

    data = usecase.data
    absent = [name for name in data.columns if name not in table.column_names]
    results = [
        CheckResult(column=name, check="present", passed=False, detail="the data has no such column") for name in absent
    ]
    results += check_rows(table.num_rows, data.checks)
    if table.num_rows:
        there = {name: feature for name, feature in data.features.items() if name not in absent}
        tensors = {name: feature for name, feature in there.items() if isinstance(feature, TensorFeature)}
        results += check_tabular(table, {name: f for name, f in there.items() if not isinstance(f, TensorFeature)})
        for name, feature in tensors.items():
            results += check_tensor(table, name, feature)
        if data.target not in absent:
            results += check_target(table, usecase)
        if data.time and data.time not in absent:
            results += check_time(table, data.time)
        if data.checks.unique and not set(data.checks.unique) & set(absent):
            results += check_unique(table, data.checks.unique)
    return CheckReport(passed=all(result.passed for result in results), rows=table.num_rows, checks=results)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
