"""Checks of number and category columns, run by pandera all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.data.checks.report import SAMPLES, CheckResult
from pipelines.data.columns import as_number, as_text, is_nested, is_number, sample, short
from pipelines.usecase.model import CategoryFeature, Feature, NumberFeature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

SHOWN_TEXTS = 8


@dataclass
class _Column:
    """A column as pandera sees it, its checks by name with what to say when they hold, and its unreadable rows."""

    values: pd.Series
    unreadable: np.ndarray
    checks: dict[str, Any] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, check: Any, detail: str) -> None:
        check.name = name
        self.checks[name] = check
        self.details[name] = detail


def check_tabular(table: pa.Table, features: Mapping[str, Feature]) -> list[CheckResult]:
    """Type, missing values, finiteness, limits and allowed values of every column; a constant one is a warning."""
    import pandas as pd
    import pandera.pandas as pandera

    if not features:
        return []
    columns = {name: _column(table[name], feature) for name, feature in features.items()}
    schema = pandera.DataFrameSchema(
        {name: pandera.Column(nullable=True, checks=list(column.checks.values())) for name, column in columns.items()}
    )
    broken: dict[tuple[str, str], list[int]] = {}
    try:
        schema.validate(pd.DataFrame({name: column.values for name, column in columns.items()}), lazy=True)
    except pandera.errors.SchemaErrors as errors:
        for error in errors.schema_errors:
            broken[error.schema.name, error.check.name] = _rows(error.failure_cases)
    results = []
    for name, column in columns.items():
        for check, detail in column.details.items():
            rows = broken.get((name, check))
            if rows is None:
                results.append(CheckResult(column=name, check=check, passed=True, detail=detail))
            else:
                results.append(_failure(table, name, column, check, rows))
        results += [CheckResult(column=name, check="varies", passed=True, detail=text) for text in column.warnings]
    return results


def _failure(table: pa.Table, name: str, column: _Column, check: str, rows: list[int]) -> CheckResult:
    import numpy as np

    if check == "missing":
        rows = np.flatnonzero((column.values.isna() & ~column.unreadable).to_numpy()).tolist()
    count = f"{len(rows):,} of {table.num_rows:,} rows ({len(rows) / table.num_rows:.2%})"
    detail = column.details[check]
    what = {
        "type": f"{count} hold something else; {detail}",
        "missing": f"{count} are missing; {detail.rpartition('missing, ')[2]}",
        "finite": f"{count} are infinite",
    }.get(check, f"{count} are not {detail}")
    return CheckResult(column=name, check=check, passed=False, detail=what, samples=sample(table, name, rows[:SAMPLES]))


def _column(column: pa.ChunkedArray, feature: Feature) -> _Column:
    if isinstance(feature, NumberFeature):
        return _number(column, feature)
    assert isinstance(feature, CategoryFeature)  # noqa: S101 - tensors are checked elsewhere
    return _category(column, feature)


def _number(arrow: pa.ChunkedArray, feature: NumberFeature) -> _Column:
    import numpy as np
    import pandas as pd
    import pandera.pandas as pandera

    converted = as_number(arrow)
    if is_number(converted):
        values = pd.Series(converted.cast("float64", safe=False).to_numpy())
        unreadable = np.zeros(len(values), dtype=bool)
    else:
        raw = pd.Series(arrow.to_pylist(), dtype=object)
        values = pd.to_numeric(raw.where(raw.map(lambda value: isinstance(value, str))), errors="coerce")
        unreadable = (values.isna() & raw.notna() & ~raw.isin(["", "nan", "NaN"])).to_numpy()
    result = _Column(values, unreadable)
    result.add(
        "type", pandera.Check(lambda _: pd.Series(~unreadable), ignore_na=False), _numbers(values, arrow, feature)
    )
    _add_missing(result, feature.max_missing)
    result.add("finite", pandera.Check(lambda s: ~np.isinf(s), ignore_na=False), "no infinity")
    if feature.min is not None:
        result.add("min", pandera.Check.ge(feature.min), f"at least {feature.min:g}")
    if feature.max is not None:
        result.add("max", pandera.Check.le(feature.max), f"at most {feature.max:g}")
    _warn_if_constant(result)
    return result


def _category(arrow: pa.ChunkedArray, feature: CategoryFeature) -> _Column:
    import numpy as np
    import pandas as pd
    import pandera.pandas as pandera

    if is_nested(arrow):
        values = pd.Series([None] * len(arrow), dtype=object)
        unreadable = arrow.is_valid().to_numpy()
    else:
        values = pd.Series(as_text(arrow).to_numpy(), dtype=object)
        unreadable = np.zeros(len(values), dtype=bool)
    result = _Column(values, unreadable)
    result.add("type", pandera.Check(lambda _: pd.Series(~unreadable), ignore_na=False), _texts(values, arrow))
    _add_missing(result, feature.max_missing)
    if feature.one_of is not None:
        shown = ", ".join(feature.one_of[:SHOWN_TEXTS]) + (", …" if len(feature.one_of) > SHOWN_TEXTS else "")
        result.add("one_of", pandera.Check.isin(feature.one_of), f"one of {shown}")
    _warn_if_constant(result)
    return result


def _add_missing(column: _Column, allowed: float) -> None:
    import pandera.pandas as pandera

    share = float((column.values.isna() & ~column.unreadable).mean())
    detail = f"{share:.2%} missing, at most {allowed:.2%} allowed" if allowed else "no missing value allowed"
    column.add("missing", pandera.Check(lambda _: share <= allowed, ignore_na=False), detail)


def _warn_if_constant(column: _Column) -> None:
    known = column.values.dropna()
    if len(known) > 1 and known.nunique() == 1:
        column.warnings.append(f"warning: every value is {_readable(known.iloc[0])}; the model learns nothing from it")
    elif not len(known) and not column.unreadable.any():
        column.warnings.append("warning: every value is missing; the model learns nothing from it")


def _numbers(values: pd.Series, arrow: pa.ChunkedArray, feature: NumberFeature) -> str:
    if not is_number(as_number(arrow)):
        return f"the column holds {arrow.type}, and must hold numbers"
    unit = f" ({feature.unit})" if feature.unit else ""
    known = values.dropna()
    return f"from {known.min():g} to {known.max():g}{unit}, mean {known.mean():g}" if len(known) else "no value"


def _texts(values: pd.Series, arrow: pa.ChunkedArray) -> str:
    if is_nested(arrow):
        return f"the column holds {arrow.type}, and must hold texts"
    counts = values.value_counts()
    if not len(counts):
        return "no value"
    return f"{len(counts):,} distinct, most often {_readable(counts.index[0])} ({counts.iloc[0] / len(values):.1%})"


def _readable(value: Any) -> str:
    return short(value) if isinstance(value, str) else f"{value:g}"


def _rows(failure_cases: Any) -> list[int]:
    if not hasattr(failure_cases, "index") or "index" not in getattr(failure_cases, "columns", ()):
        return []
    return sorted({int(row) for row in failure_cases["index"] if row is not None and row == row})  # noqa: PLR0124
