"""ONNX: one graph that ONNX Runtime answers with, for every framework that can say its models in it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bento.errors import ModelFileBroken, one_line
from bento.formats.format import Columns, LoadedModel, ModelFormat
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

ONNX_TYPES = {"number": "tensor(float)", "category": "tensor(string)"}
TENSOR_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


class OnnxModel:
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self.session = session
        self._fields = list(signature.fields.items())
        self._output = [PROBABILITIES if signature.task == "classification" else VALUES]

    def run(self, columns: Columns) -> np.ndarray[Any, Any]:
        """See bento.formats.format.LoadedModel."""
        feed = {name: _as_input(field, columns[name]) for name, field in self._fields}
        outputs: np.ndarray[Any, Any] = self.session.run(self._output, feed)[0]
        return outputs if outputs.ndim > 1 else outputs.reshape(-1, 1)


class Onnx(ModelFormat):
    """`model.onnx`, whose inputs and output have the signature's names and types."""

    name = "onnx"
    files = (MODEL_FILE,)
    training = "pipelines.training.formats.onnx:OnnxExporter"

    def load(self, folder: Path, signature: Signature) -> OnnxModel:
        """A session on one thread. Raises ModelFileBroken."""
        return OnnxModel(_open_session(folder / MODEL_FILE), signature)

    def probe(self, folder: Path, model: LoadedModel, signature: Signature) -> None:
        """The graph says what it takes and gives, so nothing need be run. Raises ModelFileBroken."""
        assert isinstance(model, OnnxModel)  # noqa: S101 - `load` makes no other
        _require_fit(folder / MODEL_FILE, model.session, signature)


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
