"""The metrics that usecase.yaml may name: which task they are for, which direction is better, and their range.

The names and definitions are scikit-learn's; `pipelines.evaluation.metrics` computes them. Plugins may add others
under the entry points `mlops_blueprint.metrics`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipelines.errors import MlopsError
from pipelines.plugins import Plugin, PluginBroken, find_plugin, plugin_names

Task = Literal["classification", "regression"]
Better = Literal["higher", "lower"]


class MetricUnknown(MlopsError):
    """No built-in metric and no installed plugin has this name."""


@dataclass(frozen=True)
class MetricInfo:
    """A metric's name and meaning. `lowest` and `highest` bound its values; None means without end."""

    name: str
    task: Task
    better: Better
    meaning: str
    lowest: float | None = None
    highest: float | None = None

    @property
    def range(self) -> str:
        """Its range in words: `0 to 1`, `0 and up`."""
        if self.lowest is None:
            return "any" if self.highest is None else f"{self.highest:g} and below"
        return f"{self.lowest:g} and above" if self.highest is None else f"{self.lowest:g} to {self.highest:g}"

    def outside(self, value: float) -> str | None:
        """Why no model can have this value, or None."""
        if (self.lowest is None or value >= self.lowest) and (self.highest is None or value <= self.highest):
            return None
        if self.lowest is None or self.highest is None:
            end = f"at most {self.highest:g}" if self.lowest is None else f"at least {self.lowest:g}"
            return f"{self.name} is {end}; no model has {value:g}"
        return f"{self.name} lies between {self.lowest:g} and {self.highest:g}; no model has {value:g}"


@dataclass(frozen=True)
class Metric:
    """What a plugin's entry point names: a metric with its function. Its name is the entry point's.

    compute     from pipelines.evaluation.formulas.ClassAnswers or ValueAnswers, as the task is, to one number;
                it raises MetricUndefined where the metric has no value on these rows
    lowest, highest     the ends of its range, where it has them: a value or a limit outside is an error
    """

    task: Task
    better: Better
    meaning: str
    compute: Callable[[Any], float]
    lowest: float | None = None
    highest: float | None = None


METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo("accuracy", "classification", "higher", "share of right labels", 0, 1),
        MetricInfo("balanced_accuracy", "classification", "higher", "mean recall over the classes", 0, 1),
        MetricInfo(
            "precision",
            "classification",
            "higher",
            "share of the positives given that are right (more than two classes: macro mean)",
            0,
            1,
        ),
        MetricInfo(
            "recall",
            "classification",
            "higher",
            "share of the true positives found (more than two classes: macro mean)",
            0,
            1,
        ),
        MetricInfo(
            "f1",
            "classification",
            "higher",
            "harmonic mean of precision and recall (more than two classes: macro mean)",
            0,
            1,
        ),
        MetricInfo(
            "roc_auc",
            "classification",
            "higher",
            "ranking quality (more than two classes: one against the rest, macro mean)",
            0,
            1,
        ),
        MetricInfo("average_precision", "classification", "higher", "area under precision and recall", 0, 1),
        MetricInfo("log_loss", "classification", "lower", "cross-entropy of the probabilities, in nats", 0),
        MetricInfo("brier", "classification", "lower", "mean squared error of the probabilities", 0, 2),
        MetricInfo("calibration_error", "classification", "lower", "expected calibration error, 10 equal bins", 0, 1),
        MetricInfo("mae", "regression", "lower", "mean absolute error, in the target's unit", 0),
        MetricInfo("rmse", "regression", "lower", "root of the mean squared error, in the target's unit", 0),
        MetricInfo("median_absolute_error", "regression", "lower", "median absolute error", 0),
        MetricInfo("mape", "regression", "lower", "mean absolute error as a share of the true value", 0),
        MetricInfo("r2", "regression", "higher", "share of the variance explained", None, 1),
    )
}


def find_metric(name: str) -> MetricInfo | None:
    """The metric of this name, built in or a plugin's; None where there is none.

    Raises:
        PluginBroken: a plugin offers it, and cannot be loaded or offers no Metric.
        PluginClash: two distributions offer it.
    """
    if name in METRICS:
        return METRICS[name]
    plugin = find_plugin("metrics", name)
    if plugin is None:
        return None
    metric = _load(plugin)
    return MetricInfo(name, metric.task, metric.better, metric.meaning, metric.lowest, metric.highest)


def metric_info(name: str) -> MetricInfo:
    """The metric of this name. Raises MetricUnknown, and what `find_metric` raises."""
    found = find_metric(name)
    if found is None:
        raise MetricUnknown(
            f"there is no metric {name!r} here",
            hint="install the distribution that offers it; docs/extending.md says how one is made",
        )
    return found


def plugin_metric(name: str) -> Metric:
    """A plugin's metric with its function. Raises what `metric_info` raises."""
    plugin = find_plugin("metrics", name)
    if plugin is None:
        metric_info(name)
        raise MetricUnknown(f"{name!r} is no plugin's metric; it is built in")
    return _load(plugin)


def metrics_for(task: Task) -> list[str]:
    """The names of the built-in metrics that a use case of this task may use."""
    return [name for name, info in METRICS.items() if info.task == task]


def all_metrics_for(task: Task) -> list[str]:
    """The same with those of plugins; a plugin that cannot be loaded is left out."""
    names = metrics_for(task)
    for name in plugin_names("metrics"):
        try:
            info = find_metric(name)
        except PluginBroken:
            continue
        if info and info.task == task and name not in names:
            names.append(name)
    return names


def _load(plugin: Plugin) -> Metric:
    metric = plugin.load()
    if not isinstance(metric, Metric):
        raise plugin.broken("offers no pipelines.metric_catalog.Metric")
    for value, allowed in ((metric.task, get_args(Task)), (metric.better, get_args(Better))):
        if value not in allowed:
            raise plugin.broken(f"has {value!r} where one of {', '.join(allowed)} is allowed")
    if not callable(metric.compute):
        raise plugin.broken("needs `compute`, a function from answers to a number")
    return metric
