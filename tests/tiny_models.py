"""Model folders and Bentos small enough for a test, made by hand from ONNX operators."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

import bento
from bento.runtime import Columns, Model
from bento.service import entry_point
from bento.signature import (
    GOLDEN_FILE,
    MODEL_FILE,
    PROVENANCE_FILE,
    SIGNATURE_FILE,
    CategoryField,
    Golden,
    NumberField,
    Provenance,
    Signature,
    TensorField,
)

OPSETS = [helper.make_opsetid("", 18)]

TABULAR = Signature(
    name="tiny-table",
    task="classification",
    fields={
        "distance": NumberField(min=0, max=5000),
        "temperature": NumberField(min=-40, max=130, nullable=True),
        "origin": CategoryField(one_of=("EWR", "JFK", "LGA")),
        "carrier": CategoryField(),
    },
    classes=(False, True),
    max_batch=100,
)
PICTURE = Signature(
    name="tiny-picture",
    task="classification",
    fields={"image": TensorField(shape=(28, 28), dtype="uint8", min=0, max=255)},
    classes=tuple(f"kind-{number}" for number in range(10)),
)


def write_tabular_model(folder: Path, weight: float = 0.001, signature: Signature = TABULAR) -> Path:
    """Probability of True: a logistic curve over the distance; the other inputs are taken and do not matter."""
    floats = [name for name, field in signature.fields.items() if isinstance(field, NumberField)]
    texts = [name for name, field in signature.fields.items() if isinstance(field, CategoryField)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in floats]
    inputs += [helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1]) for name in texts]
    nodes = [
        helper.make_node("Mul", [floats[0], "weight"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([weight], "float32"), "weight"),
        numpy_helper.from_array(np.array([1], "float32"), "one"),
    ]
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    instance = {"distance": 1400.0, "temperature": None, "origin": "EWR", "carrier": "UA"}
    columns = {
        "distance": np.array([1400], "float32"),
        "temperature": np.array([np.nan], "float32"),
        "origin": np.array(["EWR"], object),
        "carrier": np.array(["UA"], object),
    }
    return _write(folder, signature, _graph(inputs, nodes, constants, output), [instance], columns)


def write_fragile_model(folder: Path, signature: Signature = TABULAR) -> Path:
    """A valid model that answers a distance of 0 and fails inside ONNX Runtime on any other: an index out of bounds."""
    names = signature.fields.items()
    inputs = [helper.make_tensor_value_info(n, _element_type(f), [None, 1]) for n, f in names]
    nodes = [
        helper.make_node("Cast", ["distance"], ["index"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["index", "second"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["probabilities"], axis=0),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], "int64"), "second"),
        numpy_helper.from_array(np.array([[0.5, 0.5]], "float32"), "table"),
    ]
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    instance = {"distance": 0.0, "temperature": 20.0, "origin": "EWR", "carrier": "UA"}
    columns = {
        name: np.array([instance[name]], object if isinstance(field, CategoryField) else "float32")
        for name, field in names
    }
    return _write(folder, signature, _graph(inputs, nodes, constants, output), [instance], columns)


def write_tensor_model(folder: Path, seed: int = 0, signature: Signature = PICTURE) -> Path:
    """One linear layer with softmax over 28 x 28 pixels, with fixed random weights."""
    weights = np.random.default_rng(seed).normal(0, 0.02, (784, 10)).astype("float32")
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "flat"], ["rows"]),
        helper.make_node("Div", ["rows", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1, 784], "int64"), "flat"),
        numpy_helper.from_array(np.array([255], "float32"), "scale"),
        numpy_helper.from_array(weights, "weights"),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, [None, 28, 28])]
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 10])
    picture = np.random.default_rng(1).integers(0, 256, (1, 28, 28)).astype("uint8")
    graph = _graph(inputs, nodes, constants, output)
    return _write(folder, signature, graph, [picture[0].tolist()], {"image": picture})


def write_bento(
    folder: Path, version: str = "1", name: str = "tiny-table", weight: float = 0.001, tensor: bool = False
) -> Path:
    """A complete unpacked Bento: bento.yaml, src/{service.py, bento/, model/}."""
    source = folder / "src"
    model = source / "model"
    signature = (PICTURE if tensor else TABULAR).model_copy(update={"name": name})
    if tensor:
        write_tensor_model(model, signature=signature)
    else:
        write_tabular_model(model, weight, signature)
    Provenance(
        bento=f"{name}:{version}",
        model=f"{name}/{version}",
        run="r" * 32,
        data="d" * 12,
        code="c" * 40,
        created="2026-01-01T00:00:00+00:00",
    ).write(model / PROVENANCE_FILE)
    shutil.copytree(Path(bento.__file__).parent, source / "bento", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "service.py").write_text(entry_point(name, timeout_seconds=5))
    described = {"service": "service:Service", "name": name, "version": version}
    (folder / "bento.yaml").write_text(yaml.safe_dump(described))
    return folder


def _element_type(field: object) -> int:
    return int(TensorProto.STRING if isinstance(field, CategoryField) else TensorProto.FLOAT)


def _graph(inputs: list[Any], nodes: list[Any], constants: list[Any], output: Any) -> Any:
    return helper.make_graph(nodes, "tiny", inputs, [output], constants)


def _write(folder: Path, signature: Signature, graph: Any, instances: list[Any], columns: Columns) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, folder / MODEL_FILE)
    signature.write(folder / SIGNATURE_FILE)
    outputs = Model.load(folder).run(columns)
    Golden(instances=instances, outputs=outputs.astype(float).tolist()).write(folder / GOLDEN_FILE)
    return folder
