"""What every model format can do where a model answers: load, run, describe itself, and be probed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from bento.errors import ModelFileBroken
from bento.signature import SIGNATURE_FILE, CategoryField, NumberField, Signature, TensorField

Columns = Mapping[str, np.ndarray[Any, Any]]

PROBE_ROWS = 2


class LoadedModel(Protocol):
    """A model that is ready to answer."""

    def run(self, columns: Columns) -> np.ndarray[Any, Any]:
        """Float32: probabilities (rows, classes) in class order, or values (rows, 1).

        columns     in the signature's order: number (rows,) float32, category (rows,) str, tensor (rows, *shape)
        """


class ModelFormat(ABC):
    """The half of a format that serves. It is packed into Bentos, so it must import nothing of `pipelines`.

    name            what signature.json calls it, and the entry point's name
    files           the files of the model folder that hold the model: their content decides what is answered
    requirements    distributions that the server needs for it, beside those of the extra `serve`
    training        the half that trains, as `module:class`; see pipelines.training.formats.exporter
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    requirements: ClassVar[tuple[str, ...]] = ()
    training: ClassVar[str]

    @abstractmethod
    def load(self, folder: Path, signature: Signature) -> LoadedModel:
        """Read the model's files, all of which exist. Raises ModelFileBroken, naming the file."""

    def describe(self, folder: Path) -> dict[str, str]:
        """A few facts for people, tracked with the run: the format, and the size of the model's files."""
        size = sum((folder / name).stat().st_size for name in self.files)
        return {"format": self.name, "model_bytes": str(size)}

    def probe(self, folder: Path, model: LoadedModel, signature: Signature) -> None:
        """Refuse a model that does not fit its signature, before it gets traffic: here by asking it two rows.

        Raises:
            ModelFileBroken: it fails on rows that the signature allows, or answers in another shape.
        """
        width = len(signature.classes) if signature.task == "classification" and signature.classes else 1
        try:
            found = np.shape(model.run(example_columns(signature, PROBE_ROWS)))
        except Exception as error:
            raise ModelFileBroken(
                f"{folder / self.files[0]} fails on rows that {SIGNATURE_FILE} allows: {type(error).__name__}: {error}"
            ) from error
        if found != (PROBE_ROWS, width):
            raise ModelFileBroken(
                f"{folder / self.files[0]} answers {PROBE_ROWS} rows in shape {list(found)}; "
                f"{SIGNATURE_FILE} says {[PROBE_ROWS, width]}"
            )


def example_columns(signature: Signature, rows: int) -> Columns:
    """Rows that the signature allows: the smallest numbers, the first categories."""
    return {name: _example(field, rows) for name, field in signature.fields.items()}


def _example(field: NumberField | CategoryField | TensorField, rows: int) -> np.ndarray[Any, Any]:
    if isinstance(field, CategoryField):
        return np.array([field.one_of[0] if field.one_of else ""] * rows, dtype=object)
    low = field.min if field.min is not None else 0.0
    value = min(low, field.max) if field.max is not None else low
    if isinstance(field, TensorField):
        return np.full((rows, *field.shape), value, dtype=field.dtype)
    return np.full(rows, value, dtype="float32")
