"""Checks of a tensor column: pictures, vectors, any array of fixed shape."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipelines.data.checks.report import SAMPLES, CheckResult
from pipelines.data.columns import as_tensor, is_tensor, tensor_values
from pipelines.usecase.model import TensorFeature

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def check_tensor(table: pa.Table, name: str, feature: TensorFeature) -> list[CheckResult]:
    """Missing cells, shape and dtype; then finiteness and limits. A column of equal cells is a warning."""
    missing = _missing(table[name], name)
    column = as_tensor(table[name].drop_null(), feature.shape, feature.dtype)
    if not len(column):
        return [missing]
    wanted = f"{feature.dtype} {list(feature.shape)}"
    if not is_tensor(column) or tuple(column.type.shape) != feature.shape or tensor_dtype(column) != feature.dtype:
        return [missing, _misfit(table[name], name, feature, wanted)]
    values = tensor_values(column)
    results = [missing, CheckResult(column=name, check="type", passed=True, detail=wanted)]
    flat = values.reshape(len(values), -1)
    lowest, highest = flat.min(axis=1), flat.max(axis=1)
    if feature.dtype == "float32":
        import numpy as np

        infinite = ~(np.isfinite(lowest) & np.isfinite(highest))
        shown = np.where(np.isfinite(highest), lowest, highest)
        results.append(_limit(name, "finite", infinite, shown, "no NaN and no infinity"))
    if feature.min is not None:
        results.append(_limit(name, "min", lowest < feature.min, lowest, f"at least {feature.min:g}"))
    if feature.max is not None:
        results.append(_limit(name, "max", highest > feature.max, highest, f"at most {feature.max:g}"))
    if len(flat) > 1 and bool((flat == flat[0]).all()):
        results.append(
            CheckResult(column=name, check="varies", passed=True, detail="warning: every cell is the same array")
        )
    return results


def tensor_dtype(column: pa.ChunkedArray) -> str:
    """The NumPy name of a tensor column's element type."""
    import numpy as np

    return str(np.dtype(column.type.value_type.to_pandas_dtype()))


def _limit(name: str, check: str, broken: np.ndarray, extreme: np.ndarray, detail: str) -> CheckResult:
    """`extreme` is each row's value that is nearest to breaking the limit, or breaks it."""
    rows = broken.nonzero()[0]
    if not len(rows):
        return CheckResult(column=name, check=check, passed=True, detail=detail)
    return CheckResult(
        column=name,
        check=check,
        passed=False,
        detail=f"{len(rows):,} of {len(broken):,} rows break it: {detail}",
        samples=[f"row {row}: holds {extreme[row]:g}" for row in rows[:SAMPLES]],
    )


def _missing(column: pa.ChunkedArray, name: str) -> CheckResult:
    if not column.null_count:
        return CheckResult(column=name, check="missing", passed=True, detail="no missing cell")
    rows = column.is_null().to_numpy().nonzero()[0]
    return CheckResult(
        column=name,
        check="missing",
        passed=False,
        detail=f"{len(rows):,} of {len(column):,} rows have no array",
        samples=[f"row {row}: missing" for row in rows[:SAMPLES]],
    )


def _misfit(column: pa.ChunkedArray, name: str, feature: TensorFeature, wanted: str) -> CheckResult:
    import pyarrow as pa

    found = f"{tensor_dtype(column)} {list(column.type.shape)}" if is_tensor(column) else str(column.type)
    detail = f"every row must be {wanted}, and the column holds {found}"
    samples = []
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if is_list or pa.types.is_fixed_size_list(column.type):
        samples = _odd_cells(column, feature)
    return CheckResult(column=name, check="type", passed=False, detail=detail, samples=samples)


def _odd_cells(column: pa.ChunkedArray, feature: TensorFeature) -> list[str]:
    """The first rows whose array has another shape, or values that the dtype cannot hold."""
    import numpy as np

    samples = []
    for row, cell in enumerate(column):
        if not cell.is_valid:
            continue
        try:
            array = np.asarray(cell.as_py(), dtype=float)
        except (ValueError, TypeError):
            samples.append(f"row {row}: not an array of numbers with equal sides")
        else:
            if array.shape not in (feature.shape, (math.prod(feature.shape),)):
                samples.append(f"row {row}: shape {list(array.shape)}")
            elif feature.dtype == "uint8" and not np.isin(array, np.arange(256)).all():
                samples.append(f"row {row}: values from {array.min():g} to {array.max():g} are no bytes")
        if len(samples) == SAMPLES:
            break
    return samples
