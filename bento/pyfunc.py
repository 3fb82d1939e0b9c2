"""A model folder of any format as MLflow loads it: `mlflow.pyfunc.load_model` comes here by the MLmodel beside it."""

from pathlib import Path
from typing import Any

import numpy as np

from bento.runtime import Model
from bento.signature import TensorField


class PyfuncModel:
    """What MLflow calls `predict` of."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, data: Any) -> np.ndarray[Any, Any]:
        """Raw outputs (rows, classes or 1) for a data frame or a mapping of columns."""
        columns = {name: _column(field, data[name]) for name, field in self.model.signature.fields.items()}
        return self.model.run(columns)


def _load_pyfunc(path: str) -> PyfuncModel:
    return PyfuncModel(Model.load(Path(path)))


def _column(field: object, values: Any) -> np.ndarray[Any, Any]:
    if isinstance(field, TensorField):
        return np.asarray(list(values), dtype=field.dtype)
    return np.asarray(values)
