"""Run a use case's own train() and export what it returns.

<folder>/candidate.json         what was trained, on how many rows
<folder>/trained_outputs.npy    the trained model's own answers for the first test rows, to check the export against
<folder>/model/                 the exported model (see bento.signature), with what keep_sample puts beside it
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bento.formats.load import format_of
from bento.signature import GOLDEN_FILE, SIGNATURE_FILE, Golden, Signature, TensorField
from pipelines.data.examples import Examples
from pipelines.data.split import split
from pipelines.documents import Document
from pipelines.errors import MlopsError
from pipelines.training.export import signature_of
from pipelines.training.formats.load import exporter_for
from pipelines.usecase import UseCase
from pipelines.usecase.code import load_function, raised_at

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

AGREEMENT_ROWS = 500
GOLDEN_ROWS = 3

CANDIDATE_FILE = "candidate.json"
OUTPUTS_FILE = "trained_outputs.npy"
MODEL_FOLDER = "model"

# Puts a sample of the training rows into the exported model's folder: folder, columns, seed.
KeepSample = Callable[[Path, "Mapping[str, np.ndarray]", int], None]


class TrainerFailed(MlopsError):
    """The use case's train() raised, or returned a model that answers with NaN or infinity."""


class Candidate(Document):
    """What was trained. `description` is what its format says of the exported model."""

    KIND = "candidate"

    framework: str
    params: dict[str, Any]
    seed: int
    train_rows: int
    validation_rows: int
    test_rows: int
    classes: list[str | int | bool] | None
    description: dict[str, str] = {}


def train(
    usecase: UseCase,
    code: Path,
    table: "pa.Table",
    params: Mapping[str, Any],
    seed: int,
    folder: Path,
    *,
    keep_sample: KeepSample | None = None,
) -> Candidate:
    """Split, train with `params` over the use case's own, export; test rows are only used to check the export."""
    import numpy as np

    parts = split(table, usecase.data, usecase.task, seed)
    training = Examples.from_table(parts.train, usecase)
    validation = Examples.from_table(parts.validation, usecase, classes=training.classes)
    test = Examples.from_table(parts.test.slice(0, AGREEMENT_ROWS), usecase, classes=training.classes)
    merged = {**usecase.training.params, **params}

    model = _call(usecase, code, training, validation, merged, seed)
    exporter = exporter_for(model, usecase.training.format)
    signature = signature_of(usecase, training.classes, exporter.name)
    exported = folder / MODEL_FOLDER
    exported.mkdir(parents=True, exist_ok=True)
    exporter.export(model, signature, exported)
    signature.write(exported / SIGNATURE_FILE)

    frame = None if signature.tensor else test.frame()
    own_outputs = exporter.answer(model, signature, test.columns, frame)
    if own_outputs is not None:
        if not np.isfinite(own_outputs).all():
            raise TrainerFailed(
                f"{usecase.training.train} returned a model that answers NaN or infinity on the test data",
                hint="look at missing values, the learning rate and the loss",
            )
        np.save(folder / OUTPUTS_FILE, own_outputs)
    _golden(exported, signature, test).write(exported / GOLDEN_FILE)
    if keep_sample:
        keep_sample(exported, training.columns, seed)

    candidate = Candidate(
        framework=f"{type(model).__module__.split('.')[0]} {type(model).__name__}",
        params=merged,
        seed=seed,
        train_rows=len(training),
        validation_rows=len(validation),
        test_rows=parts.test.num_rows,
        classes=list(training.classes) if training.classes else None,
        description=format_of(exporter.name).describe(exported),
    )
    candidate.write(folder / CANDIDATE_FILE)
    return candidate


def _call(
    usecase: UseCase, code: Path, training: Examples, validation: Examples, params: dict[str, Any], seed: int
) -> Any:
    import numpy as np

    entry = usecase.training.train
    function = load_function(code, entry)
    random.seed(seed)
    np.random.seed(seed)
    try:
        return function(training, validation, params, seed)
    except MlopsError:
        raise
    except (Exception, SystemExit) as error:
        raise TrainerFailed(f"{entry} raised {type(error).__name__}{raised_at(error, code)}: {error}") from error


def _golden(folder: Path, signature: Signature, test: Examples) -> Golden:
    """A few real instances with the exported model's answers: the server must give the same before it gets traffic."""
    from bento.runtime import Model

    columns = {name: values[:GOLDEN_ROWS] for name, values in test.columns.items()}
    outputs = Model.load(folder).run(columns)
    return Golden(instances=_instances(signature, columns), outputs=outputs.astype(float).tolist())


def _instances(signature: Signature, columns: Mapping[str, Any]) -> list[Any]:
    """Rows as a client would send them."""
    rows = len(next(iter(columns.values())))
    if signature.tensor:
        return [columns[signature.tensor[0]][row].tolist() for row in range(rows)]
    return [
        {name: _json_value(field, columns[name][row]) for name, field in signature.fields.items()}
        for row in range(rows)
    ]


def _json_value(field: Any, value: Any) -> Any:
    if isinstance(field, TensorField):
        return value.tolist()
    if isinstance(value, str):
        return value or None if field.nullable else value
    return None if value != value else float(value)  # noqa: PLR0124 - only NaN differs from itself
