"""A model folder that answers: the same code scores candidates in the pipeline and serves them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from bento.errors import ModelFileBroken, ModelFileMissing
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


class Model:
    """An ONNX model and its signature."""

    def __init__(self, signature: Signature, session: Any) -> None:
        self.signature = signature
        self._session = session
        self._output = [PROBABILITIES if signature.task == "classification" else VALUES]

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Read the folder (see bento.signature); a file that is missing or broken is named."""
        for name in (SIGNATURE_FILE, MODEL_FILE):
            if not (folder / name).is_file():
                raise ModelFileMissing(f"{folder / name} does not exist")
        try:
            signature = Signature.read(folder / SIGNATURE_FILE)
        except ValidationError as error:
            raise ModelFileBroken(f"{folder / SIGNATURE_FILE}: {error.errors()[0]['msg']}") from error
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
        reason = str(error).splitlines()[0]
        raise ModelFileBroken(f"{path} is no model ONNX Runtime can load: {reason}") from error


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
    strangers = sorted(inputs.keys() - signature.fields.keys())
    if strangers:
        raise ModelFileBroken(f"{path} wants the input {strangers[0]!r}, which {SIGNATURE_FILE} does not have")
    wanted = PROBABILITIES if signature.task == "classification" else VALUES
    outputs = {value.name: value for value in session.get_outputs()}
    if wanted not in outputs:
        raise ModelFileBroken(f"{path} has no output {wanted!r}; outputs: {sorted(outputs)}")
    width = outputs[wanted].shape[-1]
    classes = len(signature.classes or ())
    if classes and isinstance(width, int) and width != classes:
        raise ModelFileBroken(f"{path} gives {width} probabilities, {SIGNATURE_FILE} names {classes} classes")
