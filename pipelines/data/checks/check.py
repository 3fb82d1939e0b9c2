"""Data quality before training: everything usecase.yaml promises about the data, with the rows that break it.

Columns of one value a row are judged by pandera, tensors by NumPy, the table and the target by both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.data.checks.report import CheckReport, CheckResult
from pipelines.data.checks.table import check_rows, check_target, check_time, check_unique
from pipelines.data.checks.tabular import check_tabular
from pipelines.data.checks.tensor import check_tensor
from pipelines.usecase.model import TensorFeature, UseCase

if TYPE_CHECKING:
    import pyarrow as pa


def check_data(table: pa.Table, usecase: UseCase) -> CheckReport:
    """Hold the table to data.features, data.checks, data.target and data.time. Never raises for bad data."""
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
