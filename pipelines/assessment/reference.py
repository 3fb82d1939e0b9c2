"""The fixed reference that drift is judged against: a sample of the training data, shipped with the model.

    model/reference.parquet    at most 5,000 rows, drawn with the run's seed:
                               inputs.<column>        as pipelines.assessment.features describes them
                               predictions.<column>   the model's own answers on these rows

It travels in the Bento, so that a model is always compared with what that very model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bento.runtime import read_record
from bento.signature import PROVENANCE_FILE, SIGNATURE_FILE, Provenance, Signature
from pipelines.assessment.features import compared_columns, describe_columns, describe_outputs
from pipelines.errors import MlopsError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

REFERENCE_FILE = "reference.parquet"
REFERENCE_ROWS = 5000
INPUTS, PREDICTIONS = "inputs", "predictions"


class ReferenceBroken(MlopsError):
    """A Bento's reference sample cannot be read, or does not fit the model beside it."""


@dataclass(frozen=True)
class ReferenceSample:
    """The training data as it is compared with, and the model's answers on it, row by row."""

    inputs: pd.DataFrame
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Reference:
    """The released model as the monitor knows it. `sample` is None for Bentos that were packed without one."""

    bento: str
    model: str
    signature: Signature
    sample: ReferenceSample | None


def keep_reference(folder: Path, columns: Mapping[str, np.ndarray], seed: int) -> None:
    """Put the sample into a model's folder. `columns`: the training rows as the model takes them."""
    import numpy as np
    import pandas as pd

    from bento.runtime import Model

    rows = len(next(iter(columns.values())))
    chosen = np.arange(rows)
    if rows > REFERENCE_ROWS:
        # The raw output of PCG64, whose stream NumPy promises never to change: the same run gives the same file.
        chosen = np.sort(np.argsort(np.random.PCG64(seed).random_raw(rows), kind="stable")[:REFERENCE_ROWS])
    sample = {name: values[chosen] for name, values in columns.items()}
    model = Model.load(folder)
    inputs = describe_columns(model.signature, sample).add_prefix(f"{INPUTS}.")
    predictions = describe_outputs(model.signature, model.run(sample)).add_prefix(f"{PREDICTIONS}.")
    pd.concat([inputs, predictions], axis=1).to_parquet(folder / REFERENCE_FILE, index=False, compression="zstd")


def load_reference(bento: Path) -> Reference:
    """What an unpacked Bento says of its model. Raises ReferenceBroken, ModelFileMissing and ModelFileBroken."""
    folder = bento / "src" / "model"
    signature = read_record(Signature, folder / SIGNATURE_FILE)
    provenance = read_record(Provenance, folder / PROVENANCE_FILE)
    file = folder / REFERENCE_FILE
    sample = _read(file, signature) if file.is_file() else None
    return Reference(provenance.bento, provenance.model, signature, sample)


def _read(file: Path, signature: Signature) -> ReferenceSample:
    import pandas as pd

    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise ReferenceBroken(f"{file} cannot be read: {error}", hint="train and release the model again") from error
    parts = {
        part: table[[name for name in table.columns if name.startswith(f"{part}.")]].rename(
            columns=lambda name: str(name).split(".", 1)[1]
        )
        for part in (INPUTS, PREDICTIONS)
    }
    missing = [column for column in compared_columns(signature) if column not in parts[INPUTS]]
    if missing or parts[PREDICTIONS].empty:
        raise ReferenceBroken(
            f"{file} has no column {INPUTS}.{missing[0]}" if missing else f"{file} holds no predictions",
            hint="train and release the model again",
        )
    return ReferenceSample(parts[INPUTS], parts[PREDICTIONS])
