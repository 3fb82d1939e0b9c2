"""Are the answers still right? The use case's metric on the predictions whose true value is known by now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bento.signature import Signature
from pipelines.assessment.features import class_text
from pipelines.documents import Value
from pipelines.evaluation.metrics import SliceScore, measure, to_answers
from pipelines.evaluation.slices import SlicesInvalid, slices_of
from pipelines.usecase.model import Quality, UseCase

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipelines.evaluation.metrics import Answers

RESAMPLES = 200
RESAMPLED_ROWS = 5000
SEED = 20130401
LEVEL = 0.95


class Scored(Value):
    """The metric on the joined rows.

    `interval`: where 95 of 100 resamplings lie; None where most of them have no value. `unusable`: rows that cannot be
    scored, such as those whose true value is a class that the model does not have. `left_out`: slices, and why.
    """

    metric: str
    value: float | None
    problem: str | None = None
    interval: tuple[float, float] | None = None
    rows: int
    unusable: int = 0
    slices: list[SliceScore] = []
    left_out: dict[str, str] = {}


@dataclass(frozen=True)
class _Rows:
    """What can be scored of the joined rows."""

    target: np.ndarray
    outputs: np.ndarray
    whole: np.ndarray


def score_joined(usecase: UseCase, rule: Quality, signature: Signature, joined: pd.DataFrame) -> Scored:
    """Score the joined rows, slice by slice too. The same rows always give the same figures.

    Raises OutputsInvalid and TargetInvalid, for rows that no released model can have answered.
    """
    rows = _classes(signature, joined) if signature.task == "classification" else _values(joined)
    answers = to_answers(usecase, rows.target, rows.outputs, signature.classes)
    values, problems = measure(answers, [rule.metric])
    scored = joined[rows.whole]
    slices, left_out = _slices(usecase, rule.metric, answers, scored)
    return Scored(
        metric=rule.metric,
        value=values[rule.metric],
        problem=problems.get(rule.metric),
        interval=_interval(answers, rule.metric) if values[rule.metric] is not None else None,
        rows=len(answers),
        unusable=len(joined) - len(answers),
        slices=slices,
        left_out=left_out,
    )


def is_beyond(rule: Quality, value: float) -> bool:
    """Whether a value misses the limit."""
    return value < rule.at_least if rule.at_least is not None else value > limit_of(rule)


def is_surely_beyond(rule: Quality, interval: tuple[float, float]) -> bool:
    """Whether all of the interval misses the limit."""
    return all(is_beyond(rule, end) for end in interval)


def limit_of(rule: Quality) -> float:
    """The one limit that a rule has."""
    limit = rule.at_least if rule.at_least is not None else rule.at_most
    assert limit is not None  # noqa: S101 - the schema asks for exactly one
    return limit


def bound_of(rule: Quality) -> str:
    """On which side the limit is: at_least or at_most."""
    return "at_least" if rule.at_least is not None else "at_most"


def _classes(signature: Signature, joined: pd.DataFrame) -> _Rows:
    import numpy as np

    classes = [class_text(name) for name in signature.classes or ()]
    index = {name: position for position, name in enumerate(classes)}
    target = np.array([index.get(_class_of(value), -1) for value in joined["truth"]], dtype=np.int64)
    outputs = np.full((len(joined), len(classes)), np.nan)
    for row, output in enumerate(joined["output"]):
        given = _mapping(output).get("probabilities") or {}
        outputs[row] = [given.get(name, np.nan) for name in classes]
    whole = (target >= 0) & np.isfinite(outputs).all(axis=1)
    return _Rows(target[whole], outputs[whole], whole)


def _values(joined: pd.DataFrame) -> _Rows:
    import numpy as np

    target = np.array([_float(value) for value in joined["truth"]], dtype=np.float64)
    outputs = np.array([_float(_mapping(output).get("value")) for output in joined["output"]], dtype=np.float64)
    whole = np.isfinite(target) & np.isfinite(outputs)
    return _Rows(target[whole], outputs[whole], whole)


def _slices(
    usecase: UseCase, metric: str, answers: Answers, scored: pd.DataFrame
) -> tuple[list[SliceScore], dict[str, str]]:
    import numpy as np

    found: list[SliceScore] = []
    left_out: dict[str, str] = {}
    inputs = [_mapping(cell) for cell in scored["inputs"]]
    for column in usecase.reported_slices:
        if column == usecase.data.target:
            cells: list[Any] = [class_text(value) for value in scored["truth"]]
        elif column in usecase.data.features:
            cells = [row.get(column) for row in inputs]
        else:
            left_out[column] = "is not part of a request"
            continue
        try:
            parts = list(slices_of(column, np.array(cells, dtype=object), len(answers)))
        except SlicesInvalid as problem:
            left_out[column] = problem.message
            continue
        for value, rows in parts:
            values, problems = measure(answers.at(rows), [metric])
            found.append(SliceScore(column=column, value=value, rows=len(rows), metrics=values, problems=problems))
    return found, left_out


def _interval(answers: Answers, metric: str) -> tuple[float, float] | None:
    """Bootstrap by percentiles; of many rows a share is resampled, which makes the interval wider, never narrower."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64(SEED))
    size = min(len(answers), RESAMPLED_ROWS)
    values: list[float] = []
    for _ in range(RESAMPLES):
        value, _problem = measure(answers.at(random.integers(0, len(answers), size)), [metric])
        if value[metric] is not None:
            values.append(float(value[metric] or 0))
    if len(values) < RESAMPLES / 2:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _class_of(value: Any) -> str:
    """A stored true value as a class's name; labels come as JSON, so that true and 3 are not texts."""
    value = _plain(value)
    return class_text(int(value) if isinstance(value, float) and value.is_integer() else value)


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _mapping(cell: Any) -> Mapping[str, Any]:
    if isinstance(cell, str | bytes):
        cell = json.loads(cell)
    return cell if isinstance(cell, Mapping) else {}


def _float(value: Any) -> float:
    value = _plain(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
