"""A model folder that answers: the same code scores candidates in the pipeline and serves them."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from bento.documents import Document
from bento.errors import FormatUnknown, ModelFileBroken, ModelFileMissing, SchemaTooNew
from bento.formats.format import Columns, LoadedModel
from bento.formats.load import format_of
from bento.signature import SIGNATURE_FILE, Signature

__all__ = ["Columns", "Model", "read_record"]

CHUNK_ROWS = 8192
Kind = TypeVar("Kind", bound=Document)


class Model:
    """A model of any format, and its signature."""

    def __init__(self, signature: Signature, loaded: LoadedModel) -> None:
        self.signature = signature
        self._loaded = loaded

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Read the folder (see bento.signature); a file that is missing or broken is named.

        Raises:
            ModelFileMissing, ModelFileBroken: a file is not there, cannot be read, or does not fit its signature.
            FormatBroken: the format comes from a distribution that cannot be loaded.
        """
        signature = read_record(Signature, folder / SIGNATURE_FILE)
        _require_sense(folder / SIGNATURE_FILE, signature)
        try:
            kind = format_of(signature.format)
        except FormatUnknown as error:
            raise ModelFileBroken(f"{folder / SIGNATURE_FILE}: format: {error}") from error
        for name in kind.files:
            if not (folder / name).is_file():
                raise ModelFileMissing(f"{folder / name} does not exist")
        loaded = kind.load(folder, signature)
        kind.probe(folder, loaded, signature)
        return cls(signature, loaded)

    def run(self, columns: Columns) -> np.ndarray[Any, Any]:
        """The raw outputs, float32: probabilities (rows, classes) in class order, or values (rows, 1).

        `columns`: number (rows,) as float32, category (rows,) as text, tensor (rows, *shape) in its dtype.
        """
        rows = len(next(iter(columns.values())))
        if rows <= CHUNK_ROWS:
            return self._loaded.run(columns)
        starts = range(0, rows, CHUNK_ROWS)
        return np.concatenate(
            [
                self._loaded.run({name: values[start : start + CHUNK_ROWS] for name, values in columns.items()})
                for start in starts
            ]
        )


def read_record(kind: type[Kind], path: Path) -> Kind:
    """Read one JSON document of a model folder; raises ModelFileMissing or ModelFileBroken, naming file and key."""
    try:
        return kind.read(path)
    except FileNotFoundError:
        raise ModelFileMissing(f"{path} does not exist") from None
    except SchemaTooNew as error:
        raise ModelFileBroken(str(error)) from None
    except (ValidationError, OSError) as error:
        raise ModelFileBroken(f"{path}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError | OSError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else first["msg"]


def _require_sense(path: Path, signature: Signature) -> None:
    if not signature.fields:
        raise ModelFileBroken(f"{path}: fields is empty; a model takes at least one")
    if signature.tensor and len(signature.fields) > 1:
        raise ModelFileBroken(f"{path}: fields: {signature.tensor[0]!r} is a tensor and must be the only field")
    if signature.task == "classification" and not signature.classes:
        raise ModelFileBroken(f"{path}: classes is missing; a classification names its classes")
