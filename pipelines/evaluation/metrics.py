"""Scores: a model's metrics on a set of rows, on the whole and slice by slice."""

from collections.abc import Sequence

import numpy as np

from bento.signature import ClassName
from pipelines.documents import Value
from pipelines.errors import MlopsError
from pipelines.evaluation.formulas import (
    CLASSIFICATION,
    REGRESSION,
    ClassAnswers,
    MetricUndefined,
    ValueAnswers,
    calibration_bins,
)
from pipelines.evaluation.slices import slices_of
from pipelines.metric_catalog import METRICS, metric_info, plugin_metric
from pipelines.usecase import UseCase

CURVE_POINTS = 100
SAMPLE_POINTS = 300
# float32 probabilities of a thousand classes still sum to one within this.
SUM_TOLERANCE = 1e-3

Answers = ClassAnswers | ValueAnswers


class OutputsInvalid(MlopsError):
    """A model's outputs have the wrong shape, are not finite, or are no probabilities."""


class TargetInvalid(MlopsError):
    """The true values do not fit the task, the classes or the outputs."""


class SliceScore(Value):
    """The metrics of the rows where `column` has this value; missing values are called `(missing)`."""

    column: str
    value: str
    rows: int
    metrics: dict[str, float | None]
    problems: dict[str, str] = {}


class CalibrationBin(Value):
    """Rows whose probability falls into one tenth: what the model said on average, and how often it came true."""

    mean_predicted: float
    observed: float
    rows: int


class Scores(Value):
    """A model's metrics. A metric is None where it cannot be computed; `problems` then says why.

    `confusion[i][j]` counts rows of class i that are predicted as class j. `roc` holds points (false positive
    rate, true positive rate) of the positive class; `sample` holds points (true value, predicted value).
    """

    rows: int
    metrics: dict[str, float | None]
    problems: dict[str, str] = {}
    slices: list[SliceScore] = []
    classes: list[ClassName] | None = None
    positive: ClassName | None = None
    confusion: list[list[int]] | None = None
    calibration: list[CalibrationBin] | None = None
    roc: list[tuple[float, float]] | None = None
    sample: list[tuple[float, float]] | None = None


def score(
    usecase: UseCase,
    target: np.ndarray,
    outputs: np.ndarray,
    slices: dict[str, np.ndarray],
    *,
    classes: Sequence[ClassName] | None = None,
    metrics: Sequence[str] | None = None,
) -> Scores:
    """Compute the use case's metrics.

    target   class indices (N,) or values (N,)
    outputs  probabilities (N, classes) or values (N, 1) or (N,)
    slices   columns (N,) whose values are scored one by one
    classes  the classes' names in order (default: data.classes, else 0, 1, 2, …)
    metrics  names from the catalog (default: every metric the use case reports)

    Raises OutputsInvalid, TargetInvalid and SlicesInvalid.
    """
    names = list(metrics if metrics is not None else usecase.reported_metrics)
    answers = to_answers(usecase, np.asarray(target), np.asarray(outputs), classes)
    values, problems = measure(answers, names)
    slice_scores = [
        SliceScore(column=column, value=value, rows=len(part), metrics=part_values, problems=part_problems)
        for column, cells in slices.items()
        for value, rows in slices_of(column, cells, len(answers))
        for part in [answers.at(rows)]
        for part_values, part_problems in [measure(part, names)]
    ]
    common = {"rows": len(answers), "metrics": values, "problems": problems, "slices": slice_scores}
    if isinstance(answers, ValueAnswers):
        return Scores.model_validate(common | {"sample": _sample(answers)})
    return Scores.model_validate(
        common
        | {
            "classes": list(answers.classes),
            "positive": None if answers.positive is None else answers.classes[answers.positive],
            "confusion": _confusion(answers),
            "calibration": [
                CalibrationBin(mean_predicted=mean, observed=observed, rows=rows)
                for mean, observed, rows in calibration_bins(answers)
            ],
            "roc": _roc(answers),
        }
    )


def unscored(usecase: UseCase, rows: int, why: str) -> Scores:
    """Scores of a model whose answers cannot be scored: every metric is None, for this reason."""
    names = usecase.reported_metrics
    return Scores(rows=rows, metrics=dict.fromkeys(names), problems=dict.fromkeys(names, why))


def measure(answers: Answers, names: Sequence[str]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Each metric's value, and for those without one the reason."""
    values: dict[str, float | None] = {}
    problems: dict[str, str] = {}
    for name in names:
        try:
            values[name] = _measure(answers, name)
        except MetricUndefined as undefined:
            values[name] = None
            problems[name] = undefined.message
    return values, problems


def _measure(answers: Answers, name: str) -> float:
    if not len(answers):
        raise MetricUndefined("there are no rows")
    if name in METRICS:
        value = REGRESSION[name](answers) if isinstance(answers, ValueAnswers) else CLASSIFICATION[name](answers)
    else:
        value = _measure_by_plugin(answers, name)
    if not np.isfinite(value):
        raise MetricUndefined(f"the result is {value}")
    return value


def _measure_by_plugin(answers: Answers, name: str) -> float:
    """What goes wrong in a plugin's function is why its metric has no value; it stops no other metric."""
    metric = plugin_metric(name)
    try:
        value = float(metric.compute(answers))
    except MetricUndefined:
        raise
    except Exception as error:
        raise MetricUndefined(f"its function raised {type(error).__name__}: {error}") from error
    if np.isfinite(value) and (why := metric_info(name).outside(value)):
        raise MetricUndefined(f"its function gave {value:g}, but {why}")
    return value


# --- from arrays to answers ---------------------------------------------------------------------------------


def to_answers(
    usecase: UseCase, target: np.ndarray, outputs: np.ndarray, classes: Sequence[ClassName] | None
) -> Answers:
    """True values and outputs, checked. Raises OutputsInvalid and TargetInvalid."""
    if target.ndim != 1:
        raise TargetInvalid(f"target has shape {target.shape}; expected one value a row, (N,)")
    if outputs.dtype.kind not in "fiu":
        raise OutputsInvalid(f"outputs are of type {outputs.dtype}; expected numbers")
    if usecase.task == "regression":
        return _value_answers(target, outputs)
    return _class_answers(usecase, target, outputs, tuple(classes or usecase.data.classes or ()))


def _value_answers(target: np.ndarray, outputs: np.ndarray) -> ValueAnswers:
    if outputs.shape not in ((len(target), 1), (len(target),)):
        raise OutputsInvalid(f"outputs have shape {outputs.shape}; expected ({len(target)}, 1): one value a row")
    values = outputs.reshape(len(target)).astype(np.float64)
    _require_finite(values)
    truth = target.astype(np.float64)
    if not np.isfinite(truth).all():
        raise TargetInvalid(f"row {_first(~np.isfinite(truth))} of the target is {truth[~np.isfinite(truth)][0]}")
    return ValueAnswers(truth, values)


def _class_answers(
    usecase: UseCase, target: np.ndarray, outputs: np.ndarray, classes: tuple[ClassName, ...]
) -> ClassAnswers:
    width = len(classes) or (outputs.shape[1] if outputs.ndim == 2 else 2)
    if outputs.shape != (len(target), width) or width < 2:
        raise OutputsInvalid(
            f"outputs have shape {outputs.shape}; expected ({len(target)}, {max(width, 2)}): "
            "a probability for each class"
        )
    if target.dtype.kind not in "iub":
        raise TargetInvalid(f"target is of type {target.dtype}; expected class indices, 0 to {width - 1}")
    truth = target.astype(np.int64)
    outside = (truth < 0) | (truth >= width)
    if outside.any():
        raise TargetInvalid(
            f"row {_first(outside)} of the target is class {truth[outside][0]}; expected 0 to {width - 1}"
        )
    names = classes or tuple(range(width))
    return ClassAnswers(truth, _probabilities(outputs), names, _positive(usecase, names))


def _probabilities(outputs: np.ndarray) -> np.ndarray:
    """The outputs as float64, scaled so that each row sums to one exactly."""
    values = outputs.astype(np.float64)
    _require_finite(values)
    sums = values.sum(axis=1)
    wrong = ((values < -SUM_TOLERANCE).any(axis=1) | (values > 1 + SUM_TOLERANCE).any(axis=1)) | (
        np.abs(sums - 1) > SUM_TOLERANCE
    )
    if wrong.any():
        row = _first(wrong)
        raise OutputsInvalid(
            f"row {row} of the outputs is no probability for each class: values from {values[row].min():.4g} "
            f"to {values[row].max():.4g}, sum {sums[row]:.4g}; expected values from 0 to 1 that sum to 1",
            hint="end the model with a softmax, or give two columns, 1 - p and p",
        )
    values = np.clip(values, 0, 1)
    scaled: np.ndarray = values / values.sum(axis=1, keepdims=True)
    return scaled


def _require_finite(values: np.ndarray) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        rows = bad if bad.ndim == 1 else bad.any(axis=1)
        raise OutputsInvalid(f"{int(rows.sum())} of {len(values)} outputs are not finite, first in row {_first(rows)}")


def _positive(usecase: UseCase, classes: tuple[ClassName, ...]) -> int | None:
    if len(classes) != 2:
        return None
    named = usecase.evaluation.positive
    if named is None:
        return 1
    if named not in classes:
        raise TargetInvalid(f"evaluation.positive {named!r} is none of the classes {list(classes)}")
    return classes.index(named)


def _first(mask: np.ndarray) -> int:
    return int(np.argmax(mask))


# --- what the model card draws ------------------------------------------------------------------------------


def _confusion(answers: ClassAnswers) -> list[list[int]]:
    from sklearn.metrics import confusion_matrix

    if not len(answers):
        return [[0] * len(answers.classes) for _ in answers.classes]
    matrix = confusion_matrix(answers.target, answers.predicted, labels=range(len(answers.classes)))
    return [[int(count) for count in row] for row in matrix]


def _roc(answers: ClassAnswers) -> list[tuple[float, float]] | None:
    from sklearn.metrics import roc_curve

    if answers.positive is None:
        return None
    truth = answers.are(answers.positive)
    if truth.all() or not truth.any():
        return None
    false_positive, true_positive, _ = roc_curve(truth, answers.outputs[:, answers.positive])
    chosen = _spread(len(false_positive), CURVE_POINTS)
    return [(float(false_positive[index]), float(true_positive[index])) for index in chosen]


def _sample(answers: ValueAnswers) -> list[tuple[float, float]]:
    chosen = _spread(len(answers), SAMPLE_POINTS)
    return [(float(answers.target[index]), float(answers.outputs[index])) for index in chosen]


def _spread(length: int, most: int) -> np.ndarray:
    """At most so many indices, evenly spread, always with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int)) if length else np.arange(0)
