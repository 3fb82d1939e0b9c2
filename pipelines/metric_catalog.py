"""The metrics that usecase.yaml may name: which task they are for, and which direction is better.

The names and definitions are scikit-learn's; `pipelines.evaluation.metrics` computes them.
"""

from dataclasses import dataclass
from typing import Literal

Task = Literal["classification", "regression"]
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class MetricInfo:
    name: str
    task: Task
    better: Better
    meaning: str


METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo("accuracy", "classification", "higher", "share of right labels"),
        MetricInfo("balanced_accuracy", "classification", "higher", "mean recall over the classes"),
        MetricInfo(
            "precision",
            "classification",
            "higher",
            "share of the positives given that are right (more than two classes: macro mean)",
        ),
        MetricInfo(
            "recall",
            "classification",
            "higher",
            "share of the true positives found (more than two classes: macro mean)",
        ),
        MetricInfo(
            "f1",
            "classification",
            "higher",
            "harmonic mean of precision and recall (more than two classes: macro mean)",
        ),
        MetricInfo(
            "roc_auc",
            "classification",
            "higher",
            "ranking quality (more than two classes: one against the rest, macro mean)",
        ),
        MetricInfo("average_precision", "classification", "higher", "area under precision and recall"),
        MetricInfo("log_loss", "classification", "lower", "cross-entropy of the probabilities, in nats"),
        MetricInfo("brier", "classification", "lower", "mean squared error of the probabilities"),
        MetricInfo("calibration_error", "classification", "lower", "expected calibration error, 10 equal bins"),
        MetricInfo("mae", "regression", "lower", "mean absolute error, in the target's unit"),
        MetricInfo("rmse", "regression", "lower", "root of the mean squared error, in the target's unit"),
        MetricInfo("median_absolute_error", "regression", "lower", "median absolute error"),
        MetricInfo("mape", "regression", "lower", "mean absolute error as a share of the true value"),
        MetricInfo("r2", "regression", "higher", "share of the variance explained"),
    )
}


def metrics_for(task: Task) -> list[str]:
    """The names a use case of this task may use."""
    return [name for name, info in METRICS.items() if info.task == task]
