"""Evaluation runs real exported models, and a broken champion never stops it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from evaluation_cases import binary_usecase, delay_usecase, picture_usecase
from onnx import TensorProto, helper, save

from bento.signature import MODEL_FILE, SIGNATURE_FILE, CategoryField, NumberField, Signature, TensorField
from pipelines.data.examples import Examples
from pipelines.evaluation.evaluate import CandidateBroken, Evaluation, SliceColumnMissing, evaluate
from pipelines.evaluation.gate import judge

random = np.random.default_rng(11)
DISTANCE = random.normal(0, 2, 400).astype(np.float32)
LATE = (DISTANCE + random.normal(0, 1.5, 400) > 0).astype(np.int64)
CARRIER = np.array(["UA", "AA"], dtype=object)[random.integers(0, 2, 400)]
FIELDS = {"carrier": CategoryField(), "distance": NumberField()}
CLASSES = ("on-time", "late")

COMPARED = binary_usecase(
    metrics=["roc_auc", "accuracy", "brier"],
    gates=[
        {"metric": "brier", "champion": "not-worse", "margin": 0.01},
        {"metric": "roc_auc", "at_least": 0.5, "slices": ["carrier"], "min_rows": 50},
    ],
)


@pytest.fixture
def test_rows() -> Examples:
    departs = np.array([f"2013-03-{1 + index % 30:02d}T08:00" for index in range(400)], dtype=object)
    departs[7] = ""
    return Examples({"carrier": CARRIER, "distance": DISTANCE}, LATE, CLASSES, {"carrier": CARRIER, "departs": departs})


@pytest.fixture
def candidate(tmp_path) -> Path:
    return flights_model(tmp_path / "candidate", weight=1.0)


def answers(weight: float) -> np.ndarray:
    late = 1 / (1 + np.exp(-weight * DISTANCE.astype(np.float64)))
    return np.stack([1 - late, late], axis=1)


def test_the_candidate_is_scored_on_the_whole_and_by_slice(test_rows, candidate):
    evaluation = evaluate(COMPARED, test_rows, candidate, answers(1.0), None)
    guess = DISTANCE > 0
    assert evaluation.candidate.metrics["accuracy"] == pytest.approx(np.mean(guess == LATE))
    assert [(slice_.value, slice_.rows) for slice_ in evaluation.candidate.slices] == [
        ("AA", np.sum(CARRIER == "AA")),
        ("UA", np.sum(CARRIER == "UA")),
    ]
    assert (evaluation.test_rows, evaluation.test_from, evaluation.test_to) == (
        400,
        "2013-03-01T08:00",
        "2013-03-30T08:00",
    )
    assert evaluation.champion is evaluation.champion_name is evaluation.champion_problem is None


def test_the_champion_answers_the_same_rows(test_rows, candidate, tmp_path):
    champion = flights_model(tmp_path / "champion", weight=-1.0)
    evaluation = evaluate(COMPARED, test_rows, candidate, answers(1.0), ("flight-delays/7", champion))
    assert evaluation.champion_name == "flight-delays/7"
    assert evaluation.champion.rows == evaluation.candidate.rows == 400
    assert evaluation.champion.metrics["roc_auc"] == pytest.approx(1 - evaluation.candidate.metrics["roc_auc"])
    assert judge(COMPARED, evaluation).passed
    swapped = evaluate(COMPARED, test_rows, champion, answers(-1.0), ("flight-delays/7", candidate))
    assert not judge(COMPARED, swapped).passed


def test_a_champion_with_its_classes_in_another_order_is_understood(test_rows, candidate, tmp_path):
    champion = flights_model(tmp_path / "champion", weight=-1.0, classes=("late", "on-time"))
    evaluation = evaluate(COMPARED, test_rows, candidate, None, ("flight-delays/7", champion))
    assert evaluation.champion.metrics == pytest.approx(evaluation.candidate.metrics)
    assert evaluation.champion.confusion == evaluation.candidate.confusion


def test_a_champion_may_need_fewer_fields_than_the_data_has(test_rows, candidate, tmp_path):
    champion = flights_model(tmp_path / "champion", fields={"distance": NumberField()})
    evaluation = evaluate(COMPARED, test_rows, candidate, None, ("flight-delays/7", champion))
    assert evaluation.champion.metrics == evaluation.candidate.metrics


# --- champions that cannot be scored ------------------------------------------------------------------------


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def no_signature(folder: Path) -> None:
    (folder / SIGNATURE_FILE).unlink()


def truncated(folder: Path) -> None:
    model = folder / MODEL_FILE
    model.write_bytes(model.read_bytes()[:-40])


def no_model_at_all(folder: Path) -> None:
    (folder / MODEL_FILE).write_bytes(b"not a model")


def says_nothing_finite(folder: Path) -> None:
    flights_model(folder, weight=float("nan"))


def needs_a_dropped_field(folder: Path) -> None:
    flights_model(folder, fields={**FIELDS, "humidity": NumberField()})


def needs_another_type(folder: Path) -> None:
    flights_model(folder, fields={"carrier": NumberField(), "distance": NumberField()})


def knows_other_classes(folder: Path) -> None:
    flights_model(folder, classes=("on-time", "cancelled"))


def calls_them_true_and_false(folder: Path) -> None:
    flights_model(folder, classes=(False, True))


def does_a_regression(folder: Path) -> None:
    delay_model(folder)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (no_folder, "the model cannot be loaded: "),
        (no_signature, "the model cannot be loaded: "),
        (truncated, "the model cannot be loaded: "),
        (no_model_at_all, "the model cannot be loaded: "),
        (says_nothing_finite, "400 of 400 outputs are not finite, first in row 0"),
        (
            needs_a_dropped_field,
            "the model needs humidity, which the data no longer has; it has carrier, distance",
        ),
        (needs_another_type, "the model needs carrier to be a number; in the data it is a category"),
        (
            knows_other_classes,
            "the model's classes ['on-time', 'cancelled'] are not the data's classes ['on-time', 'late']",
        ),
        (
            calls_them_true_and_false,
            "the model's classes [False, True] are not the data's classes ['on-time', 'late']",
        ),
        (does_a_regression, "the model is for regression, and the use case for classification"),
    ],
)
def test_a_champion_that_cannot_be_scored_is_told_and_blocks_the_release(test_rows, candidate, tmp_path, damage, says):
    champion = flights_model(tmp_path / "champion")
    damage(champion)
    evaluation = evaluate(COMPARED, test_rows, candidate, answers(1.0), ("flight-delays/7", champion))
    assert evaluation.champion is None
    assert evaluation.champion_problem.startswith(says)
    assert evaluation.champion_problem.count("\n") == 0
    verdict = judge(COMPARED, evaluation)
    assert (verdict.passed, verdict.first_release) == (False, False)
    assert evaluation.candidate.metrics["roc_auc"] > 0.5


def test_booleans_and_numbers_are_different_classes(candidate, tmp_path):
    rows = Examples({"carrier": CARRIER, "distance": DISTANCE}, LATE, (False, True), {"carrier": CARRIER})
    usecase = COMPARED.model_copy(update={"data": COMPARED.data.model_copy(update={"classes": [False, True]})})
    yes_or_no = flights_model(tmp_path / "bool", classes=(False, True))
    numbers = flights_model(tmp_path / "int", classes=(0, 1))
    evaluation = evaluate(usecase, rows, yes_or_no, None, ("flight-delays/7", numbers))
    assert evaluation.champion_problem == "the model's classes [0, 1] are not the data's classes [False, True]"
    assert evaluation.candidate.classes == [False, True]


# --- the candidate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [no_folder, truncated, knows_other_classes, needs_a_dropped_field])
def test_a_candidate_that_cannot_answer_is_an_error_that_names_its_folder(test_rows, candidate, damage):
    damage(candidate)
    with pytest.raises(CandidateBroken, match=f"the candidate {candidate}: the model"):
        evaluate(COMPARED, test_rows, candidate, None, None)


def test_a_candidate_that_answers_nan_is_rejected_and_not_an_error(test_rows, candidate):
    says_nothing_finite(candidate)
    evaluation = evaluate(COMPARED, test_rows, candidate, answers(1.0), None)
    assert evaluation.candidate_problem == "400 of 400 outputs are not finite, first in row 0"
    assert evaluation.agreement is None
    assert set(evaluation.candidate.metrics.values()) == {None}
    verdict = judge(COMPARED, evaluation)
    assert not verdict.passed
    assert not verdict.rules[0].passed


def test_the_agreement_is_the_largest_difference_on_the_rows_there_are(test_rows, candidate):
    trained = answers(1.0)[:50]
    trained[17, 0] += 0.25
    evaluation = evaluate(COMPARED, test_rows, candidate, trained, None)
    assert evaluation.agreement == pytest.approx(0.25, abs=1e-6)
    assert evaluation.agreement_rows == 50
    assert not judge(COMPARED, evaluation).passed


@pytest.mark.parametrize(
    ("trained", "says"),
    [
        (None, "there are no outputs of the trained model"),
        (np.empty((0, 2)), "there are no outputs of the trained model"),
        (np.full((400, 2), np.nan), "not finite"),
        (np.zeros((400, 3)), r"the trained model gave shape [400, 3], the exported one [400, 2]"),
        (np.zeros((500, 2)), r"the trained model gave shape [500, 2], the exported one [400, 2]"),
    ],
)
def test_an_agreement_that_cannot_be_measured_says_why(test_rows, candidate, trained, says):
    evaluation = evaluate(COMPARED, test_rows, candidate, trained, None)
    assert evaluation.agreement is None
    assert says in evaluation.agreement_problem
    assert not judge(COMPARED, evaluation).passed


def test_large_values_agree_relative_to_their_size(tmp_path):
    delays = np.array([1000.0, 2000.0, -4000.0])
    rows = Examples({"distance": delays.astype(np.float32)}, delays, None, {"carrier": CARRIER[:3]})
    model = delay_model(tmp_path / "candidate")
    evaluation = evaluate(delay_usecase(), rows, model, delays * (1 + 1e-5), None)
    assert evaluation.agreement == pytest.approx(1e-5, rel=0.01)
    assert evaluation.candidate.metrics["mae"] == 0
    assert judge(delay_usecase(), evaluation).passed


def test_a_slice_column_that_the_rows_do_not_have_is_named(test_rows, candidate):
    rows = Examples(test_rows.columns, test_rows.target, test_rows.classes, {"origin": CARRIER})
    with pytest.raises(SliceColumnMissing, match=r"the slice column carrier, which .* do not have; they have origin"):
        evaluate(COMPARED, rows, candidate, None, None)


def test_pictures_of_another_size_are_a_champion_problem(tmp_path):
    pictures = random.random((30, 2, 2)).astype(np.float32)
    rows = Examples({"picture": pictures}, np.arange(30) % 3, ("shirt", "shoe", "bag"), {})
    small, large = picture_model(tmp_path / "a", (2, 2)), picture_model(tmp_path / "b", (4, 4))
    evaluation = evaluate(picture_usecase(), rows, small, None, ("fashion/1", large))
    assert evaluation.champion_problem == ("the model needs picture to be shape [4, 4]; in the data it is shape [2, 2]")
    assert evaluation.candidate.rows == 30
    assert evaluation.test_from is evaluation.test_to is None


def test_an_evaluation_survives_being_written_and_read(test_rows, candidate, tmp_path):
    evaluation = evaluate(COMPARED, test_rows, candidate, answers(1.0), ("flight-delays/7", candidate))
    evaluation.write(tmp_path / "evaluation.json")
    assert Evaluation.read(tmp_path / "evaluation.json") == evaluation


# --- real models, a few bytes each --------------------------------------------------------------------------


def flights_model(folder: Path, weight: float = 1.0, classes=CLASSES, fields=FIELDS) -> Path:
    """Logistic regression on the distance: two probabilities."""
    nodes = [
        helper.make_node("Mul", ["distance", "weight"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["late"]),
        helper.make_node("Sub", ["one", "late"], ["on-time"]),
        helper.make_node("Concat", ["on-time", "late"], ["probabilities"], axis=1),
    ]
    constants = [_constant("weight", [weight]), _constant("one", [1.0])]
    signature = Signature(name="flight-delays", task="classification", fields=fields, classes=classes)
    return _write(folder, nodes, constants, signature, len(classes))


def delay_model(folder: Path) -> Path:
    """The delay is the distance."""
    signature = Signature(name="flight-delays", task="regression", fields={"distance": NumberField()})
    return _write(folder, [helper.make_node("Identity", ["distance"], ["values"])], [], signature, 1)


def picture_model(folder: Path, shape: tuple[int, ...]) -> Path:
    """The first three pixels decide."""
    nodes = [
        helper.make_node("Flatten", ["picture"], ["pixels"]),
        helper.make_node("Slice", ["pixels", "from", "to", "axis"], ["three"]),
        helper.make_node("Softmax", ["three"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("from", 0), ("to", 3), ("axis", 1))
    ]
    field = TensorField(shape=shape, dtype="float32")
    signature = Signature(
        name="fashion", task="classification", fields={"picture": field}, classes=("shirt", "shoe", "bag")
    )
    return _write(folder, nodes, constants, signature, 3)


def _constant(name: str, values: list[float]):
    return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)


def _write(folder: Path, nodes, constants, signature: Signature, width: int) -> Path:
    inputs = [
        helper.make_tensor_value_info(
            name,
            TensorProto.STRING if isinstance(field, CategoryField) else TensorProto.FLOAT,
            ["N", *(field.shape if isinstance(field, TensorField) else (1,))],
        )
        for name, field in signature.fields.items()
    ]
    output = "values" if signature.task == "regression" else "probabilities"
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", width])]
    graph = helper.make_graph(nodes, "model", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder / MODEL_FILE)
    signature.write(folder / SIGNATURE_FILE)
    return folder
