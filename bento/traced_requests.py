"""A span for each request to /predict: whose it is, how many rows, from which release, with which answer."""

from collections.abc import MutableMapping
from typing import Any

from bento.app import FACTS, STANDBY
from bento.logs import fact
from bento.tracing import Tracing, rollout_ids

TRACED = "/predict"
PROPAGATED = (b"traceparent", b"tracestate")

Message = MutableMapping[str, Any]


class TracedRequests:
    """ASGI middleware. The span joins the caller's trace, which `traceparent` names, and links to the rollout that
    brought the release. What the model's app knows of a request, it leaves in `scope[FACTS]`."""

    def __init__(self, app: Any, tracing: Tracing) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.app = app
        self._tracing = tracing
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != TRACED or STANDBY in scope:
            await self.app(scope, receive, send)
            return
        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in PROPAGATED}
        facts: dict[str, Any] = {}
        scope[FACTS] = facts
        status = 500

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        about = {"http.request.method": scope["method"], "http.route": TRACED, "mlops.request_id": fact("request_id")}
        caller = self._propagator.extract(carrier)
        with self._tracing.span(f"{scope['method']} {TRACED}", about, parent=caller, serves=True) as span:
            try:
                await self.app(scope, receive, send_and_see)
            finally:
                _describe(span, facts, status)


def _describe(span: Any, facts: dict[str, Any], status: int) -> None:
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    if "rows" in facts:
        span.set_attribute("mlops.rows", facts["rows"])
    release = facts.get("release", {})
    for key in ("bento", "model", "run", "environment", "commit"):
        if release.get(key):
            span.set_attribute(f"mlops.{key}", release[key])
    if not release.get("bento"):
        return
    usecase = str(release["bento"]).partition(":")[0]
    span.set_attribute("mlops.usecase", usecase)
    if release.get("commit") and release.get("environment"):
        ids = rollout_ids(usecase, release["environment"], release["commit"])
        span.add_link(SpanContext(ids.trace, ids.span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
