"""The model's HTTP API as an ASGI app. BentoML mounts it beside its own probes and metrics."""

import logging
from typing import TYPE_CHECKING

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bento.faults import InvalidBody, InvalidInstances
from bento.instances import parse_bytes, parse_json
from bento.messages import cut
from bento.problems import invalid_body, invalid_instances, problem

if TYPE_CHECKING:
    from bento.predictor import Predictor
    from bento.recording.recorder import Recorder

DEFAULT_BODY_LIMIT = 16 * 1024 * 1024
METHODS = {"/predict": "POST", "/signature": "GET", "/openapi.json": "GET"}
API = ", ".join(f"{method} {path}" for path, method in METHODS.items())
PARSERS = {"application/json": parse_json, "application/octet-stream": parse_bytes}
STANDBY = "mlops.standby"
FACTS = "mlops.facts"  # what is known of a request, for whoever describes it

log = logging.getLogger("bento")


class BodyTooLarge(Exception):
    """More bytes than a request may have."""


class ModelApp:
    """`app` answers once `predictor` is set; before that it says 503. What it answers is kept by `recorder`."""

    def __init__(self, body_limit: int = DEFAULT_BODY_LIMIT) -> None:
        self.predictor: Predictor | None = None
        self.recorder: Recorder | None = None
        self.body_limit = body_limit
        self.app = Starlette(
            routes=[
                Route("/predict", self.predict, methods=["POST"]),
                Route("/signature", self.signature, methods=["GET"]),
                Route("/openapi.json", self.openapi, methods=["GET"]),
                Route("/{path:path}", Elsewhere()),
            ],
            exception_handlers={Exception: _unexpected},
        )

    async def predict(self, request: Request) -> Response:  # noqa: PLR0911 - one a kind of fault
        """POST /predict"""
        if self.predictor is None:
            return problem(503, "the model is not loaded yet; ask /readyz")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        parse = PARSERS.get(content_type)
        if parse is None:
            return problem(415, f"content type '{cut(content_type)}'; send {' or '.join(PARSERS)}")
        try:
            body = await self._body(request)
            columns = parse(body, self.predictor.signature)
        except BodyTooLarge:
            return problem(413, f"the body is larger than {self.body_limit} bytes; send fewer instances at a time")
        except InvalidBody as error:
            return invalid_body(str(error))
        except InvalidInstances as error:
            return invalid_instances(error.faults)
        except ClientDisconnect:
            return Response(status_code=499)
        try:
            answer = self.predictor.answer(columns)
        except Exception:
            log.exception("the model failed on a valid request")
            return problem(500, "the model failed on this request; the server's log says why")
        if (facts := request.scope.get(FACTS)) is not None:
            facts.update(rows=len(next(iter(columns.values()))), release=self.predictor.release)
        if self.recorder is not None and STANDBY not in request.scope:
            self.recorder.record(content_type, body, answer, len(next(iter(columns.values()))))
        return Response(answer, media_type="application/json")

    async def signature(self, _: Request) -> Response:
        """GET /signature"""
        if self.predictor is None:
            return problem(503, "the model is not loaded yet; ask /readyz")
        return Response(self.predictor.signature.to_json(indent=2), media_type="application/json")

    async def openapi(self, _: Request) -> Response:
        """GET /openapi.json"""
        from bento.openapi import describe

        if self.predictor is None:
            return problem(503, "the model is not loaded yet; ask /readyz")
        return Response(
            orjson.dumps(describe(self.predictor), option=orjson.OPT_INDENT_2), media_type="application/json"
        )

    async def _body(self, request: Request) -> bytes:
        """The whole body; refused as soon as it is known to be too large, read or not."""
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self.body_limit:
            raise BodyTooLarge
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.body_limit:
                raise BodyTooLarge
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Elsewhere:
    """Answers what no route takes, in any method. BentoML asks the mounted app only for paths that match a route."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], METHODS.get(scope["path"])
        if method is None:
            answer = problem(404, f"{cut(path)} does not exist; the API is {API}")
        else:
            answer = problem(405, f"{path} takes {method}, not {scope['method']}")
            answer.headers["allow"] = method
        await answer(scope, receive, send)


async def _unexpected(_: Request, __: Exception) -> Response:
    return problem(500, "the server failed on this request; its log says why")
