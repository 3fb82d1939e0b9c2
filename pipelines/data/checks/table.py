"""Checks of the table as a whole: rows, duplicates, the time and the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.data.checks.report import SAMPLES, TABLE, CheckResult
from pipelines.data.classes import MISSING, UNKNOWN, TargetUnusable, class_codes, distinct_classes
from pipelines.data.columns import (
    TimeUnreadable,
    as_number,
    as_utc_time,
    is_nested,
    is_number,
    is_tensor,
    sample,
    short,
    tensor_values,
)
from pipelines.usecase.model import Checks, UseCase

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def check_rows(rows: int, checks: Checks) -> list[CheckResult]:
    """min_rows and max_rows."""
    results = [
        CheckResult(
            column=TABLE,
            check="min_rows",
            passed=rows >= checks.min_rows,
            detail=f"{rows:,} rows, at least {checks.min_rows:,} wanted" if rows else "the table is empty",
        )
    ]
    if checks.max_rows is not None:
        detail = f"{rows:,} rows, at most {checks.max_rows:,} wanted"
        results.append(CheckResult(column=TABLE, check="max_rows", passed=rows <= checks.max_rows, detail=detail))
    return results


def check_unique(table: pa.Table, names: list[str]) -> list[CheckResult]:
    """The named columns together identify a row."""
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({name: _comparable(table[name]) for name in names})
    repeated = np.flatnonzero(frame.duplicated().to_numpy())
    label = ", ".join(names)
    if not len(repeated):
        return [CheckResult(column=label, check="unique", passed=True, detail="no two rows are the same in it")]
    samples = [
        f"row {row}: {', '.join(short(table[name][row].as_py()) for name in names)}"
        for row in repeated[:SAMPLES].tolist()
    ]
    detail = f"{len(repeated):,} rows repeat an earlier one"
    return [CheckResult(column=label, check="unique", passed=False, detail=detail, samples=samples)]


def check_time(table: pa.Table, time: str) -> list[CheckResult]:
    """Every row has a time."""
    import numpy as np
    import pyarrow.compute as pc

    try:
        column = as_utc_time(table[time], time)
    except TimeUnreadable as error:
        return [CheckResult(column=time, check="time", passed=False, detail=error.message)]
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        return [_missing(table, time, missing, "time")]
    span = pc.min_max(column).as_py()
    detail = f"from {span['min'].isoformat()} to {span['max'].isoformat()}"
    return [CheckResult(column=time, check="time", passed=True, detail=detail)]


def check_target(table: pa.Table, usecase: UseCase) -> list[CheckResult]:
    """No missing value; known classes with a large enough share each, or finite numbers."""
    target = usecase.data.target
    if usecase.task == "regression":
        return _check_numbers(table, target)
    column = table[target]
    try:
        classes = usecase.data.classes or list(distinct_classes(column))
        codes = class_codes(column, classes)
    except TargetUnusable as error:
        return [CheckResult(column=target, check="classes", passed=False, detail=error.message)]
    results = [_no_missing(table, target, codes == MISSING)]
    unknown = (codes == UNKNOWN).nonzero()[0]
    named = ", ".join(map(str, classes[:12])) + (", …" if len(classes) > 12 else "")
    results.append(
        CheckResult(
            column=target,
            check="classes",
            passed=not len(unknown) and len(classes) > 1,
            detail=f"{len(unknown):,} rows hold none of the classes {named}"
            if len(unknown)
            else f"{len(classes)} classes: {named}"
            if len(classes) > 1
            else f"a single class, {named or 'none'}; a classification needs two at least",
            samples=sample(table, target, unknown[:SAMPLES].tolist()),
        )
    )
    results.append(_class_shares(codes, classes, target, usecase.data.checks.min_share_per_class))
    return results


def _class_shares(codes: np.ndarray, classes: list[str | int | bool], target: str, least: float) -> CheckResult:
    import numpy as np

    counts = np.bincount(codes[codes >= 0], minlength=len(classes))
    shares = counts / max(counts.sum(), 1)
    small = [index for index in range(len(classes)) if shares[index] < least]
    present = int((counts > 0).sum())
    order = np.argsort(shares, kind="stable")
    detail = "; ".join(f"{classes[i]} {shares[i]:.2%}" for i in [*order[:5], *order[5:][-1:]])
    if small:
        detail = f"at least {least:.2%} of each class wanted; {detail}"
    elif present < 2:
        detail = f"rows of {present} class only; {detail}"
    elif present < len(classes):
        detail = f"warning: {len(classes) - present} classes have no row; {detail}"
    return CheckResult(
        column=target,
        check="class_share",
        passed=not small and present > 1,
        detail=detail,
        samples=[f"class {classes[index]}: {counts[index]:,} rows" for index in small[:SAMPLES]],
    )


def _check_numbers(table: pa.Table, target: str) -> list[CheckResult]:
    import numpy as np

    column = as_number(table[target])
    if not is_number(column):
        detail = f"the target of a regression must hold numbers, and holds {column.type}"
        samples = sample(table, target, list(range(min(SAMPLES, table.num_rows))))
        return [CheckResult(column=target, check="type", passed=False, detail=detail, samples=samples)]
    values = column.cast("float64", safe=False).to_numpy()
    infinite = np.flatnonzero(np.isinf(values))
    return [
        _no_missing(table, target, np.isnan(values)),
        CheckResult(
            column=target,
            check="finite",
            passed=not len(infinite),
            detail=f"{len(infinite):,} rows are infinite" if len(infinite) else "no infinity",
            samples=sample(table, target, infinite[:SAMPLES].tolist()),
        ),
    ]


def _no_missing(table: pa.Table, name: str, missing: np.ndarray) -> CheckResult:
    rows = missing.nonzero()[0]
    if len(rows):
        return _missing(table, name, rows, "missing")
    return CheckResult(column=name, check="missing", passed=True, detail="no missing value")


def _missing(table: pa.Table, name: str, rows: np.ndarray, check: str) -> CheckResult:
    return CheckResult(
        column=name,
        check=check,
        passed=False,
        detail=f"{len(rows):,} of {table.num_rows:,} rows are missing; every row needs one",
        samples=sample(table, name, rows[:SAMPLES].tolist()),
    )


def _comparable(column: pa.ChunkedArray) -> list[object] | np.ndarray:
    if is_tensor(column) and not column.null_count:
        return [row.tobytes() for row in tensor_values(column)]
    if is_nested(column):
        return [repr(value) for value in column.to_pylist()]
    values: np.ndarray = column.to_numpy()
    return values
