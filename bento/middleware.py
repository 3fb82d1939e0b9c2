"""What stands before BentoML's app in a server process: who is let in, and the farewell while draining."""

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from bento.app import METHODS, STANDBY, Elsewhere
from bento.logs import about
from bento.request_ids import request_id_of, with_request_id

if TYPE_CHECKING:
    from bento.tracing import Tracing

PROBES = ("/livez", "/readyz", "/healthz", "/metrics")
PATHS = frozenset({*METHODS, *PROBES})

Message = MutableMapping[str, Any]


class Edge:
    """Wraps the ASGI app.

    Unknown paths are answered here: BentoML would make metrics of each, and a scanner's thousand paths would stay in
    memory for ever. While `draining`, /readyz is 503 and every response closes its connection. What is asked in
    `standby` is a check, no client's request, and marked so in the scope. `routes` are other names for its paths.
    """

    def __init__(self, app: Any, routes: Mapping[str, str] | None = None, tracing: "Tracing | None" = None) -> None:
        self.app = _traced(app, tracing) if tracing else app
        self.routes = routes or {}
        self.elsewhere = Elsewhere()
        self.draining = False
        self.standby = False

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if path := self.routes.get(scope["path"]):
            scope["path"], scope["raw_path"] = path, path.encode()
        if self.standby:
            scope[STANDBY] = True
        request_id = request_id_of(scope)
        with about(request_id=request_id):
            await self._answer(scope, receive, with_request_id(send, request_id))

    async def _answer(self, scope: Message, receive: Any, send: Any) -> None:
        app = self.app if scope["path"] in PATHS else self.elsewhere
        if not self.draining:
            await app(scope, receive, send)
            return

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await (_not_ready if scope["path"] == "/readyz" else app)(scope, receive, send_and_close)


def _traced(app: Any, tracing: "Tracing") -> Any:
    """Loaded where traces are sent, and nowhere else."""
    from bento.traced_requests import TracedRequests

    return TracedRequests(app, tracing)


async def _not_ready(_: Message, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
