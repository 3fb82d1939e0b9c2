"""Who may write to the monitor, and how much at once. Reading is free to whoever can reach it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pipelines.errors import MlopsError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Handler = Callable[["Request"], Awaitable["Response"]]


class MonitorOpen(MlopsError):
    """The monitor would take predictions, labels and alerts from anybody in the network."""


class RequestTooLarge(Exception):
    """More bytes than this address takes."""


def require_closed(host: str, token: str) -> None:
    """Without a token only this machine may write. Raises MonitorOpen."""
    if not token and host not in LOOPBACK:
        raise MonitorOpen(
            f"on {host} anybody in the network could start runs: MLOPS_MONITOR_TOKEN is not set",
            hint="set it to a long secret, the same for model servers and Alertmanager; or listen on 127.0.0.1",
        )


def with_token(token: str, handler: Handler) -> Handler:
    """Lets in who has the token; without one, everybody."""
    wanted = f"Bearer {token}".encode()

    async def guarded(request: Request) -> Response:
        from bento.problems import problem

        given = request.headers.get("authorization", "").encode()
        if token and not secrets.compare_digest(given, wanted):
            answer = problem(401, "the header Authorization must be `Bearer <MLOPS_MONITOR_TOKEN>`")
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        return await handler(request)

    return guarded


async def read_body(request: Request, most: int) -> bytes:
    """The whole body, never more of it in memory than allowed. Raises BodyTooLarge."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise RequestTooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise RequestTooLarge
    return bytes(body)
