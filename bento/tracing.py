"""Traces by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector; elsewhere nothing of it is imported.

Some spans must be found by others that never meet them: a step's by its run, a rollout's by the requests that are
answered since. Their ids are made of names that both know (`run_ids`, `rollout_ids`), so nothing has to be handed on.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import SecretStr

from bento.logs import about
from bento.variables import Variables, variable

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

Attributes = Mapping[str, str | int | float | bool | None]

CLOSE_SECONDS = 3.0

log = logging.getLogger("bento")


class TracingVariables(Variables):
    """Read by pipeline steps, the reconciler and model servers. They need the extra `tracing`, which images for
    serving hold; every other variable of OpenTelemetry's works as its documentation says."""

    title: ClassVar[str] = "Traces"

    endpoint: str = variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "A collector that takes OTLP over HTTP, as in `http://collector:4318`.",
        also=("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",),
        shown="none: no traces",
    )
    headers: SecretStr | None = variable(
        "OTEL_EXPORTER_OTLP_HEADERS", None, "The collector's login, as `key=value`, with commas between.", file=False
    )
    is_off: bool = variable("OTEL_SDK_DISABLED", False, "Yes: no traces, whatever the endpoint.")
    sampler: str = variable(
        "OTEL_TRACES_SAMPLER", "parentbased_always_on", "Which traces are kept where the caller has not decided."
    )


class SpanIds(NamedTuple):
    """Trace and span, as OpenTelemetry counts them: 128 and 64 bits, not zero."""

    trace: int
    span: int


def run_ids(run_id: str) -> SpanIds:
    """The span of a pipeline run; its steps are below it, wherever they run."""
    return _ids_of("run", run_id)


def rollout_ids(usecase: str, environment: str, commit: str) -> SpanIds:
    """The span of a release commit's rollout."""
    return _ids_of("rollout", f"{usecase}/{environment}@{commit}")


def _ids_of(kind: str, name: str) -> SpanIds:
    digest = hashlib.sha256(f"{kind}:{name}".encode()).digest()
    return SpanIds(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1)


def start_tracing(service: str, attributes: Attributes | None = None) -> "Tracing | None":
    """What this process makes spans with; None where no endpoint is set, or what it takes is not installed."""
    given = TracingVariables.load()
    if not given.endpoint or given.is_off:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning("no traces are sent: %s; the extra `tracing` has what they take", error)
        return None
    ids = _Ids()
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins over what is said here.
    from_environment = OTELResourceDetector().detect()
    resource = Resource.create({"service.name": service, **_known(attributes)}).merge(from_environment)
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)  # type: ignore[arg-type]
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider, ids)


class Tracing:
    """Makes spans and sends them from a thread of its own; whatever cannot be sent is dropped."""

    def __init__(self, provider: "TracerProvider", ids: "_Ids") -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("mlops-blueprint")

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        ids: SpanIds | None = None,
        parent: "SpanIds | Context | None" = None,
        links: Sequence[SpanIds] = (),
        serves: bool = False,
    ) -> Iterator["Span"]:
        """A span around what is done inside; an exception that leaves it marks it failed. Log lines name its trace.

        Args:
            name: what is done, without what tells one from the other.
            attributes: what tells them apart; those that are None are left out.
            ids: its own ids, where others must know them.
            parent: the span above it, or the context of a caller.
            links: spans that led to it.
            serves: whether it answers a request.
        """
        from opentelemetry.trace import Link, SpanKind, use_span

        with self._ids.fixed(ids):
            span = self._tracer.start_span(
                name,
                context=_context(parent),
                kind=SpanKind.SERVER if serves else SpanKind.INTERNAL,
                attributes=_known(attributes),
                links=[Link(_span_context(link)) for link in links],
            )
        with use_span(span, end_on_exit=True), about(trace_id=f"{span.get_span_context().trace_id:032x}"):
            yield span

    def record(
        self, name: str, attributes: Attributes, ids: SpanIds, seconds: tuple[float, float], failed: str | None = None
    ) -> None:
        """A span of what is over: `seconds` since the epoch when it began and ended, `failed` why it did."""
        from opentelemetry.context import Context
        from opentelemetry.trace import Status, StatusCode

        began, ended = (int(moment * 1e9) for moment in seconds)
        with self._ids.fixed(ids):
            span = self._tracer.start_span(name, context=Context(), attributes=_known(attributes), start_time=began)
        if failed:
            span.set_status(Status(StatusCode.ERROR, failed))
        span.end(ended)

    def close(self) -> None:
        """Send what is left. A collector that does not answer holds nobody up for more than three seconds."""
        thread = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        thread.start()
        thread.join(CLOSE_SECONDS)


class _Ids:
    """OpenTelemetry's random ids, except where the next span's are given."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        self._random = RandomIdGenerator()
        self._next: ContextVar[SpanIds | None] = ContextVar("next", default=None)

    @contextlib.contextmanager
    def fixed(self, ids: SpanIds | None) -> Iterator[None]:
        """Within this, a span has these ids."""
        token = self._next.set(ids)
        try:
            yield
        finally:
            self._next.reset(token)

    def generate_trace_id(self) -> int:
        given = self._next.get()
        return given.trace if given else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        given = self._next.get()
        return given.span if given else self._random.generate_span_id()

    def is_trace_id_random(self) -> bool:
        return False


def _context(parent: "SpanIds | Context | None") -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    if isinstance(parent, SpanIds):
        return set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())
    return parent if parent is not None else Context()


def _span_context(ids: SpanIds) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(ids.trace, ids.span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _known(attributes: Attributes | None) -> dict[str, str | int | float | bool]:
    return {key: value for key, value in (attributes or {}).items() if value is not None}
