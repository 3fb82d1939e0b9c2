"""Every metric of the catalog as a function from answers to one number.

Names and definitions are scikit-learn's (https://scikit-learn.org/stable/modules/model_evaluation.html);
where a definition has a gap, such as a class that does not occur, the function says so instead of giving a number.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bento.signature import ClassName
from pipelines.errors import MlopsError

CALIBRATION_BINS = 10


class MetricUndefined(MlopsError):
    """The metric has no value on these rows, such as a ranking of rows that are all of one class."""


@dataclass(frozen=True)
class ClassAnswers:
    """True class indices (N,) and the model's probabilities (N, classes), which sum to one in each row.

    `positive` is the index of the positive class where there are two, and None where there are more.
    """

    target: np.ndarray
    outputs: np.ndarray
    classes: tuple[ClassName, ...]
    positive: int | None

    def __len__(self) -> int:
        return len(self.target)

    def at(self, rows: np.ndarray) -> "ClassAnswers":
        return ClassAnswers(self.target[rows], self.outputs[rows], self.classes, self.positive)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each row (N,); of equals the first."""
        classes: np.ndarray = self.outputs.argmax(axis=1)
        return classes

    def are(self, index: int) -> np.ndarray:
        """Which rows are truly of this class (N,), bool."""
        mask: np.ndarray = self.target == index
        return mask


@dataclass(frozen=True)
class ValueAnswers:
    """True and predicted values, both (N,), in the target's unit."""

    target: np.ndarray
    outputs: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def at(self, rows: np.ndarray) -> "ValueAnswers":
        return ValueAnswers(self.target[rows], self.outputs[rows])


# --- classification: labels ---------------------------------------------------------------------------------


def accuracy(answers: ClassAnswers) -> float:
    return float(np.mean(answers.predicted == answers.target))


def balanced_accuracy(answers: ClassAnswers) -> float:
    """Mean recall over the classes that occur."""
    return _macro_recall(answers)


def precision(answers: ClassAnswers) -> float:
    """Two classes: of the positive one. More: the mean over classes that occur or are predicted.

    A class that occurs and is never predicted counts as 0, as scikit-learn has it.
    """
    from sklearn.metrics import precision_score

    if answers.positive is None:
        return float(precision_score(answers.target, answers.predicted, average="macro", zero_division=0))
    _require_positive_somewhere(answers)
    return float(precision_score(*_binary_labels(answers), zero_division=0))


def recall(answers: ClassAnswers) -> float:
    """Two classes: of the positive one. More: the mean over the classes that occur."""
    from sklearn.metrics import recall_score

    if answers.positive is None:
        return _macro_recall(answers)
    _require_occurs(answers, answers.positive)
    return float(recall_score(*_binary_labels(answers)))


def f1(answers: ClassAnswers) -> float:
    """Two classes: of the positive one. More: the mean over classes that occur or are predicted."""
    from sklearn.metrics import f1_score

    if answers.positive is None:
        return float(f1_score(answers.target, answers.predicted, average="macro", zero_division=0))
    _require_positive_somewhere(answers)
    return float(f1_score(*_binary_labels(answers), zero_division=0))


# --- classification: ranking --------------------------------------------------------------------------------


def roc_auc(answers: ClassAnswers) -> float:
    """Two classes: of the positive one. More: each class against the rest, and their plain mean."""
    from sklearn.metrics import roc_auc_score

    return _one_against_rest(answers, roc_auc_score)


def average_precision(answers: ClassAnswers) -> float:
    """Two classes: of the positive one. More: each class against the rest, and their plain mean."""
    from sklearn.metrics import average_precision_score

    return _one_against_rest(answers, average_precision_score)


# --- classification: probabilities --------------------------------------------------------------------------


def log_loss(answers: ClassAnswers) -> float:
    """Mean negative logarithm of the true class's probability, in nats; a probability of 0 is clipped."""
    from sklearn.metrics import log_loss as sklearn_log_loss

    return float(sklearn_log_loss(answers.target, answers.outputs, labels=range(len(answers.classes))))


def brier(answers: ClassAnswers) -> float:
    """Two classes: mean squared error of the positive class's probability, from 0 to 1.

    More: the mean over rows of the squared errors summed over classes, from 0 to 2
    (G. W. Brier, 1950, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78).
    """
    if answers.positive is not None:
        return float(np.mean((answers.outputs[:, answers.positive] - answers.are(answers.positive)) ** 2))
    truth = np.eye(len(answers.classes))[answers.target]
    return float(np.mean(np.sum((answers.outputs - truth) ** 2, axis=1)))


def calibration_error(answers: ClassAnswers) -> float:
    """Expected calibration error over ten equally wide bins, weighted by their rows, from 0 to 1.

    Two classes: the positive class's probability against how often it is true. More: the top probability
    against how often it is right (Guo, Pleiss, Sun and Weinberger, 2017, On calibration of modern neural
    networks, ICML, equation 3).
    """
    bins = calibration_bins(answers)
    return sum(rows * abs(mean - observed) for mean, observed, rows in bins) / len(answers)


def calibration_bins(answers: ClassAnswers) -> list[tuple[float, float, int]]:
    """For each of ten equal bins that has rows: mean probability said, share that came true, rows."""
    if answers.positive is not None:
        said = answers.outputs[:, answers.positive]
        came_true = answers.are(answers.positive)
    else:
        said = answers.outputs.max(axis=1)
        came_true = answers.predicted == answers.target
    bin_of = np.minimum((said * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        (float(said[bin_of == index].mean()), float(came_true[bin_of == index].mean()), int((bin_of == index).sum()))
        for index in np.unique(bin_of)
    ]


# --- regression ---------------------------------------------------------------------------------------------


def mae(answers: ValueAnswers) -> float:
    return float(np.mean(np.abs(answers.target - answers.outputs)))


def rmse(answers: ValueAnswers) -> float:
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(answers.target, answers.outputs))


def median_absolute_error(answers: ValueAnswers) -> float:
    return float(np.median(np.abs(answers.target - answers.outputs)))


def mape(answers: ValueAnswers) -> float:
    """A share, not a percentage: 0.1 is ten percent off."""
    from sklearn.metrics import mean_absolute_percentage_error

    zeros = int((answers.target == 0).sum())
    if zeros:
        raise MetricUndefined(f"{zeros} true values are 0, and no error is a share of 0")
    return float(mean_absolute_percentage_error(answers.target, answers.outputs))


def r2(answers: ValueAnswers) -> float:
    from sklearn.metrics import r2_score

    if np.ptp(answers.target) == 0:
        raise MetricUndefined("all true values are equal: there is no variance to explain")
    return float(r2_score(answers.target, answers.outputs))


CLASSIFICATION: dict[str, Callable[[ClassAnswers], float]] = {
    function.__name__: function
    for function in (
        accuracy,
        balanced_accuracy,
        precision,
        recall,
        f1,
        roc_auc,
        average_precision,
        log_loss,
        brier,
        calibration_error,
    )
}
REGRESSION: dict[str, Callable[[ValueAnswers], float]] = {
    function.__name__: function for function in (mae, rmse, median_absolute_error, mape, r2)
}


# --- helpers ------------------------------------------------------------------------------------------------


def _macro_recall(answers: ClassAnswers) -> float:
    from sklearn.metrics import recall_score

    occurring = np.unique(answers.target)
    return float(recall_score(answers.target, answers.predicted, labels=occurring, average="macro", zero_division=0))


def _binary_labels(answers: ClassAnswers) -> tuple[np.ndarray, np.ndarray]:
    return answers.target == answers.positive, answers.predicted == answers.positive


def _one_against_rest(answers: ClassAnswers, metric: Callable[[np.ndarray, np.ndarray], float]) -> float:
    """The metric of the positive class, or its mean over all classes; each must occur, and not be all there is."""
    indices = range(len(answers.classes)) if answers.positive is None else [answers.positive]
    for index in indices:
        _require_occurs(answers, index)
        if answers.are(index).all():
            raise MetricUndefined(f"all rows are of class {answers.classes[index]!r}")
    return float(np.mean([metric(answers.are(index), answers.outputs[:, index]) for index in indices]))


def _require_occurs(answers: ClassAnswers, index: int) -> None:
    if not answers.are(index).any():
        raise MetricUndefined(f"no row is of class {answers.classes[index]!r}")


def _require_positive_somewhere(answers: ClassAnswers) -> None:
    truth, predicted = _binary_labels(answers)
    if not (truth.any() or predicted.any()):
        name = answers.classes[answers.positive or 0]
        raise MetricUndefined(f"no row is of class {name!r} and none is predicted to be")
