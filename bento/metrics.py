"""Metrics of a model server, each registered once in a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Metric = TypeVar("Metric")
_registered: dict[str, tuple[Any, tuple[str, ...]]] = {}


def register(kind: type[Metric], name: str, meaning: str, labels: Sequence[str] = ()) -> Metric:
    """The process's metric of this name, made at the first call.

    Prometheus' registry refuses a name that it has, and tests load a second model into one process.
    """
    if name not in _registered:
        _registered[name] = kind(name, meaning, labels), tuple(labels)  # type: ignore[call-arg]
    metric: Metric = _registered[name][0]
    return metric


def registered_labels() -> dict[str, tuple[str, ...]]:
    """Every metric registered here so far, and the names of its labels."""
    return {name: labels for name, (_, labels) in _registered.items()}
