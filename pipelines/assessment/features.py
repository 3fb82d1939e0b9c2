"""What is compared: a table with one column for each number and category, and three for a picture or vector.

A picture is told by figures that people can read: its mean, its contrast (standard deviation), and its edges (mean
difference between neighbours). They are small, and no picture leaves the place where it was trained on or answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bento.signature import CategoryField, Field_, NumberField, Signature, TensorField

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FIGURES = ("mean", "contrast", "edges")
LABEL, CONFIDENCE, VALUE = "label", "confidence", "value"
CHUNK_ROWS = 1000


def compared_columns(signature: Signature) -> dict[str, str]:
    """Each column of the comparison and the feature that it tells of: `image.mean` → `image`."""
    return {column: name for name, field in signature.fields.items() for column in _columns_of(name, field)}


def is_category(signature: Signature, column: str) -> bool:
    """Whether a compared input is a text."""
    return isinstance(signature.fields.get(column), CategoryField)


def describe_columns(signature: Signature, columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The comparison's table of rows as the model takes them (see pipelines.data.examples)."""
    import pandas as pd

    described: dict[str, Any] = {}
    for name, field in signature.fields.items():
        if isinstance(field, TensorField):
            described |= _figures(name, columns[name])
        elif isinstance(field, NumberField):
            described[name] = columns[name].astype("float32")
        else:
            described[name] = pd.Series(columns[name], dtype=object).replace("", None)
    return pd.DataFrame(described)


def describe_rows(signature: Signature, rows: Sequence[Mapping[str, Any] | None]) -> pd.DataFrame:
    """The same table of instances as they were sent and stored; what is not there or does not fit is missing."""
    import pandas as pd

    described: dict[str, Any] = {}
    for name, field in signature.fields.items():
        cells = [row.get(name) if isinstance(row, Mapping) else None for row in rows]
        if isinstance(field, TensorField):
            described |= _figures_of_cells(name, field, cells)
        elif isinstance(field, NumberField):
            # float32, as the model got it: 0.1 is then the same number here and in the training data.
            described[name] = pd.Series([_number(cell) for cell in cells], dtype="float32")
        else:
            described[name] = pd.Series([_text(cell) for cell in cells], dtype=object)
    return pd.DataFrame(described, index=range(len(rows)))


def describe_outputs(signature: Signature, outputs: np.ndarray) -> pd.DataFrame:
    """The comparison's table of a model's raw outputs: class and confidence, or the value."""
    import numpy as np
    import pandas as pd

    if signature.task == "regression":
        return pd.DataFrame({VALUE: outputs.reshape(-1).astype("float32")})
    names = np.array([class_text(name) for name in signature.classes or ()], dtype=object)
    return pd.DataFrame({LABEL: names[outputs.argmax(axis=1)], CONFIDENCE: outputs.max(axis=1).astype("float32")})


def class_text(name: object) -> str:
    """A class as the answers' JSON has it for a key: false, 7 or Sneaker."""
    return str(name).lower() if isinstance(name, bool) else str(name)


def _columns_of(name: str, field: Field_) -> list[str]:
    return [f"{name}.{figure}" for figure in FIGURES] if isinstance(field, TensorField) else [name]


def _figures(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    import numpy as np

    parts = [_figures_of(values[start : start + CHUNK_ROWS]) for start in range(0, max(len(values), 1), CHUNK_ROWS)]
    return {f"{name}.{figure}": np.concatenate([part[figure] for part in parts]) for figure in FIGURES}


def _figures_of(values: np.ndarray) -> dict[str, np.ndarray]:
    import numpy as np

    numbers = values.astype("float32")
    rows = len(numbers)
    flat = numbers.reshape(rows, -1)
    steps = [np.abs(np.diff(numbers, axis=axis)).reshape(rows, -1) for axis in range(1, min(numbers.ndim, 3))]
    neighbours = np.concatenate(steps, axis=1) if steps else flat[:, :0]
    edges = neighbours.mean(axis=1) if neighbours.shape[1] else np.zeros(rows, "float32")
    return {"mean": flat.mean(axis=1), "contrast": flat.std(axis=1), "edges": edges}


def _figures_of_cells(name: str, field: TensorField, cells: Sequence[Any]) -> dict[str, np.ndarray]:
    import numpy as np

    described = {f"{name}.{figure}": np.full(len(cells), np.nan, "float32") for figure in FIGURES}
    for start in range(0, len(cells), CHUNK_ROWS):
        whole = [(row, tensor) for row, tensor in _tensors(field, cells, start) if tensor is not None]
        if whole:
            rows = [row for row, _ in whole]
            for column, values in _figures(name, np.stack([tensor for _, tensor in whole])).items():
                described[column][rows] = values
    return described


def _tensors(field: TensorField, cells: Sequence[Any], start: int) -> list[tuple[int, np.ndarray | None]]:
    return [(start + at, _tensor(field, cell)) for at, cell in enumerate(cells[start : start + CHUNK_ROWS])]


def _tensor(field: TensorField, cell: Any) -> np.ndarray | None:
    import numpy as np

    if cell is None:
        return None
    try:
        values = np.asarray(cell, dtype="float32")
    except (TypeError, ValueError):
        return None
    return values if values.shape == tuple(field.shape) else None


def _number(cell: Any) -> float:
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else float("nan")


def _text(cell: Any) -> str | None:
    return cell or None if isinstance(cell, str) else None
