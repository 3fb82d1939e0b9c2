"""Metrics are scikit-learn's by the catalog's names, and say so where they have no value."""

import math

import numpy as np
import pytest
from evaluation_cases import binary_usecase, delay_usecase, picture_usecase
from sklearn import metrics as sk

from pipelines.evaluation.formulas import CLASSIFICATION, REGRESSION
from pipelines.evaluation.metrics import OutputsInvalid, Scores, TargetInvalid, score
from pipelines.evaluation.slices import MISSING, SlicesInvalid
from pipelines.metric_catalog import metrics_for

random = np.random.default_rng(7)
TRUTH = random.integers(0, 2, 400)
LATE = np.clip(TRUTH * 0.3 + random.random(400) * 0.7, 0, 1)
TWO = np.stack([1 - LATE, LATE], axis=1).astype(np.float32)
KINDS = random.integers(0, 3, 300)
THREE = random.dirichlet([1, 1, 1], 300) * 0.5 + np.eye(3)[KINDS] * 0.5

every_binary = binary_usecase(metrics=metrics_for("classification"))
every_picture = picture_usecase(metrics=metrics_for("classification"))
every_delay = delay_usecase(metrics=metrics_for("regression"))


def test_the_catalog_and_the_formulas_name_the_same_metrics():
    assert sorted(CLASSIFICATION) == sorted(metrics_for("classification"))
    assert sorted(REGRESSION) == sorted(metrics_for("regression"))


def test_with_two_classes_the_metrics_are_about_the_last_one():
    scores = score(every_binary, TRUTH, TWO, {})
    late = TWO[:, 1].astype(float)
    guess = late > 0.5
    assert scores.positive == "late"
    assert scores.problems == {}
    assert scores.metrics == pytest.approx(
        {
            "accuracy": sk.accuracy_score(TRUTH, guess),
            "balanced_accuracy": sk.balanced_accuracy_score(TRUTH, guess),
            "precision": sk.precision_score(TRUTH, guess),
            "recall": sk.recall_score(TRUTH, guess),
            "f1": sk.f1_score(TRUTH, guess),
            "roc_auc": sk.roc_auc_score(TRUTH, late),
            "average_precision": sk.average_precision_score(TRUTH, late),
            "log_loss": sk.log_loss(TRUTH, late),
            "brier": sk.brier_score_loss(TRUTH, late),
            "calibration_error": calibration_error_by_hand(TRUTH, late),
        },
        abs=1e-6,
    )


def test_another_class_can_be_the_positive_one():
    usecase = binary_usecase(metrics=["recall"], positive="on-time")
    recall = score(usecase, TRUTH, TWO, {}).metrics["recall"]
    assert recall == pytest.approx(sk.recall_score(TRUTH, TWO.argmax(axis=1), pos_label=0))


def test_a_positive_class_that_the_data_does_not_have_is_named():
    usecase = binary_usecase(metrics=["recall"], positive="late")
    with pytest.raises(TargetInvalid, match=r"positive 'late' is none of the classes \[False, True\]"):
        score(usecase, TRUTH, TWO, {}, classes=[False, True])


def test_with_more_classes_the_metrics_are_macro_means():
    scores = score(every_picture, KINDS, THREE, {})
    guess = THREE.argmax(axis=1)
    truth = np.eye(3)[KINDS]
    assert scores.positive is None
    assert scores.metrics == pytest.approx(
        {
            "accuracy": sk.accuracy_score(KINDS, guess),
            "balanced_accuracy": sk.balanced_accuracy_score(KINDS, guess),
            "precision": sk.precision_score(KINDS, guess, average="macro"),
            "recall": sk.recall_score(KINDS, guess, average="macro"),
            "f1": sk.f1_score(KINDS, guess, average="macro"),
            "roc_auc": sk.roc_auc_score(KINDS, THREE, multi_class="ovr", average="macro"),
            "average_precision": sk.average_precision_score(truth, THREE, average="macro"),
            "log_loss": sk.log_loss(KINDS, THREE),
            "brier": ((THREE - truth) ** 2).sum(axis=1).mean(),
            "calibration_error": calibration_error_by_hand(guess == KINDS, THREE.max(axis=1)),
        },
        abs=1e-6,
    )


def test_regression_metrics_are_in_the_unit_of_the_target():
    truth = np.array([10.0, 20.0, 40.0, 80.0])
    scores = score(every_delay, truth, np.array([[12.0], [20.0], [30.0], [100.0]], dtype=np.float32), {})
    assert scores.metrics == pytest.approx(
        {
            "mae": 8.0,
            "rmse": math.sqrt((4 + 0 + 100 + 400) / 4),
            "median_absolute_error": 6.0,
            "mape": (0.2 + 0 + 0.25 + 0.25) / 4,
            "r2": 1 - 504 / 2875,
        }
    )
    assert scores.sample == [(10, 12), (20, 20), (40, 30), (80, 100)]
    assert scores.classes is scores.confusion is scores.roc is None


def test_one_class_only_has_no_ranking_but_still_has_an_accuracy():
    nobody_is_late = np.zeros(5, dtype=int)
    scores = score(every_binary, nobody_is_late, TWO[:5], {})
    assert {name for name, value in scores.metrics.items() if value is None} >= {"roc_auc", "average_precision"}
    assert scores.problems["roc_auc"] == "no row is of class 'late'"
    assert scores.metrics["accuracy"] is not None
    assert scores.roc is None
    everybody_is_late = score(every_binary, np.ones(5, dtype=int), TWO[:5], {})
    assert everybody_is_late.problems["roc_auc"] == "all rows are of class 'late'"


def test_a_class_that_does_not_occur_is_named():
    without_bags = KINDS < 2
    scores = score(every_picture, KINDS[without_bags], THREE[without_bags], {})
    assert scores.problems == dict.fromkeys(("roc_auc", "average_precision"), "no row is of class 'bag'")
    assert scores.metrics["recall"] == scores.metrics["balanced_accuracy"]


def test_a_model_that_never_says_late_has_precision_0_and_not_none():
    never = np.tile([0.9, 0.1], (4, 1))
    scores = score(every_binary, np.array([0, 1, 0, 1]), never, {})
    assert (scores.metrics["precision"], scores.metrics["recall"], scores.metrics["f1"]) == (0, 0, 0)
    nothing_to_find = score(every_binary, np.array([0, 0]), never[:2], {})
    assert nothing_to_find.problems["f1"] == "no row is of class 'late' and none is predicted to be"


def test_regression_corner_cases_say_why_they_have_no_value():
    scores = score(every_delay, np.array([0.0, 0.0, 0.0]), np.zeros((3, 1)), {})
    assert scores.problems["mape"] == "3 true values are 0, and no error is a share of 0"
    assert "no variance" in scores.problems["r2"]
    assert scores.metrics["mae"] == 0


def test_no_rows_no_metrics():
    for usecase, outputs in ((every_binary, np.empty((0, 2))), (every_delay, np.empty((0, 1)))):
        scores = score(usecase, np.empty(0, dtype=int), outputs, {})
        assert set(scores.metrics.values()) == {None}
        assert set(scores.problems.values()) == {"there are no rows"}


def test_a_probability_of_zero_for_the_truth_is_costly_but_finite():
    loss = score(binary_usecase(metrics=["log_loss"]), np.array([1, 0]), np.array([[1.0, 0], [1, 0]]), {})
    assert 10 < loss.metrics["log_loss"] < 40


def test_probabilities_a_rounding_error_outside_0_to_1_are_scored():
    outputs = np.array([[1.0002, -0.0002], [0.0, 1.0]])
    scores = score(every_binary, np.array([0, 1]), outputs, {})
    assert scores.problems == {}
    assert scores.metrics["log_loss"] == pytest.approx(0)
    assert scores.calibration[0].mean_predicted == 0


def test_slices_are_scored_one_by_one_in_a_natural_order():
    carrier = np.array(["UA", None, "AA", "UA", float("nan"), ""], dtype=object)
    hour = np.array([10, 9, 10, 9, 9, 10])
    usecase = binary_usecase(metrics=["accuracy"], gates=[{"metric": "accuracy", "at_least": 0.5}])
    scores = score(usecase, np.array([1, 1, 1, 0, 0, 0]), TWO[:6], {"carrier": carrier, "hour": hour})
    assert [(slice_.column, slice_.value, slice_.rows) for slice_ in scores.slices] == [
        ("carrier", MISSING, 3),
        ("carrier", "AA", 1),
        ("carrier", "UA", 2),
        ("hour", "9", 3),
        ("hour", "10", 3),
    ]
    united = TWO[:6][[0, 3]].argmax(axis=1) == [1, 0]
    assert scores.slices[2].metrics == {"accuracy": united.mean()}


def test_a_slice_of_one_class_says_so_and_the_others_are_scored():
    carrier = np.where(TRUTH == 1, "always late", "mixed")
    carrier[:50] = "mixed"
    scores = score(binary_usecase(), TRUTH, TWO, {"carrier": carrier})
    late, mixed = scores.slices
    assert late.metrics["roc_auc"] is None
    assert late.problems == {"roc_auc": "all rows are of class 'late'"}
    assert 0 < mixed.metrics["roc_auc"] <= 1


def test_a_column_with_a_value_for_each_row_is_no_slice():
    tails = np.array([f"N{index}" for index in range(600)])
    with pytest.raises(SlicesInvalid, match="tail has 600 different values; at most 500"):
        score(delay_usecase(), np.zeros(600), np.zeros((600, 1)), {"tail": tails})
    with pytest.raises(SlicesInvalid, match="tail has 600 rows; the target has 3"):
        score(delay_usecase(), np.zeros(3), np.zeros((3, 1)), {"tail": tails})


def test_confusion_counts_true_classes_down_and_predicted_ones_across():
    outputs = np.eye(3)[[0, 1, 1, 0]]
    scores = score(picture_usecase(), np.array([0, 0, 1, 2]), outputs, {})
    assert scores.confusion == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert scores.classes == ["shirt", "shoe", "bag"]


def test_calibration_compares_what_was_said_with_what_came_true():
    outputs = np.array([[0.75, 0.25]] * 4 + [[0.0, 1.0]] * 2)
    scores = score(binary_usecase(), np.array([0, 0, 0, 1, 1, 1]), outputs, {})
    assert [(b.mean_predicted, b.observed, b.rows) for b in scores.calibration] == [(0.25, 0.25, 4), (1.0, 1.0, 2)]


def test_a_curve_stays_small_and_goes_from_corner_to_corner():
    scores = score(binary_usecase(), TRUTH, TWO, {})
    assert len(scores.roc) <= 100
    assert (scores.roc[0], scores.roc[-1]) == ((0, 0), (1, 1))


def test_scores_survive_being_written_and_read():
    for scores in (score(every_binary, TRUTH, TWO, {}), score(every_picture, KINDS, THREE, {})):
        assert Scores.model_validate_json(scores.model_dump_json()) == scores


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        (np.array([[0.5, np.nan], [0.5, 0.5]]), "1 of 2 outputs are not finite, first in row 0"),
        (np.array([[0.5, 0.5], [np.inf, 0.5]]), "first in row 1"),
        (np.array([[0.5, 0.5]]), r"shape \(1, 2\); expected \(2, 2\)"),
        (np.array([0.5, 0.5]), r"shape \(2,\); expected \(2, 2\)"),
        (np.array([[0.2, 0.3, 0.5]] * 2), r"shape \(2, 3\); expected \(2, 2\)"),
        (np.array([[3.0, -1.0], [0.5, 0.5]]), "row 0 of the outputs is no probability"),
        (np.array([[0.5, 0.5], [0.5, 0.4]]), "row 1 .* sum 0.9"),
        (np.array([["a", "b"]] * 2), "expected numbers"),
    ],
)
def test_outputs_that_are_no_probabilities_are_refused(outputs, says):
    with pytest.raises(OutputsInvalid, match=says):
        score(binary_usecase(), np.array([0, 1]), outputs, {})


@pytest.mark.parametrize(
    ("target", "outputs", "error", "says"),
    [
        (np.array([1.0, 2.0]), np.zeros((2, 2)), OutputsInvalid, r"shape \(2, 2\); expected \(2, 1\)"),
        (np.array([1.0, 2.0]), np.array([[np.nan], [1.0]]), OutputsInvalid, "1 of 2 outputs are not finite"),
        (np.array([1.0, np.nan]), np.zeros((2, 1)), TargetInvalid, "row 1 of the target is nan"),
        (np.zeros((2, 2)), np.zeros((2, 1)), TargetInvalid, r"target has shape \(2, 2\)"),
    ],
)
def test_values_that_do_not_fit_are_refused(target, outputs, error, says):
    with pytest.raises(error, match=says):
        score(delay_usecase(), target, outputs, {})


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (np.array([0, 2]), "row 1 of the target is class 2; expected 0 to 1"),
        (np.array([-1, 0]), "row 0 of the target is class -1"),
        (np.array([0.5, 1.0]), "float64; expected class indices"),
    ],
)
def test_a_target_that_is_no_class_is_refused(target, says):
    with pytest.raises(TargetInvalid, match=says):
        score(binary_usecase(), target, TWO[:2], {})


def calibration_error_by_hand(came_true, said, bins=10):
    total = 0.0
    for low in np.arange(bins) / bins:
        inside = (said >= low) & ((said < low + 1 / bins) | ((low == 0.9) & (said <= 1)))
        if inside.any():
            total += inside.sum() / len(said) * abs(said[inside].mean() - np.mean(came_true[inside]))
    return total
