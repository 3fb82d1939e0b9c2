"""A model folder that answers, and how a broken one is named."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bento.errors import ModelFileBroken, ModelFileMissing
from bento.runtime import Model
from bento.signature import CategoryField, NumberField, Signature, TensorField
from tests.tiny_models import PICTURE, TABULAR, write_fragile_model, write_tabular_model, write_tensor_model


def flights(count: int) -> dict[str, np.ndarray]:
    return {
        "distance": np.linspace(0, 5000, count, dtype="float32"),
        "temperature": np.full(count, np.nan, "float32"),
        "origin": np.array(["EWR"] * count, object),
        "carrier": np.array(["UA"] * count),
    }


def rewrite_signature(folder, **changes) -> None:
    path = folder / "signature.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_answers_probabilities_in_class_order(tmp_path):
    answers = Model.load(write_tabular_model(tmp_path, weight=0.001)).run(flights(3))
    yes = 1 / (1 + np.exp(-0.001 * np.array([0, 2500, 5000])))
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, np.stack([1 - yes, yes], axis=1), rtol=1e-5)


def test_answers_a_whole_data_set_as_it_answers_each_row(tmp_path):
    """Rows are run in chunks: the seams must not show, and the order must stay."""
    model = Model.load(write_tabular_model(tmp_path))
    columns = flights(20_001)
    answers = model.run(columns)
    assert answers.shape == (20_001, 2)
    for row in (0, 8191, 8192, 16384, 20_000):
        np.testing.assert_array_equal(answers[row], model.run({k: v[row : row + 1] for k, v in columns.items()})[0])


def test_answers_pictures(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype("uint8")
    answers = Model.load(write_tensor_model(tmp_path)).run({"image": pictures})
    assert answers.shape == (5, 10)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_raises_what_the_model_raises(tmp_path):
    model = Model.load(write_fragile_model(tmp_path))
    assert model.run({k: v[:1] for k, v in flights(2).items()}).tolist() == [[0.5, 0.5]]
    with pytest.raises(Exception, match="out of data bounds"):
        model.run(flights(2))


def test_a_regression_of_rank_one_becomes_a_column(tmp_path):
    node = helper.make_node("Squeeze", ["x", "axis"], ["values"])
    axis = onnx.numpy_helper.from_array(np.array([1], "int64"), "axis")
    graph = helper.make_graph(
        [node],
        "flat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [None])],
        [axis],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "model.onnx"
    )
    Signature(name="flat", task="regression", fields={"x": NumberField()}).write(tmp_path / "signature.json")
    assert Model.load(tmp_path).run({"x": np.array([1, 2], "float32")}).tolist() == [[1], [2]]


@pytest.mark.parametrize("name", ["signature.json", "model.onnx"])
def test_a_missing_file_is_named(tmp_path, name):
    write_tabular_model(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelFileMissing, match=f"{name} does not exist"):
        Model.load(tmp_path)


@pytest.mark.parametrize("name", ["signature.json", "model.onnx"])
@pytest.mark.parametrize("keep", [0, 100])
def test_a_truncated_file_is_named(tmp_path, name, keep):
    write_tabular_model(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:keep])
    with pytest.raises(ModelFileBroken, match=name):
        Model.load(tmp_path)


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    write_tabular_model(tmp_path)
    (tmp_path / "signature.json").unlink()
    (tmp_path / "signature.json").mkdir()
    with pytest.raises(ModelFileBroken, match=r"signature\.json: Is a directory"):
        Model.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "ranking"}, "task: Input should be 'classification' or 'regression'"),
        ({"fields": {}}, "fields is empty"),
        ({"classes": None}, "classes is missing"),
        ({"classes": ["a", "b", "c"]}, r"output 'probabilities' is \[2\].* names 3 classes"),
        ({"task": "regression"}, "has no output 'values'"),
        ({"max_batch": 0}, "max_batch: Input should be greater than or equal to 1"),
        ({"schema": 2}, "a signature document of schema 2, written by a newer version; this one reads schema 1"),
    ],
)
def test_a_signature_that_does_not_hold_is_named(tmp_path, changes, said):
    rewrite_signature(write_tabular_model(tmp_path), **changes)
    with pytest.raises(ModelFileBroken, match=said):
        Model.load(tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({**TABULAR.fields, "wind": NumberField()}, "has no input 'wind'"),
        ({**TABULAR.fields, "origin": NumberField()}, r"'origin' is tensor\(string\).* says tensor\(float\)"),
        ({**TABULAR.fields, "distance": CategoryField()}, "'distance' is tensor"),
        ({k: v for k, v in TABULAR.fields.items() if k != "carrier"}, "wants the input 'carrier'"),
        ({**TABULAR.fields, "p": TensorField(shape=(2,), dtype="float32")}, "'p' is a tensor and must be the only"),
    ],
)
def test_inputs_that_do_not_fit_the_signature_are_named(tmp_path, fields, said):
    write_tabular_model(tmp_path)
    TABULAR.model_copy(update={"fields": fields}).write(tmp_path / "signature.json")
    with pytest.raises(ModelFileBroken, match=said):
        Model.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (TensorField(shape=(28, 27), dtype="uint8"), r"'image' is .*28, 28\].* says \['N', 28, 27\]"),
        (TensorField(shape=(28, 28, 1), dtype="uint8"), r"says \['N', 28, 28, 1\]"),
        (TensorField(shape=(28, 28), dtype="float32"), r"is tensor\(uint8\).* says tensor\(float\)"),
    ],
)
def test_a_tensor_that_does_not_fit_the_signature_is_named(tmp_path, field, said):
    write_tensor_model(tmp_path)
    PICTURE.model_copy(update={"fields": {"image": field}}).write(tmp_path / "signature.json")
    with pytest.raises(ModelFileBroken, match=said):
        Model.load(tmp_path)
