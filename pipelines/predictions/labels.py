"""True values, as they come late: in bulk, by prediction id or by join key, as often as somebody likes to send them.

    {"labels": [{"id": "flight-delays.7.01a1…", "value": true, "observed_at": "2026-11-21T12:00:00Z"}, …]}
    {"usecase": "flight-delays", "labels": [{"key": "2013-04-01T10:05:00Z|UA1545", "value": true}, …]}

A batch is taken as far as it is right: a label that is wrong is told by its index, and keeps no other one out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from bento.ids import parse_prediction_id
from bento.instances import LONGEST_KEY
from pipelines.documents import Document, Value
from pipelines.errors import MlopsError
from pipelines.predictions.errors import UsecaseNotWatched
from pipelines.predictions.privacy import StoreRules
from pipelines.predictions.store.rows import Labelled, LabelRow
from pipelines.usecase import UseCase

if TYPE_CHECKING:
    from pipelines.predictions.store.store import Store

MOST_LABELS = 10_000
LARGEST_BATCH = 8 * 1024 * 1024
MOST_AHEAD = timedelta(minutes=5)
LONGEST_TEXT = 1000
LISTED = 20
KEYS = {"id", "key", "value", "observed_at"}


class LabelsInvalid(MlopsError):
    """The batch as a whole is not what it must be: HTTP 400."""


class LabelsTooMany(MlopsError):
    """More labels or bytes than one batch may have: HTTP 413."""


class LabelWrong(Exception):
    """One label of a batch cannot be taken; the others can."""


@dataclass(frozen=True)
class LabelRules:
    """A use case whose labels are taken."""

    usecase: UseCase
    rules: StoreRules


class LabelFault(Value):
    """What is wrong with one label of a batch; `index` counts from 0."""

    index: int
    name: str | None
    detail: str


class LabelReport(Document):
    """What came of a batch. Lists hold the first 20; the numbers count all.

    `matched`: predictions that have a true value now. `pending`: taken, and no prediction is known for it yet.
    `contradicting`: there is another value already, which stays.
    """

    KIND = "label-report"

    accepted: int = 0
    duplicates: int = 0
    matched: int = 0
    pending: int = 0
    contradicting: int = 0
    invalid: int = 0
    pending_names: list[str] = []
    contradicting_names: list[str] = []
    faults: list[LabelFault] = []


@dataclass(frozen=True)
class LabelBatch:
    """A batch that was read, its labels not looked at yet."""

    by: Literal["id", "key"]
    labels: list[Any]
    usecase: str | None = None


def parse_batch(body: bytes) -> LabelBatch:
    """Raises LabelsInvalid and LabelsTooMany."""
    import orjson

    if len(body) > LARGEST_BATCH:
        raise LabelsTooMany(f"a batch has at most {LARGEST_BATCH} bytes; this one has {len(body)}; send several")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise LabelsInvalid(f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("labels"), list):
        raise LabelsInvalid('the body must be an object with a list: {"labels": [...]}')
    strangers = sorted(document.keys() - {"labels", "usecase"})
    if strangers:
        raise LabelsInvalid(f'unknown key "{strangers[0][:40]}"; the keys are "labels" and "usecase"')
    labels, usecase = document["labels"], document.get("usecase")
    if len(labels) > MOST_LABELS:
        raise LabelsTooMany(f"a batch has at most {MOST_LABELS} labels; this one has {len(labels)}; send several")
    if not labels:
        raise LabelsInvalid('"labels" is empty; send at least one')
    if usecase is not None and not isinstance(usecase, str):
        raise LabelsInvalid('"usecase" must be a text')
    is_by_key = any(isinstance(label, dict) and "key" in label for label in labels)
    if is_by_key and usecase is None:
        raise LabelsInvalid('labels by key need "usecase", the name of the use case')
    return LabelBatch("key" if is_by_key else "id", labels, usecase)


def accept_labels(
    batch: LabelBatch, store: Store, watched: Callable[[str], LabelRules | None], now: datetime, source: str = "api"
) -> LabelReport:
    """Store what is right of a batch. `watched` gives a use case by its name, None for one that is not known.

    Raises UsecaseNotWatched for a batch by key, and what the store raises.
    """
    if batch.by == "key" and watched(batch.usecase or "") is None:
        raise UsecaseNotWatched(f"use case {batch.usecase!r} is not watched here")
    judge = _Judge(batch, store, watched, now)
    rows, names, faults = [], {}, []
    for index, label in enumerate(batch.labels):
        try:
            row, name = judge.read(label)
        except LabelWrong as error:
            faults.append(LabelFault(index=index, name=_name_of(label), detail=str(error)))
            continue
        rows.append(row)
        names[row.name] = name
    save = store.save_key_labels if batch.by == "key" else store.save_labels
    return _report(save(rows, source, now), names, faults)


class _Judge:
    """Reads one label after the other; a LabelWrong says what is wrong with it."""

    def __init__(
        self, batch: LabelBatch, store: Store, watched: Callable[[str], LabelRules | None], now: datetime
    ) -> None:
        self.batch, self.store, self.now = batch, store, now
        self._watched = watched
        self._known: dict[str, tuple[LabelRules, list[Any] | None]] = {}

    def read(self, label: Any) -> tuple[LabelRow, str]:
        """The row, and the name by which the sender knows it."""
        if not isinstance(label, dict):
            raise LabelWrong("is no object; expected id or key, and value")
        strangers = sorted(label.keys() - KEYS)
        if strangers:
            raise LabelWrong(f'unknown key "{strangers[0][:40]}"; the keys are {", ".join(sorted(KEYS))}')
        if "value" not in label:
            raise LabelWrong("has no value")
        usecase, name = self._usecase_and_name(label)
        watched, classes = self._about(usecase)
        check_value(label["value"], watched.usecase.task, classes)
        observed = self._observed(label.get("observed_at"))
        stored = name if self.batch.by == "id" else watched.rules.join_key(name)
        if stored is None:
            raise LabelWrong("monitoring.store drops a column of the key, so that no prediction can be found by it")
        return LabelRow(name=stored, usecase=usecase, value=label["value"], observed_at=observed), name

    def _usecase_and_name(self, label: dict[str, Any]) -> tuple[str, str]:
        by = self.batch.by
        if by not in label:
            raise LabelWrong(f"has no {by}")
        if "id" in label and "key" in label:
            raise LabelWrong("has both id and key; a batch is by one of them")
        name = label[by]
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_KEY:
            raise LabelWrong(f"its {by} must be a text of 1 to {LONGEST_KEY} characters")
        if by == "key":
            return self.batch.usecase or "", name.replace("\0", "\ufffd")  # as in the predictions' keys
        parsed = parse_prediction_id(name)
        if parsed is None:
            raise LabelWrong("its id is none of a prediction")
        if self.batch.usecase not in (None, parsed.usecase):
            raise LabelWrong(f"its id is one of {parsed.usecase}, and the batch says {self.batch.usecase}")
        return parsed.usecase, name

    def _about(self, usecase: str) -> tuple[LabelRules, list[Any] | None]:
        if usecase not in self._known:
            watched = self._watched(usecase)
            if watched is None:
                raise LabelWrong(f"use case {usecase} is not watched here")
            self._known[usecase] = watched, classes_of(watched.usecase, self.store)
        return self._known[usecase]

    def _observed(self, told: Any) -> datetime:
        if told is None:
            return self.now
        try:
            observed = datetime.fromisoformat(told) if isinstance(told, str) else None
        except ValueError:
            observed = None
        if observed is None or observed.tzinfo is None:
            raise LabelWrong("observed_at must be a time with its zone, such as 2026-11-21T12:00:00Z")
        try:
            observed = observed.astimezone(UTC)
        except (OverflowError, ValueError):
            raise LabelWrong("observed_at is no time that a calendar has") from None
        if observed > self.now + MOST_AHEAD:
            minutes = int(MOST_AHEAD.total_seconds() // 60)
            raise LabelWrong(f"observed_at is in the future; at most {minutes} minutes are allowed for a clock")
        return observed


def classes_of(usecase: UseCase, store: Store) -> list[Any] | None:
    """The target's classes: as the released model has them, or as usecase.yaml says; None where nobody knows yet."""
    if usecase.task != "classification":
        return None
    signature = store.signature(usecase.name)
    if signature and signature.get("classes"):
        return list(signature["classes"])
    return list(usecase.data.classes) if usecase.data.classes else None


def check_value(value: Any, task: str, classes: list[Any] | None) -> None:
    """Raises LabelWrong for what cannot be a true value of this task. Nothing is converted: 1 is not true."""
    if task != "classification":
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise LabelWrong("its value must be a finite number")
        return
    if not isinstance(value, bool | int | str):
        raise LabelWrong("its value must be a class: a text, a whole number, true or false")
    if classes is None:
        if isinstance(value, str) and not 0 < len(value) <= LONGEST_TEXT:
            raise LabelWrong(f"its value must have 1 to {LONGEST_TEXT} characters")
        return
    if not any(type(value) is type(name) and value == name for name in classes):
        import orjson

        allowed = ", ".join(orjson.dumps(name).decode() for name in classes[:LISTED])
        raise LabelWrong(f"its value is no class of the model; allowed: {allowed}")


def _report(done: Labelled, names: Mapping[str, str], faults: list[LabelFault]) -> LabelReport:
    return LabelReport(
        accepted=done.accepted,
        duplicates=done.duplicates,
        matched=done.matched,
        pending=len(done.pending),
        contradicting=len(done.contradicting),
        invalid=len(faults),
        pending_names=[names[name] for name in done.pending[:LISTED]],
        contradicting_names=[names[name] for name in done.contradicting[:LISTED]],
        faults=faults[:LISTED],
    )


def _name_of(label: Any) -> str | None:
    found = (label.get("id") or label.get("key")) if isinstance(label, dict) else None
    return found[:LONGEST_KEY] if isinstance(found, str) else None
