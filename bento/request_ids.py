"""Every request has an id, the caller's X-Request-ID or a new one; it is in the answer and in log lines."""

import os
import re
from collections.abc import MutableMapping
from typing import Any

from bento.logs import about

HEADER = b"x-request-id"
# What may come back in a header and stand in a log line: no spaces, no quotes, no line ends, not too long.
ACCEPTED = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

Message = MutableMapping[str, Any]


def request_id_of(scope: Message) -> str:
    """The caller's id, or a new one of 32 hex digits."""
    for name, value in scope["headers"]:
        if name == HEADER and ACCEPTED.fullmatch(value):
            return str(value, "ascii")
    return os.urandom(16).hex()


def with_request_id(send: Any, request_id: str) -> Any:
    """`send`, which adds the id to the head of the response."""
    header = (HEADER, request_id.encode())

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), header]
        await send(message)

    return send_with_id


class RequestIds:
    """ASGI middleware: what is logged while a request is answered carries its id, and so does the answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        with about(request_id=request_id):
            await self.app(scope, receive, with_request_id(send, request_id))
