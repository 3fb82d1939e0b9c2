"""What others send: predictions from model servers, labels from people and jobs, alerts from Alertmanager, requests.

Every address takes the token when there is one. What is wrong is told as a problem document (RFC 9457); what may go
well later is told by 503 and Retry-After.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipelines.documents import SchemaTooNew
from pipelines.errors import MlopsError
from pipelines.logs import about
from pipelines.monitor.auth import Handler, RequestTooLarge, read_body, with_token
from pipelines.monitor.monitor import Monitor, utc_now
from pipelines.predictions.errors import UsecaseNotWatched
from pipelines.predictions.ingest import (
    LARGEST_SEGMENT,
    SegmentInvalid,
    SegmentTooLarge,
    SegmentTooNew,
    ingest,
)
from pipelines.predictions.labels import (
    LARGEST_BATCH,
    LabelsInvalid,
    LabelsTooMany,
    accept_labels,
    parse_batch,
)
from pipelines.predictions.store.errors import StoreUnavailable, StoreUnusable
from pipelines.retraining.alertmanager import AlertsInvalid, read_alerts
from pipelines.retraining.triggers import Trigger, TriggerRecord

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

LARGEST_WEBHOOK = 8 * 1024 * 1024
LARGEST_REQUEST = 64 * 1024
RETRY_SECONDS = 5
STATUS: dict[type[MlopsError], int] = {
    SegmentInvalid: 400,
    LabelsInvalid: 400,
    AlertsInvalid: 400,
    SegmentTooNew: 409,  # this one not now; others of the same server may be older
    SegmentTooLarge: 413,
    LabelsTooMany: 413,
    UsecaseNotWatched: 409,
    StoreUnavailable: 503,
    StoreUnusable: 503,  # too new, not upgraded, another one's: senders keep what they have until a person has looked
}

# Takes a body and its headers, gives what is answered as JSON. Runs in a thread: databases are slow.
Take = Callable[[bytes, "Request"], Any]


log = logging.getLogger(__name__)


class RequestInvalid(MlopsError):
    """The body does not say which run is wanted: HTTP 400."""


STATUS[RequestInvalid] = 400


def writing_routes(monitor: Monitor) -> list[Route]:
    """The addresses that change something."""
    from starlette.routing import Route

    takes: tuple[tuple[str, int, Take], ...] = (
        ("/predictions", LARGEST_SEGMENT, lambda body, request: _predictions(monitor, body, request)),
        ("/labels", LARGEST_BATCH, lambda body, _: _labels(monitor, body)),
        ("/alerts", LARGEST_WEBHOOK, lambda body, _: _alerts(monitor, body)),
        ("/triggers", LARGEST_REQUEST, lambda body, _: _trigger(monitor, body)),
        ("/evaluations", LARGEST_REQUEST, lambda _body, _request: _evaluate(monitor)),
    )
    token = monitor.settings.monitor_token
    return [Route(path, with_token(token, _handler(take, most)), methods=["POST"]) for path, most, take in takes]


def _handler(take: Take, most: int) -> Handler:
    async def handle(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        from bento.problems import problem

        try:
            body = await read_body(request, most)
        except RequestTooLarge:
            return problem(413, f"{request.url.path} takes at most {most} bytes at once")
        try:
            told = await run_in_threadpool(take, body, request)
        except MlopsError as error:
            return _refusal(error)
        return _json(told)

    return handle


def _refusal(error: MlopsError) -> Response:
    from bento.problems import problem

    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    answer = problem(status, error.line)
    if status == 503:
        answer.headers["retry-after"] = str(RETRY_SECONDS)
    if status >= 500:
        log.warning("%s", error.line)
    return answer


def _json(told: Any) -> Response:
    import orjson
    from starlette.responses import Response

    return Response(orjson.dumps(told), media_type="application/json")


def _predictions(monitor: Monitor, body: bytes, request: Request) -> Any:
    import dataclasses

    is_gzipped = request.headers.get("content-encoding") == "gzip"
    report = ingest(body, monitor.store, monitor.store_rules, utc_now(), is_gzipped=is_gzipped)
    return dataclasses.asdict(report)


def _labels(monitor: Monitor, body: bytes) -> Any:
    report = accept_labels(parse_batch(body), monitor.store, monitor.labelled, utc_now())
    return report.to_values()


def _alerts(monitor: Monitor, body: bytes) -> Any:
    alerts = read_alerts(body)
    requested = [monitor.request(trigger) for trigger in alerts.triggers]
    withdrawn = sum(monitor.dispatcher.withdraw(one.usecase, one.environment, one.fingerprint) for one in alerts.gone)
    for record in requested:
        with about(usecase=record.usecase, environment=record.environment, trigger=record.id):
            log.info("alert: %s: %s", record.sentence, record.state)
    return {"requests": [_told(record) for record in requested], "withdrawn": withdrawn, "ignored": alerts.ignored}


def _trigger(monitor: Monitor, body: bytes) -> Any:
    from pydantic import ValidationError

    try:
        trigger = Trigger.parse(body)
    except SchemaTooNew as error:
        raise RequestInvalid(error.message, hint=error.hint) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the body"
        raise RequestInvalid(
            f"{key}: {first['msg']}",
            hint='send {"usecase": …, "environment": …, "reason": "manual", "evidence": …, "fingerprint": …}',
        ) from None
    return _told(monitor.request(trigger))


def _evaluate(monitor: Monitor) -> Any:
    """A round now, whoever waits for it; the next regular one comes in its time."""
    found = monitor.rounds.hold(monitor.watch.look(), utc_now())
    return {"assessments": [one.model_dump(mode="json") for one in found.assessments], "problems": found.problems}


def _told(record: TriggerRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", include={"id", "usecase", "environment", "reason", "state", "note", "joined"})
