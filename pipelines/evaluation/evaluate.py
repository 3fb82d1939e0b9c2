"""Evaluation: the candidate and the champion, both as exported models, on the same test rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bento.signature import CategoryField, ClassName, Field_, NumberField, Signature, TensorField
from pipelines.documents import Document
from pipelines.errors import MlopsError, one_line
from pipelines.evaluation.metrics import OutputsInvalid, Scores, score, unscored
from pipelines.usecase import UseCase

if TYPE_CHECKING:
    from pipelines.data.examples import Examples


class CandidateBroken(MlopsError):
    """The candidate's folder holds no model that can answer the test rows."""


class SliceColumnMissing(MlopsError):
    """A slice column is not among the test rows' columns."""


class _CannotAnswer(MlopsError):
    """A model and these rows do not fit together."""


class Evaluation(Document):
    """What the gate judges.

    `candidate_problem` says why the candidate's answers could not be scored; all its metrics are None then.
    `agreement` is the largest difference between the exported and the trained model's outputs on
    `agreement_rows` test rows, relative to the trained output where that is above 1; None where it could not
    be measured, for the reason in `agreement_problem`.
    """

    KIND = "evaluation"

    candidate: Scores
    candidate_problem: str | None = None
    champion: Scores | None = None
    champion_name: str | None = None
    champion_problem: str | None = None
    agreement: float | None = None
    agreement_rows: int = 0
    agreement_problem: str | None = None
    test_rows: int
    test_from: str | None = None
    test_to: str | None = None


def evaluate(
    usecase: UseCase,
    test: "Examples",
    candidate: Path,
    trained_outputs: np.ndarray | None,
    champion: tuple[str, Path] | None,
) -> Evaluation:
    """Score the candidate's and the champion's model folders on the same rows.

    trained_outputs  the trained, not exported, model's outputs for the first rows of the test
    champion         its name, such as "flight-delays/7", and its model folder

    A champion that cannot be scored is a `champion_problem`. Raises CandidateBroken, SliceColumnMissing,
    SlicesInvalid and TargetInvalid.
    """
    slices = {column: _slice_column(test, column) for column in usecase.reported_slices}
    try:
        outputs = _answers(candidate, usecase, test)
    except _CannotAnswer as problem:
        raise CandidateBroken(f"the candidate {candidate}: {problem.message}") from problem
    scores, candidate_problem = _score(usecase, test, outputs, slices)
    agreement, agreement_problem = _agreement(outputs, trained_outputs)
    champion_scores, champion_problem = _score_champion(usecase, test, slices, champion)
    first, last = _period(usecase, test)
    return Evaluation(
        candidate=scores,
        candidate_problem=candidate_problem,
        champion=champion_scores,
        champion_name=champion[0] if champion else None,
        champion_problem=champion_problem,
        agreement=agreement,
        agreement_rows=0 if agreement is None or trained_outputs is None else len(trained_outputs),
        agreement_problem=agreement_problem,
        test_rows=len(test),
        test_from=first,
        test_to=last,
    )


def _score(
    usecase: UseCase, test: "Examples", outputs: np.ndarray, slices: dict[str, np.ndarray]
) -> tuple[Scores, str | None]:
    try:
        return score(usecase, test.target, outputs, slices, classes=test.classes), None
    except OutputsInvalid as problem:
        return unscored(usecase, len(test), problem.message), problem.message


def _score_champion(
    usecase: UseCase, test: "Examples", slices: dict[str, np.ndarray], champion: tuple[str, Path] | None
) -> tuple[Scores | None, str | None]:
    if champion is None:
        return None, None
    try:
        outputs = _answers(champion[1], usecase, test)
    except _CannotAnswer as problem:
        return None, problem.message
    scores, problem_found = _score(usecase, test, outputs, slices)
    return (None, problem_found) if problem_found else (scores, None)


def _answers(folder: Path, usecase: UseCase, test: "Examples") -> np.ndarray:
    """The model's outputs for all rows, its classes in the test's order."""
    from bento.runtime import Model

    try:
        model = Model.load(folder)
    except Exception as error:  # whatever is in that folder, it must not stop the pipeline without a word
        raise _CannotAnswer(f"the model cannot be loaded: {one_line(error)}") from error
    order = _class_order(model.signature, usecase, test)
    columns = {name: _column(test, name, field) for name, field in model.signature.fields.items()}
    try:
        outputs: np.ndarray = model.run(columns)
    except Exception as error:  # the same: onnxruntime has many errors of its own
        raise _CannotAnswer(f"the model fails on the test rows: {one_line(error)}") from error
    if order is None or outputs.shape != (len(test), len(order)):
        return outputs
    return outputs[:, order]


def _class_order(signature: Signature, usecase: UseCase, test: "Examples") -> list[int] | None:
    """For each class of the test the model's column; None in a regression."""
    if signature.task != usecase.task:
        raise _CannotAnswer(f"the model is for {signature.task}, and the use case for {usecase.task}")
    if usecase.task == "regression":
        return None
    has, needs = _typed(signature.classes or ()), _typed(test.classes or ())
    if sorted(has, key=repr) != sorted(needs, key=repr):
        raise _CannotAnswer(
            f"the model's classes {list(signature.classes or ())} are not the data's classes {list(test.classes or ())}"
        )
    return [has.index(name) for name in needs]


def _typed(classes: Sequence[ClassName]) -> list[tuple[str, ClassName]]:
    """Classes that compare with their type: Python holds 1 and True for equal."""
    return [(type(name).__name__, name) for name in classes]


def _column(test: "Examples", name: str, field: Field_) -> np.ndarray:
    """The rows' values of one model input, or why they are none."""
    if name not in test.columns:
        raise _CannotAnswer(
            f"the model needs {name}, which the data no longer has; it has {', '.join(sorted(test.columns))}"
        )
    values: np.ndarray = test.columns[name]
    if isinstance(field, TensorField):
        fits, has = values.shape[1:] == field.shape, f"shape {list(values.shape[1:])}"
        needs = f"shape {list(field.shape)}"
    else:
        fits, has, needs = _kind(values) == field.type, f"a {_kind(values)}", f"a {field.type}"
    if not fits:
        raise _CannotAnswer(f"the model needs {name} to be {needs}; in the data it is {has}")
    return values


def _kind(values: np.ndarray) -> str:
    if values.ndim > 1:
        return "tensor"
    number, category = NumberField().type, CategoryField().type
    return number if values.dtype.kind in "fiub" else category


def _agreement(outputs: np.ndarray, trained: np.ndarray | None) -> tuple[float | None, str | None]:
    """The largest difference, relative to the trained output where that is above 1."""
    if trained is None or not len(trained):
        return None, "there are no outputs of the trained model to compare with"
    exported = outputs[: len(trained)].astype(np.float64)
    expected = np.asarray(trained, dtype=np.float64)
    if expected.ndim == 1 and exported.shape == (len(expected), 1):
        expected = expected[:, None]
    if exported.shape != expected.shape:
        return None, f"the trained model gave shape {list(expected.shape)}, the exported one {list(exported.shape)}"
    difference = np.abs(exported - expected) / np.maximum(1, np.abs(expected))
    if not np.isfinite(difference).all():
        return None, "the trained or the exported model gave an output that is not finite"
    return float(difference.max()), None


def _slice_column(test: "Examples", column: str) -> np.ndarray:
    if column not in test.kept:
        raise SliceColumnMissing(
            f"evaluation names the slice column {column}, which the test rows do not have; "
            f"they have {', '.join(sorted(test.kept)) or 'none'}",
            hint="name a column with one value a row, and list it in data.keep",
        )
    return test.kept[column]


def _period(usecase: UseCase, test: "Examples") -> tuple[str | None, str | None]:
    """The first and the last time of the rows, ISO 8601 texts, which sort by time."""
    times = test.kept.get(usecase.data.time) if usecase.data.time else None
    if times is None or not len(times):
        return None, None
    known = sorted(time for time in times.tolist() if time)
    return (known[0], known[-1]) if known else (None, None)
