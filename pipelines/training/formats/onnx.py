"""One way out of every framework: an ONNX file whose inputs and output have the signature's names and types.

A tabular model gets one input per feature (float32 or string, [N, 1]); a tensor model one input of the
feature's own dtype, [N, *shape]. The output is `probabilities` [N, classes] or `values` [N, 1], float32.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bento.signature import MODEL_FILE, PROBABILITIES, VALUES, CategoryField, Signature, TensorField
from pipelines.training.formats.exporter import AddFlavor, Exporter, NotExportable
from pipelines.usecase.code import returned

if TYPE_CHECKING:
    import onnx

Convert = Callable[[Any, Signature], "onnx.ModelProto"]

OPSETS = {"": 18, "ai.onnx.ml": 3}


class OnnxExporter(Exporter):
    """Keras, scikit-learn, LightGBM, and models that are ONNX already."""

    name = "onnx"

    def takes(self, model: Any) -> bool:
        """Told by the module of its class."""
        return _kind(model) is not None

    def export(self, model: Any, signature: Signature, folder: Path) -> None:
        """Write model.onnx. Raises NotExportable."""
        export(model, signature, folder / MODEL_FILE)

    def answer(self, model: Any, signature: Signature, columns: Mapping[str, Any], frame: Any) -> Any:
        """The framework's own predictions; None for a model that is ONNX already."""
        return trained_outputs(model, signature, columns, frame)

    def mlflow_flavor(self) -> AddFlavor:
        """MLflow's own ONNX flavor: its version loads without this package."""
        return _add_onnx_flavor


def export(model: Any, signature: Signature, path: Path) -> None:
    """Write `model` as ONNX to `path`, whatever framework it is of."""
    kind = _kind(model)
    if kind is None:
        raise NotExportable(
            f"train() returned {returned(model)}, which cannot be exported to ONNX",
            hint="return a fitted Keras, scikit-learn or LightGBM model, or an onnx.ModelProto",
        )
    converters: dict[str, Convert] = {"keras": _from_keras, "sklearn": _from_sklearn, "onnx": lambda model, _: model}
    try:
        exported = converters[kind](model, signature)
        _rename(exported, signature)
        _order_opsets(exported)
    except NotExportable:
        raise
    except Exception as error:
        raise NotExportable(f"{type(model).__name__} could not be exported to ONNX: {error}") from error
    path.write_bytes(exported.SerializeToString(deterministic=True))


def trained_outputs(model: Any, signature: Signature, columns: Mapping[str, Any], frame: Any) -> Any:
    """What the trained model itself answers, shaped like the exported one's output, to check the export against."""
    import numpy as np

    kind = _kind(model)
    if kind == "onnx":
        return None
    features = next(iter(columns.values())) if signature.tensor else frame
    if kind == "keras":
        outputs = model.predict(np.asarray(features, dtype="float32"), verbose=0)
    else:
        features = features.reshape(len(features), -1).astype("float32") if signature.tensor else features
        outputs = model.predict_proba(features) if signature.task == "classification" else model.predict(features)
    outputs = np.asarray(outputs, dtype="float32")
    return outputs.reshape(-1, 1) if outputs.ndim == 1 else outputs


def _kind(model: Any) -> str | None:
    """The framework a model is of, told by its class's module so that no framework is imported to ask."""
    modules = {base.__module__.split(".")[0] for base in type(model).__mro__}
    if "keras" in modules:
        return "keras"
    if "onnx" in modules:
        return "onnx"
    if modules & {"sklearn", "lightgbm"}:
        return "sklearn"
    return None


def _from_keras(model: Any, signature: Signature) -> "onnx.ModelProto":
    import tempfile

    import numpy as np
    import onnx

    if signature.tensor is None:
        raise NotExportable("a Keras model takes one tensor feature; for a table use scikit-learn or LightGBM")
    _, field = signature.tensor
    # tf2onnx refuses a model that was never called.
    model(np.zeros((1, *field.shape), dtype="float32"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def _from_sklearn(model: Any, signature: Signature) -> "onnx.ModelProto":
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    _teach_lightgbm(model)
    if signature.tensor:
        name, field = signature.tensor
        width = 1
        for size in field.shape:
            width *= size
        inputs = [(name, FloatTensorType([None, width]))]
    else:
        inputs = [
            (name, StringTensorType([None, 1]) if isinstance(field, CategoryField) else FloatTensorType([None, 1]))
            for name, field in signature.fields.items()
        ]
    options = {id(model): {"zipmap": False}} if signature.task == "classification" else None
    exported: onnx.ModelProto = to_onnx(model, initial_types=inputs, options=options, target_opset=OPSETS)
    return exported


def _teach_lightgbm(model: Any) -> None:
    """skl2onnx knows LightGBM only once onnxmltools' converter is registered with it."""
    steps = [model, *(step for _, step in getattr(model, "steps", []))]
    if not any(type(step).__module__.startswith("lightgbm") for step in steps):
        return
    from lightgbm import LGBMClassifier, LGBMRegressor
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    zipmap = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    update_registered_converter(
        LGBMClassifier,
        "LightGbmLGBMClassifier",
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options=zipmap,
    )
    update_registered_converter(
        LGBMRegressor, "LightGbmLGBMRegressor", calculate_linear_regressor_output_shapes, convert_lightgbm
    )


def _rename(exported: "onnx.ModelProto", signature: Signature) -> None:
    """Give the graph the signature's names, dtypes and single output."""
    graph = exported.graph
    output = _pick_output(graph, signature)
    del graph.output[:]
    graph.output.append(output)
    wanted = PROBABILITIES if signature.task == "classification" else VALUES
    if output.name != wanted:
        _append_identity(graph, output, wanted)
    if signature.tensor:
        _adapt_tensor_input(graph, *signature.tensor)


def _order_opsets(exported: "onnx.ModelProto") -> None:
    """skl2onnx writes them in the order of a set, another in each process; the same model is the same to the byte."""
    opsets = sorted(exported.opset_import, key=lambda opset: opset.domain)
    del exported.opset_import[:]
    exported.opset_import.extend(opsets)


def _pick_output(graph: "onnx.GraphProto", signature: Signature) -> "onnx.ValueInfoProto":
    """A classifier of skl2onnx gives label and probabilities; only the last, the float one, is kept."""
    import onnx

    floats = [o for o in graph.output if o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    if not floats:
        names = [output.name for output in graph.output]
        raise NotExportable(f"the exported model has no float output for {signature.task}; its outputs: {names}")
    return floats[-1]


def _append_identity(graph: "onnx.GraphProto", output: "onnx.ValueInfoProto", name: str) -> None:
    import onnx

    graph.node.append(onnx.helper.make_node("Identity", [output.name], [name], name=f"as_{name}"))
    renamed = onnx.ValueInfoProto()
    renamed.CopyFrom(output)
    renamed.name = name
    del graph.output[:]
    graph.output.append(renamed)


def _adapt_tensor_input(graph: "onnx.GraphProto", name: str, field: TensorField) -> None:
    """Put a cast and a reshape before the graph, so that clients send the feature as usecase.yaml declares it."""
    import onnx
    from onnx import TensorProto, helper

    if len(graph.input) != 1:
        raise NotExportable(f"a tensor model has one input, this one has {[value.name for value in graph.input]}")
    inner = graph.input[0]
    inner_name, inner_type = inner.name, inner.type.tensor_type
    inner_dims = [dim.dim_value for dim in inner_type.shape.dim][1:]
    if inner_name == name:
        _rename_edges(graph, name, f"{name}_inner")
        inner_name = f"{name}_inner"
    dtype = TensorProto.UINT8 if field.dtype == "uint8" else TensorProto.FLOAT
    nodes = [helper.make_node("Cast", [name], [f"{name}_cast"], to=inner_type.elem_type, name="as_model_dtype")]
    shape = onnx.numpy_helper.from_array(_int64([-1, *inner_dims]), f"{name}_shape")
    graph.initializer.append(shape)
    nodes.append(helper.make_node("Reshape", [f"{name}_cast", shape.name], [inner_name], name="as_model_shape"))
    for position, node in enumerate(nodes):
        graph.node.insert(position, node)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(name, dtype, [None, *field.shape]))


def _rename_edges(graph: "onnx.GraphProto", old: str, new: str) -> None:
    for node in graph.node:
        for position, edge in enumerate(node.input):
            if edge == old:
                node.input[position] = new


def _int64(values: list[int]) -> Any:
    import numpy as np

    return np.array(values, dtype="int64")


def _add_onnx_flavor(folder: Path, mlflow_signature: Any) -> None:
    import shutil

    import mlflow.onnx
    import onnx

    scratch = folder.with_name(f".{folder.name}-mlflow")
    shutil.rmtree(scratch, ignore_errors=True)
    mlflow.onnx.save_model(
        onnx.load(folder / MODEL_FILE),
        str(scratch),
        signature=mlflow_signature,
        pip_requirements=["onnxruntime"],
        save_as_external_data=False,
        onnx_execution_providers=["CPUExecutionProvider"],
    )
    for path in scratch.iterdir():
        if path.name not in (MODEL_FILE, "MLmodel"):
            path.replace(folder / path.name)
    (scratch / "MLmodel").replace(folder / "MLmodel")
    shutil.rmtree(scratch)
