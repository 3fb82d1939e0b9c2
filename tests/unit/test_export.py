"""Every framework leaves as the same kind of ONNX file, which answers what the trained model answered."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bento.signature import CategoryField, NumberField, Signature, TensorField
from pipelines.training.formats.exporter import NotExportable
from pipelines.training.formats.onnx import export, trained_outputs

RNG = np.random.default_rng(7)
ROWS = 300


@pytest.fixture
def flights() -> pd.DataFrame:
    distance = RNG.uniform(50, 3000, ROWS).astype("float32")
    carrier = RNG.choice(["AA", "UA", "DL"], ROWS).astype(object)
    return pd.DataFrame({"distance": distance, "carrier": carrier})


@pytest.fixture
def late(flights: pd.DataFrame) -> np.ndarray:
    return ((flights["distance"] > 1500) ^ (flights["carrier"] == "AA")).to_numpy().astype("int64")


TABLE = Signature(
    name="flights",
    task="classification",
    fields={"distance": NumberField(), "carrier": CategoryField()},
    classes=(False, True),
)


def tabular_pipeline(model):
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("n", "passthrough", ["distance"]), ("c", encoder, ["carrier"])])
    return Pipeline([("columns", columns), ("model", model)])


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def ask(path, frame):
    feed = {name: frame[name].to_numpy().reshape(-1, 1) for name in frame.columns}
    return session(path).run(None, feed)[0]


def test_a_table_model_keeps_its_column_names_and_types(tmp_path, flights, late):
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = tabular_pipeline(HistGradientBoostingClassifier(max_iter=10)).fit(flights, late)
    export(model, TABLE, tmp_path / "model.onnx")

    inputs = {value.name: value.type for value in session(tmp_path / "model.onnx").get_inputs()}
    assert inputs == {"distance": "tensor(float)", "carrier": "tensor(string)"}
    assert [value.name for value in session(tmp_path / "model.onnx").get_outputs()] == ["probabilities"]
    own = trained_outputs(model, TABLE, {}, flights)
    np.testing.assert_allclose(ask(tmp_path / "model.onnx", flights), own, atol=1e-5)


def test_an_unknown_category_is_left_to_the_model(tmp_path, flights, late):
    from sklearn.linear_model import LogisticRegression

    model = tabular_pipeline(LogisticRegression(max_iter=1000)).fit(flights, late)
    export(model, TABLE, tmp_path / "model.onnx")
    stranger = pd.DataFrame({"distance": np.array([900], "float32"), "carrier": np.array(["ZZ"], object)})
    np.testing.assert_allclose(ask(tmp_path / "model.onnx", stranger), model.predict_proba(stranger), atol=1e-5)


def test_lightgbm_goes_the_same_way(tmp_path, flights, late):
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM or its libgomp is not installed", exc_type=Exception)
    model = tabular_pipeline(lightgbm.LGBMClassifier(n_estimators=10, verbosity=-1)).fit(flights, late)
    export(model, TABLE, tmp_path / "model.onnx")
    np.testing.assert_allclose(
        ask(tmp_path / "model.onnx", flights), trained_outputs(model, TABLE, {}, flights), atol=1e-4
    )


def test_a_regression_answers_one_value_a_row(tmp_path, flights):
    from sklearn.linear_model import Ridge

    signature = TABLE.model_copy(update={"task": "regression", "classes": None})
    model = tabular_pipeline(Ridge()).fit(flights, flights["distance"] * 2)
    export(model, signature, tmp_path / "model.onnx")
    answers = ask(tmp_path / "model.onnx", flights)
    assert session(tmp_path / "model.onnx").get_outputs()[0].name == "values"
    assert answers.shape == (ROWS, 1)
    np.testing.assert_allclose(answers, trained_outputs(model, signature, {}, flights), rtol=1e-4)


def test_pictures_go_in_as_declared_and_the_cast_is_inside(tmp_path):
    from sklearn.neural_network import MLPClassifier

    signature = Signature(
        name="digits",
        task="classification",
        fields={"image": TensorField(shape=(4, 4), dtype="uint8", min=0, max=255)},
        classes=tuple("ab"),
    )
    pictures = RNG.integers(0, 255, (ROWS, 4, 4)).astype("uint8")
    labels = (pictures.mean(axis=(1, 2)) > 127).astype("int64")
    rows = pictures.reshape(ROWS, -1).astype("float32")
    model = MLPClassifier(8, max_iter=20, tol=1, n_iter_no_change=2, random_state=0).fit(rows, labels)
    export(model, signature, tmp_path / "model.onnx")

    (value,) = session(tmp_path / "model.onnx").get_inputs()
    assert (value.name, value.type, value.shape[1:]) == ("image", "tensor(uint8)", [4, 4])
    answers = session(tmp_path / "model.onnx").run(None, {"image": pictures})[0]
    np.testing.assert_allclose(answers, trained_outputs(model, signature, {"image": pictures}, None), atol=1e-5)


@pytest.mark.slow
def test_keras_goes_the_same_way(tmp_path):
    keras = pytest.importorskip("keras", reason="the tensorflow extra is not installed")
    signature = Signature(
        name="digits",
        task="classification",
        fields={"image": TensorField(shape=(4, 4), dtype="uint8", min=0, max=255)},
        classes=tuple("ab"),
    )
    layers = [keras.Input((4, 4)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])
    pictures = RNG.integers(0, 255, (50, 4, 4)).astype("uint8")
    export(model, signature, tmp_path / "model.onnx")
    answers = session(tmp_path / "model.onnx").run(None, {"image": pictures})[0]
    np.testing.assert_allclose(answers, trained_outputs(model, signature, {"image": pictures}, None), atol=1e-5)


@pytest.mark.parametrize("returned", [None, "a text", 42, {"model": 1}, object()])
def test_what_is_no_model_is_refused_by_its_type(tmp_path, returned):
    said = r"None \(is a return missing\?\)" if returned is None else type(returned).__name__
    with pytest.raises(NotExportable, match=rf"train\(\) returned {said}, which"):
        export(returned, TABLE, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_model_that_was_never_fitted_says_so(tmp_path):
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(NotExportable, match="Pipeline could not be exported"):
        export(tabular_pipeline(LogisticRegression()), TABLE, tmp_path / "model.onnx")


@pytest.mark.slow
def test_two_processes_export_the_same_model_to_the_same_bytes(tmp_path, flights, late):
    """Sets have another order in every process: only hash seeds that differ show what leaks into the file."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    fitted = tabular_pipeline(HistGradientBoostingClassifier(max_iter=10)).fit(flights, late)
    (tmp_path / "fitted.pickle").write_bytes(pickle.dumps((fitted, TABLE)))
    program = (
        "import pathlib, pickle, sys; from pipelines.training.formats.onnx import export; "
        "export(*pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()), pathlib.Path(sys.argv[2]))"
    )
    exported = []
    for seed in "0123":
        path = tmp_path / f"{seed}.onnx"
        command = [sys.executable, "-c", program, str(tmp_path / "fitted.pickle"), str(path)]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        exported.append(path.read_bytes())
    assert len(set(exported)) == 1
