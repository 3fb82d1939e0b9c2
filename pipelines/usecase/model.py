"""UseCase: usecase.yaml as typed, validated config.

Every limit, size and owner of a use case stands here and nowhere else. Unknown keys and impossible
combinations are refused before anything runs.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from pipelines.errors import did_you_mean
from pipelines.metric_catalog import Task, all_metrics_for, find_metric, metrics_for
from pipelines.plugins import PluginBroken, plugin_names
from pipelines.usecase.api_version import API_VERSION, ApiVersion
from pipelines.usecase.data import (
    CategoryFeature,
    Checks,
    Data,
    Feature,
    GivenSplit,
    NumberFeature,
    RandomSplit,
    Split,
    TensorFeature,
    TimeSplit,
    unknown_column,
)
from pipelines.usecase.evaluation import Evaluation
from pipelines.usecase.gates import ChampionGate, GateSettings, LimitGate, SliceGate
from pipelines.usecase.operation import Drift, Monitoring, Quality, Retrain, Serving
from pipelines.usecase.pipeline import Pipeline, require_own_names
from pipelines.usecase.sources import FileSource, PythonSource, SourceSettings, SqlSource
from pipelines.usecase.strict import NAME_PATTERN, EntryPoint, Misfit, Param, Strict, Words

__all__ = [
    "MAX_NAME",
    "RESERVED_NAMES",
    "CategoryFeature",
    "ChampionGate",
    "Checks",
    "Data",
    "Drift",
    "Evaluation",
    "Feature",
    "FileSource",
    "GateSettings",
    "GivenSplit",
    "LimitGate",
    "Monitoring",
    "NumberFeature",
    "Owner",
    "PythonSource",
    "Quality",
    "RandomSplit",
    "Retrain",
    "Risk",
    "Serving",
    "SliceGate",
    "SourceSettings",
    "Split",
    "SqlSource",
    "TensorFeature",
    "TimeSplit",
    "Training",
    "UseCase",
    "is_name",
]

MAX_NAME = 40
RESERVED_NAMES = ("components",)  # folders of apps/ that are no use case


class Owner(Strict):
    """Who is responsible for the model. A use case without an accountable owner cannot be released."""

    team: Words = Field(description="The team that runs it.", examples=["operations-analytics"])
    contact: str = Field(
        min_length=3,
        description="How to reach a person, such as an email address.",
        examples=["ops-analytics@example.com"],
    )
    accountable: Words = Field(
        description="The role or person accountable for this model's decisions.", examples=["Head of Operations"]
    )


class Risk(Strict):
    """What can go wrong for people, and what is done about it (levels follow the EU AI Act)."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"level": {"const": "high"}}},
            "then": {
                "required": ["concerns", "mitigations"],
                "properties": {"concerns": {"minItems": 1}, "mitigations": {"minItems": 1}},
            },
        }
    )

    level: Literal["minimal", "limited", "high"] = Field(
        description="How much harm a wrong answer can do.", examples=["limited"]
    )
    concerns: list[Words] = Field(
        default=[], description="What can go wrong, and for whom.", examples=[["Small carriers have little data."]]
    )
    mitigations: list[Words] = Field(
        default=[], description="What is done about it.", examples=[["The gate looks at every carrier."]]
    )

    @model_validator(mode="after")
    def _a_high_risk_needs_mitigations(self) -> "Risk":
        if self.level == "high" and not (self.concerns and self.mitigations):
            missing = [name for name in ("concerns", "mitigations") if not getattr(self, name)]
            raise Misfit(f"a high risk needs {' and '.join(missing)}; name at least one of each", "level")
        return self


class Training(Strict):
    """How the model is trained."""

    train: EntryPoint = Field(description="The file and its function.", examples=["model.py:train"])
    params: dict[Words, Param] = Field(
        default={},
        description="Passed to train() unchanged, and tracked. A run may override some of them.",
        examples=[{"trees": 80, "learning_rate": 0.1}],
    )
    format: Words | None = Field(
        default=None,
        description="How the model is stored and served: `onnx`, or a format that an installed plugin offers. "
        "Left out, ONNX if the model can be converted to it.",
        examples=["onnx"],
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="Random seed.", examples=[42])

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, value: str | None) -> str | None:
        if value not in (None, "onnx", *plugin_names("model_formats")):
            known = ["onnx", *plugin_names("model_formats")]
            raise ValueError(f"{value!r} is not allowed{did_you_mean(str(value), known)}; allowed: {', '.join(known)}")
        return value


def _metrics_of_each_task() -> list[Any]:
    """For editors: a task allows its own metrics only."""
    rules = []
    for task in get_args(Task):
        named = {"properties": {"metric": {"enum": metrics_for(task)}}}
        rules.append(
            {
                "if": {"properties": {"task": {"const": task}}, "required": ["task"]},
                "then": {
                    "properties": {
                        "evaluation": {
                            "properties": {"metrics": {"items": {"enum": metrics_for(task)}}, "gates": {"items": named}}
                        },
                        "monitoring": {"properties": {"quality": named}},
                    }
                },
            }
        )
    return rules


class UseCase(Strict):
    """One use case: its purpose, who is responsible for it, its data, model, limits and size."""

    model_config = ConfigDict(json_schema_extra={"allOf": _metrics_of_each_task()})

    apiVersion: ApiVersion = Field(  # noqa: N815 - as files of Kubernetes name it
        description="The version of these keys. `mlops migrate` upgrades a file from an earlier version.",
        examples=[API_VERSION],
    )
    name: str = Field(
        pattern=NAME_PATTERN,
        max_length=MAX_NAME,
        description="The name of its folder in apps/.",
        examples=["flight-delays"],
    )
    purpose: str = Field(
        min_length=10,
        description="One sentence: which question the model answers, for whom or when.",
        examples=["Say before departure whether a flight will arrive more than 15 minutes late."],
    )
    owner: Owner = Field(description="Who is responsible for the model.")
    risk: Risk = Field(description="What can go wrong for people, and what is done about it.")
    task: Task = Field(description="The kind of answer the model gives.", examples=["classification"])
    data: Data = Field(description="The rows it learns from.")
    training: Training = Field(description="How it is trained.")
    pipeline: Pipeline = Field(default=Pipeline(), description="What its steps need in a cluster.")
    evaluation: Evaluation = Field(description="How a candidate is scored, and what it must pass to be released.")
    serving: Serving = Field(default=Serving(), description="The size of its server.")
    monitoring: Monitoring = Field(default=Monitoring(), description="What is monitored while it serves.")
    retrain: Retrain = Field(default=Retrain(), description="What triggers the pipeline automatically.")

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, value: str) -> str:
        if value in RESERVED_NAMES:
            raise ValueError(f"{value!r} is a folder of apps/ that is no use case; take another name")
        return value

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> "UseCase":
        for metric, path in self._named_metrics():
            _require_metric(metric, self.task, *path)
        for index, gate in enumerate(self.evaluation.gates):
            for metric, limit, path in gate.named_limits():
                _require_reachable(metric, limit, "evaluation", "gates", index, *path)
        return self

    @model_validator(mode="after")
    def _named_columns_exist(self) -> "UseCase":
        for column, path in self._named_slices():
            if column not in self.data.columns:
                raise Misfit(unknown_column(column, self.data.columns), *path)
            if isinstance(self.data.features.get(column), TensorFeature):
                raise Misfit(f"{column!r} is a tensor, whose values are no slices; name another column", *path)
        for index, name in enumerate(self.monitoring.drift.columns if self.monitoring.drift else []):
            if name not in self.data.features:
                features = list(self.data.features)
                raise Misfit(
                    f"{name!r} is no feature{did_you_mean(name, features)}; features: {', '.join(features)}",
                    "monitoring",
                    "drift",
                    "columns",
                    index,
                )
        return self

    @model_validator(mode="after")
    def _what_is_not_stored_is_not_watched(self) -> "UseCase":
        kept, drift = self.monitoring.store.columns, self.monitoring.drift
        known = list(dict.fromkeys([*self.data.features, *self.data.checks.unique]))
        for name, how in kept.items():
            if name not in known:
                raise Misfit(unknown_column(name, known), "monitoring", "store", "columns", name)
            if how != "store" and drift and name in drift.columns:
                raise Misfit(
                    f"{name!r} is not stored as it is ({how}), so its drift cannot be seen; take it out of one of both",
                    "monitoring",
                    "store",
                    "columns",
                    name,
                )
        return self

    @model_validator(mode="after")
    def _secrets_have_names_of_their_own(self) -> "UseCase":
        require_own_names(list(self.pipeline.secrets))
        return self

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> "UseCase":
        classes, positive = self.data.classes, self.evaluation.positive
        if self.task == "regression":
            if classes:
                raise Misfit("belongs to a classification; a regression has no classes", "data", "classes")
            if self.data.checks.min_share_per_class:
                raise Misfit(
                    "belongs to a classification; a regression has no classes", "data", "checks", "min_share_per_class"
                )
            if positive is not None:
                raise Misfit("belongs to a classification; a regression has no classes", "evaluation", "positive")
        if positive is not None and classes:
            if positive not in classes:
                raise Misfit(f"{positive!r} is none of data.classes {classes}", "evaluation", "positive")
            if len(classes) != 2:
                raise Misfit(
                    f"belongs to a classification of two; data.classes has {len(classes)}", "evaluation", "positive"
                )
        return self

    @model_validator(mode="after")
    def _what_retrains_is_watched(self) -> "UseCase":
        needs = {"drift": "drift", "quality": "quality", "missing-labels": "quality"}
        for index, reason in enumerate(self.retrain.on):
            if reason in needs and getattr(self.monitoring, needs[reason]) is None:
                raise Misfit(f"{reason} needs monitoring.{needs[reason]}, which watches it", "retrain", "on", index)
        return self

    @property
    def reported_metrics(self) -> list[str]:
        """Every metric that is asked for anywhere, each once."""
        return list(
            dict.fromkeys(
                [
                    *self.evaluation.metrics,
                    *(metric for gate in self.evaluation.gates for metric, _ in gate.named_metrics()),
                ]
            )
        )

    @property
    def reported_slices(self) -> list[str]:
        """Every column whose values are reported one by one."""
        return list(dict.fromkeys(column for column, _ in self._named_slices()))

    def _named_metrics(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        for index, metric in enumerate(self.evaluation.metrics):
            yield metric, ("evaluation", "metrics", index)
        for index, gate in enumerate(self.evaluation.gates):
            for metric, path in gate.named_metrics():
                yield metric, ("evaluation", "gates", index, *path)
        if self.monitoring.quality:
            yield self.monitoring.quality.metric, ("monitoring", "quality", "metric")

    def _named_slices(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        for index, column in enumerate(self.evaluation.slices):
            yield column, ("evaluation", "slices", index)
        for number, gate in enumerate(self.evaluation.gates):
            for column, path in gate.named_columns():
                yield column, ("evaluation", "gates", number, *path)


def _require_metric(name: str, task: Task, *path: str | int) -> None:
    try:
        info = find_metric(name)
    except PluginBroken as error:
        raise Misfit(error.message, *path) from error
    if info is None or info.task != task:
        allowed = all_metrics_for(task)
        guess = did_you_mean(name, allowed)
        raise Misfit(f"{name!r} is no metric for {task}{guess}; allowed: {', '.join(allowed)}", *path)


def _require_reachable(metric: str, limit: float, *path: str | int) -> None:
    info = find_metric(metric)
    if info and (why := info.outside(limit)):
        raise Misfit(why, *path)


def is_name(text: str) -> bool:
    """Whether it can name a use case: lower-case words joined by hyphens."""
    return bool(re.fullmatch(NAME_PATTERN[1:-1], text)) and len(text) <= MAX_NAME and text not in RESERVED_NAMES
