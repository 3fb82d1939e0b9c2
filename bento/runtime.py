"""A model folder that answers: the same code scores candidates in the pipeline and serves them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from bento.documents import Document
from bento.errors import ModelFileBroken, ModelFileMissing, SchemaTooNew, one_line
from bento.signature import (
    MODEL_FILE,
    PROBABILITIES,
    SIGNATURE_FILE,
    VALUES,
    CategoryField,
    NumberField,
    Signature,
    TensorField,
)

CHUNK_ROWS = 8192
ONNX_TYPES = {"number": "tensor(float)", "category": "tensor(string)"}
TENSOR_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}

Columns = Mapping[str, np.ndarray[Any, Any]]
Kind = TypeVar("Kind", bound=Document)


class Model:
    """An ONNX model and its signature."""

    def __init__(self, signature: Signature, session: Any) -> None:
        self.signature = signature
        self._session = session
        self._output = [PROBABILITIES if signature.task == "classification" else VALUES]

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Read the folder (see bento.signature); a file that is missing or broken is named."""
        signature = read_record(Signature, folder / SIGNATURE_FILE)
        _require_sense(folder / SIGNATURE_FILE, signature)
        if not (folder / MODEL_FILE).is_file():
            raise ModelFileMissing(f"{folder / MODEL_FILE} does not exist")
        session = _open_session(folder / MODEL_FILE)
        _require_fit(folder / MODEL_FILE, session, signature)
        return cls(signature, session)

    def run(self, columns: Columns) -> np.ndarray[Any, Any]:
        """The raw outputs, float32: probabilities (rows, classes) in class order, or values (rows, 1).

        `columns`: number (rows,) as float32, category (rows,) as text, tensor (rows, *shape) in its dtype.
        """
        rows = len(next(iter(columns.values())))
        if rows <= CHUNK_ROWS:
            return self._run_chunk(columns)
        starts = range(0, rows, CHUNK_ROWS)
        return np.concatenate(
            [
                self._run_chunk({name: values[start : start + CHUNK_ROWS] for name, values in columns.items()})
                for start in starts
            ]
        )

    def _run_chunk(self, columns: Columns) -> np.ndarray[Any, Any]:
        feed = {name: _as_input(field, columns[name]) for name, field in self.signature.fields.items()}
        outputs: np.ndarray[Any, Any] = self._session.run(self._output, feed)[0]
        return outputs if outputs.ndim > 1 else outputs.reshape(-1, 1)


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


def _as_input(field: NumberField | CategoryField | TensorField, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if isinstance(field, TensorField):
        return np.ascontiguousarray(values, dtype=field.dtype)
    if isinstance(field, CategoryField):
        return values.astype(object, copy=False).reshape(-1, 1)
    return values.astype(np.float32, copy=False).reshape(-1, 1)


def _open_session(path: Path) -> Any:
    """One thread a session: servers scale by processes, and a second thread only helps on an idle machine."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFileBroken(f"{path} is no model ONNX Runtime can load: {one_line(error)}") from error


def _require_sense(path: Path, signature: Signature) -> None:
    if not signature.fields:
        raise ModelFileBroken(f"{path}: fields is empty; a model takes at least one")
    if signature.tensor and len(signature.fields) > 1:
        raise ModelFileBroken(f"{path}: fields: {signature.tensor[0]!r} is a tensor and must be the only field")
    if signature.task == "classification" and not signature.classes:
        raise ModelFileBroken(f"{path}: classes is missing; a classification names its classes")


def _require_fit(path: Path, session: Any, signature: Signature) -> None:
    inputs = {value.name: value for value in session.get_inputs()}
    for name, field in signature.fields.items():
        if name not in inputs:
            raise ModelFileBroken(
                f"{path} has no input {name!r}, which {SIGNATURE_FILE} names; inputs: {sorted(inputs)}"
            )
        expected = TENSOR_TYPES[field.dtype] if isinstance(field, TensorField) else ONNX_TYPES[field.type]
        if inputs[name].type != expected:
            raise ModelFileBroken(f"{path}: input {name!r} is {inputs[name].type}, {SIGNATURE_FILE} says {expected}")
        shape = field.shape if isinstance(field, TensorField) else (1,)
        if not _same_shape(inputs[name].shape, shape):
            raise ModelFileBroken(
                f"{path}: input {name!r} is {inputs[name].shape}, {SIGNATURE_FILE} says {['N', *shape]}"
            )
    strangers = sorted(inputs.keys() - signature.fields.keys())
    if strangers:
        raise ModelFileBroken(f"{path} wants the input {strangers[0]!r}, which {SIGNATURE_FILE} does not have")
    wanted = PROBABILITIES if signature.task == "classification" else VALUES
    outputs = {value.name: value for value in session.get_outputs()}
    if wanted not in outputs:
        raise ModelFileBroken(f"{path} has no output {wanted!r}; outputs: {sorted(outputs)}")
    if outputs[wanted].type != "tensor(float)":
        raise ModelFileBroken(f"{path}: output {wanted!r} is {outputs[wanted].type}; expected tensor(float)")
    shape = outputs[wanted].shape
    width = len(signature.classes) if signature.classes and signature.task == "classification" else 1
    if not _same_shape(shape, (width,)) and not (width == 1 and len(shape) == 1):
        said = f"names {width} classes" if wanted == PROBABILITIES else "says one value"
        raise ModelFileBroken(f"{path}: one instance of output {wanted!r} is {shape[1:]}, {SIGNATURE_FILE} {said}")


def _same_shape(declared: Sequence[int | str | None], expected: tuple[int, ...]) -> bool:
    """Whether an instance fits the declared shape [N, ...]; what the model leaves open (a size, the rank) fits any."""
    sizes = declared[1:]
    return not declared or (
        len(sizes) == len(expected)
        and all(not isinstance(size, int) or size == wanted for size, wanted in zip(sizes, expected, strict=True))
    )
