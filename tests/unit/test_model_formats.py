"""Model formats: found by the signature's name, probed before they answer, each half's trouble named."""

from pathlib import Path

import numpy as np
import pytest

from bento.errors import FormatBroken, ModelFileBroken, ModelFileMissing
from bento.formats.format import ModelFormat, example_columns
from bento.runtime import Model
from bento.signature import CategoryField, NumberField, Signature, TensorField
from pipelines.gitops.plugin_check import describe_plugins
from pipelines.packaging.formats import copy_format
from pipelines.plugins import PluginBroken
from pipelines.training.formats.exporter import NotExportable
from pipelines.training.formats.load import exporter_for, exporter_of
from tests.plugin_cases import SOURCE, Plugins, plugins
from tests.tiny_models import TABULAR, write_tabular_model

__all__ = ["plugins"]

FORMAT = """
import numpy as np

from bento.formats.format import ModelFormat


class Constant:
    def __init__(self, value):
        self.value = value

    def run(self, columns):
        rows = len(next(iter(columns.values())))
        return np.full((rows, WIDTH), self.value, dtype="float32")


class ConstantFormat(ModelFormat):
    name = "constant"
    files = ("constant.txt",)
    training = "constants:ConstantExporter"

    def load(self, folder, signature):
        return Constant(float((folder / "constant.txt").read_text()))


WIDTH = 1
"""
TRAINING = """
from pipelines.training.formats.exporter import Exporter


class ConstantExporter(Exporter):
    name = "constant"

    def takes(self, model):
        return isinstance(model, float)

    def export(self, model, signature, folder):
        (folder / "constant.txt").write_text(str(model))

    def answer(self, model, signature, columns, frame):
        return None
"""
WHO = "constants 1.0 (entry point mlops_blueprint.model_formats: constant = constants:ConstantFormat)"
VALUES = Signature(name="v", task="regression", fields={"x": NumberField()}, format="constant")


def install(plugins: Plugins, code: str = FORMAT + TRAINING) -> None:
    plugins.install("constants", code, {"model_formats": {"constant": "constants:ConstantFormat"}})


def folder_of(tmp_path: Path, signature: Signature = VALUES) -> Path:
    signature.write(tmp_path / "signature.json")
    (tmp_path / "constant.txt").write_text("7")
    return tmp_path


# --- serving ------------------------------------------------------------------------------------------------


def test_a_signature_without_a_format_is_of_an_onnx_model(tmp_path):
    write_tabular_model(tmp_path)
    text = (tmp_path / "signature.json").read_text()
    assert '"format": "onnx"' in text
    (tmp_path / "signature.json").write_text(text.replace('"format": "onnx"', '"max_batch": 100'))
    assert Model.load(tmp_path).signature.format == "onnx"


def test_a_plugins_format_answers_in_chunks_like_any_other(plugins, tmp_path):
    install(plugins)
    answers = Model.load(folder_of(tmp_path)).run({"x": np.zeros(10_000, "float32")})
    assert answers.shape == (10_000, 1)
    assert (answers == 7).all()


def test_a_file_of_the_format_that_is_missing_is_named(plugins, tmp_path):
    install(plugins)
    (folder_of(tmp_path) / "constant.txt").unlink()
    with pytest.raises(ModelFileMissing, match=r"constant\.txt does not exist"):
        Model.load(tmp_path)


def test_a_format_that_is_not_here_is_named_with_its_file(tmp_path):
    with pytest.raises(ModelFileBroken, match=r"signature\.json: format: no model format is called 'constant' here"):
        Model.load(folder_of(tmp_path))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (FORMAT.replace("WIDTH = 1", "WIDTH = 3"), r"constant\.txt answers 2 rows in shape \[2, 3\]; .* says \[2, 1\]"),
        (FORMAT.replace("WIDTH = 1", ""), r"constant\.txt fails on rows that signature\.json allows: NameError"),
    ],
)
def test_a_model_that_does_not_fit_its_signature_is_refused_before_it_answers(plugins, tmp_path, code, said):
    install(plugins, code)
    with pytest.raises(ModelFileBroken, match=said):
        Model.load(folder_of(tmp_path))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("class ConstantFormat: ...", "offers no subclass of bento.formats.format.ModelFormat"),
        (FORMAT.replace('files = ("constant.txt",)', "files = ()"), "needs `files`"),
        (FORMAT.replace('name = "constant"', 'name = "constants"'), "is called 'constants' by its class"),
        (FORMAT.replace("def load(", "def open("), "cannot be made: TypeError: Can't instantiate abstract class"),
    ],
)
def test_a_broken_serving_half_names_its_distribution_to_server_and_trainer(plugins, tmp_path, code, said):
    install(plugins, code)
    with pytest.raises(FormatBroken) as served:
        Model.load(folder_of(tmp_path))
    with pytest.raises(PluginBroken) as trained:
        exporter_of("constant")
    for error in (str(served.value), trained.value.message):
        assert error.startswith(f"{WHO} {said}")


def test_the_rows_of_a_probe_are_rows_that_the_signature_allows():
    fields = {
        "a": NumberField(min=5, max=9),
        "b": NumberField(max=-2),
        "c": CategoryField(one_of=("EWR", "JFK")),
        "d": CategoryField(),
        "e": TensorField(shape=(2, 3), dtype="uint8", min=1),
    }
    columns = example_columns(Signature(name="s", task="regression", fields=fields), 2)
    assert {name: values[0].tolist() if name == "e" else values[0] for name, values in columns.items()} == {
        "a": 5,
        "b": -2,
        "c": "EWR",
        "d": "",
        "e": [[1, 1, 1], [1, 1, 1]],
    }
    assert columns["e"].shape == (2, 2, 3)
    assert columns["e"].dtype == "uint8"


def test_a_format_describes_itself(tmp_path):
    write_tabular_model(tmp_path)

    class Text(ModelFormat):
        name, files, training = "text", ("signature.json",), "x:y"

        def load(self, folder, signature):
            raise NotImplementedError

    assert Text().describe(tmp_path) == {
        "format": "text",
        "model_bytes": str((tmp_path / "signature.json").stat().st_size),
    }


# --- training -----------------------------------------------------------------------------------------------


def test_what_onnx_does_not_take_goes_to_the_plugin_that_does(plugins, tmp_path):
    install(plugins)
    exporter = exporter_for(7.0, None)
    exporter.export(7.0, VALUES, tmp_path)
    assert (exporter.name, (tmp_path / "constant.txt").read_text()) == ("constant", "7.0")
    assert exporter.mlflow_flavor() is None


def test_a_model_that_no_format_takes_says_so_and_which_could_not_be_asked(plugins):
    install(plugins)
    with pytest.raises(NotExportable, match="returned dict, which cannot be exported to ONNX") as caught:
        exporter_for({}, None)
    assert "constants" not in caught.value.message
    plugins.install("broken", "1 / 0", {"model_formats": {"zebra": "broken:Format"}})
    with pytest.raises(NotExportable, match=r"to ONNX; broken 1\.0 .*zebra.* cannot be loaded: ZeroDivisionError"):
        exporter_for({}, None)
    assert exporter_for(7.0, None).name == "constant"


def test_a_wished_format_that_does_not_take_the_model_is_no_reason_to_take_another(plugins):
    install(plugins)
    with pytest.raises(NotExportable, match=r"returned dict, which training\.format constant does not take"):
        exporter_for({}, "constant")
    with pytest.raises(NotExportable, match="no model format is called 'paper'; known: onnx, constant"):
        exporter_of("paper")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (FORMAT.replace("constants:", "nowhere:"), "nowhere:ConstantExporter, that cannot be loaded: ModuleNotFound"),
        (FORMAT, "constants:ConstantExporter, that cannot be loaded: AttributeError"),
        (
            FORMAT + "class ConstantExporter: ...",
            "constants:ConstantExporter, that is no subclass of pipelines.",
        ),
        (FORMAT + TRAINING.replace('"constant"', '"other"', 1), "constants:ConstantExporter, that is called 'other'"),
        (
            FORMAT + TRAINING.replace("def takes", "def likes"),
            "constants:ConstantExporter, that cannot be made: Type",
        ),
    ],
)
def test_a_broken_training_half_is_named(plugins, code, said):
    install(plugins, code)
    with pytest.raises(PluginBroken) as caught:
        exporter_of("constant")
    assert caught.value.message.startswith(f"{WHO} has a training half, {said}")


# --- packing ------------------------------------------------------------------------------------------------


def test_the_code_and_the_entry_point_of_a_plugin_go_into_the_bento(plugins, tmp_path):
    install(plugins)
    from bento.formats.load import format_of

    included = copy_format(format_of("constant"), tmp_path)
    assert included == ["constants.py", "constants-1.0.dist-info/**"]
    assert (tmp_path / "constants.py").read_text() == FORMAT + TRAINING
    assert (tmp_path / "constants-1.0.dist-info" / "entry_points.txt").read_text() == (
        "[mlops_blueprint.model_formats]\nconstant = constants:ConstantFormat\n"
    )
    assert copy_format(format_of("onnx"), tmp_path) == []


# --- what is installed --------------------------------------------------------------------------------------


def test_every_plugin_is_listed_and_a_broken_one_says_why(plugins):
    before = describe_plugins()
    install(plugins)
    plugins.install("counting", SOURCE, {"sources": {"count": "counting:Count", "sql": "counting:Count"}})
    plugins.install("broken", "1 / 0", {"metrics": {"cost": "broken:cost"}, "steps": {"notify": "broken:notify"}})
    prefix = "mlops_blueprint"
    assert [line for line in describe_plugins() if line not in before] == [
        f"plugin counting 1.0 (entry point {prefix}.sources: count = counting:Count)",
        f"plugin counting 1.0 (entry point {prefix}.sources: sql = counting:Count) is not used: 'sql' is built in, "
        "and a built-in name cannot be taken",
        f"plugin broken 1.0 (entry point {prefix}.metrics: cost = broken:cost) is broken: cannot be loaded: "
        "ZeroDivisionError: division by zero",
        f"plugin {WHO}",
        f"plugin broken 1.0 (entry point {prefix}.steps: notify = broken:notify) is broken: cannot be loaded: "
        "ZeroDivisionError: division by zero",
    ]


def test_two_that_offer_one_name_are_both_listed_as_broken(plugins):
    for name in ("counting", "counting-too"):
        plugins.install(name, SOURCE, {"sources": {"count": "counting:Count"}})
    lines = [line for line in describe_plugins() if "count = " in line]
    assert len(lines) == 2
    assert all("is broken: 'count' is offered by counting 1.0" in line for line in lines)


def test_the_onnx_model_of_a_table_still_answers(tmp_path):
    columns = {"distance": np.array([0], "float32"), "temperature": np.array([1], "float32")}
    texts = {"origin": np.array(["EWR"], object), "carrier": np.array(["UA"], object)}
    assert Model.load(write_tabular_model(tmp_path)).run({**columns, **texts}).tolist() == [[0.5, 0.5]]
    assert TABULAR.format == "onnx"
