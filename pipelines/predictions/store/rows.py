"""What goes into the store, and what it says came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class PredictionRow:
    """One prediction. `inputs` is what the privacy rules have left of the instance."""

    id: str
    time: datetime
    inputs: dict[str, Any]
    output: dict[str, Any]
    label: str | None = None
    confidence: float | None = None
    value: float | None = None
    join_key: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where predictions come from: one release in one environment, and what its model takes and gives."""

    usecase: str
    environment: str
    bento: str
    model: str
    run: str
    commit: str | None
    signature: dict[str, Any]


@dataclass(frozen=True)
class Loss:
    """Predictions that came and could not be kept. The same `id` is counted once."""

    id: str
    reason: str
    count: int


@dataclass(frozen=True)
class Kept:
    """What came of a batch of predictions. `labelled`: their true value had come before them, by key."""

    stored: int
    duplicates: int
    labelled: int = 0


@dataclass(frozen=True)
class LabelRow:
    """One true value. `name` is a prediction's id or, in a batch by key, a join key."""

    name: str
    usecase: str
    value: Any
    observed_at: datetime


@dataclass(frozen=True)
class Labelled:
    """What came of a batch of labels, by their names.

    `pending` ones are kept, but no prediction is known for them yet. Of `contradicting` ones the first value stays.
    """

    accepted: int = 0
    duplicates: int = 0
    matched: int = 0
    contradicting: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Counts:
    """How much there is of a use case."""

    predictions: int
    labels: int
    pending_labels: int
    pending_keys: int
    conflicts: int
    losses: dict[str, int]
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class Expired:
    """How many rows were old enough to go. `is_complete`: none is left that should have gone, too."""

    predictions: int
    labels: int
    is_complete: bool


def sample_of(name: str) -> int:
    """An even hash of an id, 32 bits. Which rows a sample holds then hangs on nothing but their ids."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")
