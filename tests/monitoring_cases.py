"""A use case that is watched, its reference, and predictions to judge: what the monitor's tests share."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from bento.signature import CategoryField, NumberField, Signature, TensorField
from pipelines.assessment.features import describe_columns, describe_outputs
from pipelines.assessment.reference import Reference, ReferenceSample
from pipelines.predictions.source import Coverage
from pipelines.usecase import UseCase
from tests.pipeline_cases import NAME, USECASE

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BENTO = f"{NAME}:7"
SIGNATURE = Signature(
    name=NAME,
    task="classification",
    fields={"size": NumberField(min=0, max=10, nullable=True), "kind": CategoryField(nullable=True)},
    classes=(False, True),
)
VALUES = Signature(name=NAME, task="regression", fields={"size": NumberField(), "kind": CategoryField()})
PICTURES = Signature(
    name=NAME,
    task="classification",
    fields={"image": TensorField(shape=(8, 8), dtype="uint8", min=0, max=255)},
    classes=("shirt", "shoe"),
)
MONITORING = {
    "drift": {"threshold": 0.2, "min_rows": 200, "window": "24h"},
    "quality": {"metric": "roc_auc", "at_least": 0.7, "labels_within": "3d", "min_labels": 200},
}


def watched(**monitoring) -> UseCase:
    """The tiny use case, watched as given."""
    values = {**USECASE, "monitoring": {**MONITORING, **monitoring}}
    values["evaluation"] = {**USECASE["evaluation"], "slices": ["kind"]}
    return UseCase.model_validate(values)


def sizes(rows: int, seed: int = 0, shift: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "size": (rng.normal(5, 1.5, rows) + shift).astype("float32"),
        "kind": rng.choice(["a", "b", "c"], rows).astype(object),
    }


def probabilities(columns: dict[str, np.ndarray]) -> np.ndarray:
    """The model of these tests: the bigger, the more probable."""
    yes = 1 / (1 + np.exp(-(np.nan_to_num(columns["size"], nan=5.0) - 5)))
    return np.stack([1 - yes, yes], axis=1).astype("float32")


def reference(signature: Signature = SIGNATURE, rows: int = 3000) -> Reference:
    if signature.tensor:
        columns = {"image": pictures(rows)}
        outputs = np.tile([[0.4, 0.6]], (rows, 1))
    else:
        columns = sizes(rows, seed=99)
        outputs = columns["size"].reshape(-1, 1) if signature.task == "regression" else probabilities(columns)
    sample = ReferenceSample(describe_columns(signature, columns), describe_outputs(signature, outputs))
    return Reference(BENTO, f"{NAME}/7", signature, sample)


def pictures(rows: int, seed: int = 0, brightness: float = 1.0, noise: float = 0.0) -> np.ndarray:
    """Grey gradients, each of its own brightness."""
    rng = np.random.default_rng(seed)
    base = np.linspace(0, 120, 64).reshape(1, 8, 8) + rng.uniform(0, 60, (rows, 1, 1))
    return np.clip(base * brightness + rng.normal(0, noise or 1e-9, (rows, 8, 8)), 0, 255).astype("uint8")


def predictions(columns: dict[str, np.ndarray], *, at: datetime | None = None, bento: str = BENTO) -> pd.DataFrame:
    """What the store would give for these requests, one a second until just before NOW."""
    rows = len(next(iter(columns.values())))
    end = (at or NOW) - timedelta(seconds=1)
    outputs = probabilities(columns)
    names = list(columns)
    return pd.DataFrame(
        {
            "id": [f"{bento.replace(':', '.')}.{number:06d}" for number in range(rows)],
            "time": pd.to_datetime([end - timedelta(seconds=rows - 1 - number) for number in range(rows)], utc=True),
            "bento": bento,
            "inputs": [
                {name: _cell(value) for name, value in zip(names, cells, strict=True)}
                for cells in zip(*columns.values(), strict=True)
            ],
            "output": [
                {"label": bool(yes > 0.5), "probabilities": {"false": float(no), "true": float(yes)}}
                for no, yes in outputs
            ],
            "label": ["true" if yes > 0.5 else "false" for _, yes in outputs],
            "confidence": outputs.max(axis=1),
            "value": np.nan,
        }
    )


def labelled(frame: pd.DataFrame, *, wrong: float = 0.0, seed: int = 5, late: timedelta = timedelta(hours=1)):
    """True values drawn as the model says, of which a share is turned into the opposite."""
    rng = np.random.default_rng(seed)
    yes = np.array([output["probabilities"]["true"] for output in frame["output"]])
    truth = rng.random(len(frame)) < yes
    turned = rng.random(len(frame)) < wrong
    return frame.assign(truth=pd.Series(truth ^ turned, dtype=object), observed_at=frame["time"] + late)


def _cell(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else round(float(value), 4)
    return value or None


@dataclass
class FrameSource:
    """A PredictionSource over DataFrames in memory: small enough to read, and it counts what it is asked."""

    frame: pd.DataFrame = field(default_factory=lambda: predictions(sizes(0)))
    asked: list[int] = field(default_factory=list)

    def predictions(self, usecase, environment, since, until, limit, *, bento=None):
        return self._sampled(self._within(since, until, bento), limit)

    def joined(self, usecase, environment, since, until, limit, *, bento=None):
        found = self._within(since, until, bento)
        known = found[found["truth"].notna()] if "truth" in found else found.iloc[:0].assign(truth=None)
        return self._sampled(known, limit)

    def coverage(self, usecase, environment, since, until, *, bento=None):
        found = self._within(since, until, bento)
        known = found[found["truth"].notna()] if "truth" in found else found.iloc[:0]
        if known.empty:
            return Coverage(len(found), 0)
        lags = (known["observed_at"] - known["time"]).dt.total_seconds()
        return Coverage(len(found), len(known), float(lags.median()), float(lags.quantile(0.95)))

    def _within(self, since, until, bento):
        frame = self.frame
        return frame[(frame["time"] >= since) & (frame["time"] < until) & (frame["bento"] == bento)]

    def _sampled(self, frame, limit):
        self.asked.append(limit)
        return frame.sample(min(limit, len(frame)), random_state=0).sort_index().reset_index(drop=True)
