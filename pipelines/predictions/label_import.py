"""`mlops labels import`: a table of true values, batch by batch, to the monitor or straight into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pipelines.errors import MlopsError
from pipelines.predictions.label_files import label_batches
from pipelines.predictions.labels import LISTED, LabelReport, LabelRules, accept_labels, classes_of, parse_batch
from pipelines.predictions.privacy import store_rules
from pipelines.predictions.store.store import Store
from pipelines.settings import Settings
from pipelines.usecase import UsecaseNotFound, load_usecase

SOURCE = "import"
ANSWER_SECONDS = 60.0
AGAIN = "what was taken stays taken: the same import may be run again"

Send = Callable[[bytes], LabelReport]


class LabelsNotTaken(MlopsError):
    """The monitor did not take the labels."""


def import_labels(settings: Settings, path: Path, by: Literal["id", "join-key"], usecase: str | None) -> LabelReport:
    """Every true value of the file. To the monitor of MLOPS_MONITOR_URL; without one, into the store."""
    import orjson

    known = load_usecase(settings.root, usecase, settings.environment) if usecase else None
    total = LabelReport()
    with _receiver(settings) as (send, store):
        classes = None if known is None else classes_of(known, store) if store else known.data.classes
        for batch in label_batches(path, by, known, classes):
            total = add_reports(total, send(orjson.dumps(batch)))
    return total


def add_reports(one: LabelReport, other: LabelReport) -> LabelReport:
    """Both together; of the lists the first 20."""
    added = {name: getattr(one, name) + getattr(other, name) for name in LabelReport.model_fields}
    cut = {name: value[:LISTED] if isinstance(value, list) else value for name, value in added.items()}
    return LabelReport.model_validate(cut)


def watched_usecases(settings: Settings) -> Callable[[str], LabelRules | None]:
    """The use cases of the checkout, as `accept_labels` asks for them."""

    def watched(name: str) -> LabelRules | None:
        try:
            found = load_usecase(settings.root, name, settings.environment)
        except UsecaseNotFound:
            return None
        return LabelRules(found, store_rules(settings, found))

    return watched


@contextmanager
def _receiver(settings: Settings) -> Iterator[tuple[Send, Store | None]]:
    """Where batches go; the store, when they go straight into it."""
    if settings.monitor:
        with _monitor(settings) as send:
            yield send, None
        return
    store, watched = Store.open(settings.store), watched_usecases(settings)
    try:
        yield lambda body: accept_labels(parse_batch(body), store, watched, datetime.now(UTC), SOURCE), store
    finally:
        store.close()


@contextmanager
def _monitor(settings: Settings) -> Iterator[Send]:
    import httpx

    url = f"{settings.monitor}/labels"
    headers = {"content-type": "application/json"}
    if settings.monitor_token:
        headers["authorization"] = f"Bearer {settings.monitor_token}"
    with httpx.Client(headers=headers, timeout=ANSWER_SECONDS) as client:

        def send(body: bytes) -> LabelReport:
            try:
                answer = client.post(url, content=body)
            except httpx.HTTPError as error:
                raise LabelsNotTaken(f"{url}: {type(error).__name__} {error}", hint=AGAIN) from error
            if not answer.is_success:
                raise LabelsNotTaken(f"{url} answered {answer.status_code}: {answer.text[:300]}", hint=AGAIN)
            return LabelReport.parse(answer.content, url)

        yield send
