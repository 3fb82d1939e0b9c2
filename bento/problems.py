"""Errors as RFC 9457 problem documents."""

from collections.abc import Sequence
from http import HTTPStatus

import orjson
from starlette.responses import Response

from bento.faults import Fault
from bento.logs import fact

CONTENT_TYPE = "application/problem+json"
INVALID_INSTANCES = "urn:mlops:problem:invalid-instances"
INVALID_BODY = "urn:mlops:problem:invalid-body"


def problem(
    status: int, detail: str, *, kind: str = "about:blank", title: str | None = None, faults: Sequence[Fault] = ()
) -> Response:
    """The response; `errors` lists instance, field and detail of each fault, `request_id` names it in the log."""
    document = {"type": kind, "title": title or HTTPStatus(status).phrase, "status": status, "detail": detail}
    if request_id := fact("request_id"):
        document["request_id"] = request_id
    if faults:
        document["errors"] = [fault.as_json() for fault in faults]  # type: ignore[assignment]
    return Response(orjson.dumps(document), status_code=status, media_type=CONTENT_TYPE)


def invalid_body(detail: str) -> Response:
    return problem(400, detail, kind=INVALID_BODY, title="The body is not what this model takes")


def invalid_instances(faults: Sequence[Fault]) -> Response:
    first = faults[0]
    place = f"instance {first.instance}" + (f", field {first.field}" if first.field else "")
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return problem(
        400,
        f"{place}: {first.detail}{more}",
        kind=INVALID_INSTANCES,
        title="Instances do not fit the model's signature",
        faults=faults,
    )
