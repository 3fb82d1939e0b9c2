"""Small use cases and tables that the data tests share."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.usecase import UseCase


def flights(**data: Any) -> UseCase:
    """A classification of rows; keyword arguments replace keys of `data`."""
    return _usecase(
        "classification",
        "accuracy",
        {
            "source": {"type": "python", "load": "model.py:load"},
            "target": "late",
            "time": "departure",
            "features": {
                "distance": {"type": "number", "min": 0, "max": 5000, "unit": "miles"},
                "wind": {"type": "number", "max_missing": 0.5},
                "carrier": {"type": "category", "one_of": ["UA", "AA", "DL"]},
            },
            "split": {"by": "time", "test": "2d", "validation": "1d"},
            "checks": {"min_rows": 2},
            **data,
        },
    )


def pictures(**data: Any) -> UseCase:
    """A classification of 2 x 3 byte arrays."""
    return _usecase(
        "classification",
        "accuracy",
        {
            "source": {"type": "python", "load": "model.py:load"},
            "target": "label",
            "features": {"picture": {"type": "tensor", "shape": [2, 3], "dtype": "uint8"}},
            "split": {"by": "random", "test": 0.2, "validation": 0.2},
            "checks": {"min_rows": 2},
            **data,
        },
    )


def prices(**data: Any) -> UseCase:
    """A regression of one number."""
    return _usecase(
        "regression",
        "rmse",
        {
            "source": {"type": "python", "load": "model.py:load"},
            "target": "price",
            "features": {"area": {"type": "number"}},
            "split": {"by": "random", "test": 0.2, "validation": 0.2},
            "checks": {"min_rows": 2},
            **data,
        },
    )


def flight_rows(rows: int = 10, **columns: Any) -> pa.Table:
    """One flight every twelve hours from 2013-01-01; keyword arguments replace columns."""
    values: dict[str, Any] = {
        "distance": np.linspace(100, 1000, rows),
        "wind": np.linspace(0, 20, rows),
        "carrier": [("UA", "AA", "DL")[row % 3] for row in range(rows)],
        "late": [row % 2 == 0 for row in range(rows)],
        "departure": np.datetime64("2013-01-01T00:00:00") + np.arange(rows) * np.timedelta64(12, "h"),
        **columns,
    }
    return pa.table({name: pa.array(column) for name, column in values.items()})


def _usecase(task: str, metric: str, data: dict[str, Any]) -> UseCase:
    return UseCase.model_validate(
        {
            "apiVersion": "mlops-blueprint/v1",
            "name": "case",
            "purpose": "Shows how data behaves.",
            "owner": {"team": "t", "contact": "t@example.com", "accountable": "head"},
            "risk": {"level": "minimal"},
            "task": task,
            "data": data,
            "training": {"train": "model.py:train"},
            "evaluation": {
                "metrics": [metric],
                "gates": [{"metric": metric, "at_most" if metric == "rmse" else "at_least": 0.5}],
            },
        }
    )
