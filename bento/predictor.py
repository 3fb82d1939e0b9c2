"""A model with everything its answers carry: class names, ids, release, counts."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
from pydantic import JsonValue

from bento.errors import AnswerNotFinite
from bento.ids import PredictionIds
from bento.metrics import register
from bento.recording.segments import SegmentHeader
from bento.runtime import Columns, Model, read_record
from bento.signature import GOLDEN_FILE, PROVENANCE_FILE, ClassName, Golden, Provenance, Signature
from bento.variables import Variables, variable


class ReleaseVariables(Variables):
    """Set by the platform for each model server, which repeats them in its answers and records."""

    title: ClassVar[str] = "What a model server is told of its release"

    environment: str = variable("MLOPS_ENVIRONMENT", "", "The environment that it serves.", shown="unknown")
    commit: str = variable("MLOPS_RELEASE_COMMIT", "", "The commit that released it.", shown="unknown")


class Predictor:
    """Answers columns with the JSON body of a response."""

    def __init__(self, model: Model, provenance: Provenance, examples: Sequence[JsonValue] = ()) -> None:
        self.model = model
        self.examples = examples
        self.provenance = provenance
        self.signature: Signature = model.signature
        self._ids = PredictionIds(provenance.bento)
        self._classes = list(self.signature.classes or ())
        self._keys = [class_key(name) for name in self._classes]
        self.release = release_info(provenance)
        self._release = orjson.Fragment(orjson.dumps(self.release))
        self._counters = _prediction_counters(self._keys or ["value"])

    @classmethod
    def load(cls, folder: Path) -> "Predictor":
        """A packed model: the folder with golden.json and provenance.json; a file that is wrong is named."""
        model = Model.load(folder)
        golden = read_record(Golden, folder / GOLDEN_FILE)
        return cls(model, read_record(Provenance, folder / PROVENANCE_FILE), golden.instances[:1])

    def segment_header(self) -> SegmentHeader:
        """What is written at the head of recorded predictions."""
        return SegmentHeader.model_validate({**self.release, "signature": self.signature})

    def answer(self, columns: Columns) -> bytes:
        """Run the model; the response's body, `predictions` and `ids` in the instances' order.

        Raises AnswerNotFinite when the model gives NaN or infinity, and whatever ONNX Runtime raises.
        """
        outputs = self.model.run(columns)
        if not np.isfinite(outputs).all():
            index = int(np.argwhere(~np.isfinite(outputs))[0, 0])
            raise AnswerNotFinite(f"{self.provenance.model} answered {outputs[index].tolist()} to instance {index}")
        if self._classes:
            best = outputs.argmax(axis=1).tolist()
            predictions: list[dict[str, Any]] = [
                {"label": self._classes[top], "probabilities": dict(zip(self._keys, row, strict=True))}
                for top, row in zip(best, outputs, strict=True)
            ]
            for position, count in collections.Counter(best).items():
                self._counters[position].inc(count)
        else:
            predictions = [{"value": value} for value in outputs[:, 0]]
            self._counters[0].inc(len(outputs))
        return orjson.dumps(
            {"predictions": predictions, "ids": self._ids.make(len(outputs)), "release": self._release},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )


def class_key(name: ClassName) -> str:
    """A class's name as a JSON key: false, 7 or Sneaker."""
    return str(name).lower() if isinstance(name, bool) else str(name)


def release_info(provenance: Provenance) -> dict[str, str | None]:
    """Where an answer comes from. The commit is known where the platform tells it by MLOPS_RELEASE_COMMIT."""
    release = ReleaseVariables.load()
    return {
        "bento": provenance.bento,
        "model": provenance.model,
        "run": provenance.run,
        "data": provenance.data,
        "code": provenance.code,
        "environment": release.environment or None,
        "commit": release.commit or None,
    }


def _prediction_counters(labels: list[str]) -> list[Any]:
    """One cached child a label: looking a child up costs more than counting."""
    from prometheus_client import Counter

    counter = register(Counter, "model_predictions_total", "Predictions by the label they gave", ["label"])
    return [counter.labels(label=label) for label in labels]
