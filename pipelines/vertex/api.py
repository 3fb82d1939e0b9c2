"""Vertex AI's REST API, as far as it is used here: requests with retries, pages, long-running operations.

What may be asked twice is asked again after a failure. A change whose answer was lost is not: it may have happened,
so AnswerLost is raised and the caller looks before it asks again.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bento.backoff import Backoff
from pipelines.vertex import errors
from pipelines.vertex.access import TokenSource, VertexVariables, require_safe, token_source
from pipelines.vertex.refusals import explain, seconds_to_wait

if TYPE_CHECKING:
    import httpx

VertexResponse = dict[str, Any]

TRIES = 4
FIRST_PAUSE, LONGEST_WAIT = 1.0, 60.0
LONGEST_POLL = 15.0
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
NOT_DONE = (429, 503)  # the API says that it did nothing
BUSY = (500, 502, 503, 504)


@dataclass
class VertexApi:
    """One project and region. `pause`: the first wait before something is asked again; the next ones grow."""

    project: str
    region: str
    address: str
    token: TokenSource = field(repr=False)
    pause: float = field(default_factory=lambda: FIRST_PAUSE)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    _client: "httpx.Client | None" = field(default=None, repr=False)

    @classmethod
    def of(cls, project: str, region: str, environ: Mapping[str, str] | None = None) -> "VertexApi":
        """The region's own address, or the one that MLOPS_VERTEX_API names."""
        given = VertexVariables.load(environ).api
        address = (given or f"https://{region}-aiplatform.googleapis.com").rstrip("/")
        require_safe(address)
        return cls(project, region, address, token_source(environ))

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    def name(self, collection: str, resource: str) -> str:
        """`projects/p/locations/r/endpoints/flight-delays-staging`"""
        return f"{self.parent}/{collection}/{resource}"

    def find(self, name: str) -> VertexResponse | None:
        """A resource, None when it is not there."""
        try:
            return self.ask("GET", name)
        except errors.VertexNotFound:
            return None

    def each(self, parent: str, collection: str, **params: str) -> Iterator[VertexResponse]:
        """Every item of all pages."""
        page: dict[str, str] = {}
        while True:
            answer = self.ask("GET", f"{parent}/{collection}", params={**params, **page})
            yield from answer.get(collection, [])
            if not answer.get("nextPageToken"):
                return
            page = {"pageToken": answer["nextPageToken"]}

    def ask(
        self, method: str, path: str, body: VertexResponse | None = None, params: Mapping[str, str] | None = None
    ) -> VertexResponse:
        """One request, tried again where that can do no harm. Raises the errors of pipelines.vertex.errors."""
        import httpx

        backoff, asked_for = Backoff(self.pause), 0.0
        for attempt in range(TRIES):
            if attempt:
                self.sleep(max(backoff.pause(attempt), asked_for))
            last, asked_for = attempt == TRIES - 1, 0.0
            try:
                answer = self._send(method, path, body, params)
            except httpx.TransportError as error:
                happened = method != "GET" and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if happened or last:
                    raise self._silent(f"{error or type(error).__name__}", happened) from None
            else:
                if answer.is_success:
                    return self._read(answer)
                again = answer.status_code in NOT_DONE or (method == "GET" and answer.status_code in BUSY)
                asked_for = seconds_to_wait(answer)
                if not again or last or asked_for > LONGEST_WAIT:
                    raise explain(answer, method, path)
        raise AssertionError  # the last try has raised

    def wait(self, operation: VertexResponse, seconds: float) -> VertexResponse:
        """What a long-running operation ends with. Raises OperationFailed or OperationTooLong."""
        deadline, backoff, looks = time.monotonic() + seconds, Backoff(self.pause, LONGEST_POLL, factor=1.5), 0
        while not operation.get("done"):
            looks += 1
            if time.monotonic() > deadline:
                raise errors.OperationTooLong(
                    f"{operation['name']} has not ended within {seconds:.0f} s; it goes on",
                    hint="run this again: it goes on from what is there then",
                )
            self.sleep(backoff.pause(looks))
            operation = self.ask("GET", operation["name"])
        if error := operation.get("error"):
            raise errors.OperationFailed(
                f"Vertex AI gave up: {error.get('message') or 'no reason is told'} (code {error.get('code')}, "
                f"operation {operation['name'].rpartition('/')[2]})",
                hint="what served before still serves; its log is in Cloud Logging, resource aiplatform.googleapis.com",
            )
        return operation.get("response", {})  # type: ignore[no-any-return]

    def running(self, resource: str) -> list[VertexResponse]:
        """The operations on a resource that have not ended; none where the resource is not there."""
        try:
            return [found for found in self.each(resource, "operations") if not found.get("done")]
        except errors.VertexNotFound:
            return []

    def _send(
        self, method: str, path: str, body: VertexResponse | None, params: Mapping[str, str] | None
    ) -> "httpx.Response":
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))
        headers = {"Authorization": f"Bearer {self.token()}", "User-Agent": "mlops-blueprint"}
        url = f"{self.address}/v1/{path}"
        return self._client.request(method, url, json=body, params=dict(params or {}), headers=headers)

    def _read(self, answer: "httpx.Response") -> VertexResponse:
        try:
            return answer.json()  # type: ignore[no-any-return]
        except ValueError:
            raise errors.VertexUnreachable(
                f"{self.address} answered with no JSON", hint="is MLOPS_VERTEX_API the address of the API?"
            ) from None

    def _silent(self, why: str, happened: bool) -> errors.VertexUnreachable:
        kind = errors.AnswerLost if happened else errors.VertexUnreachable
        return kind(f"{self.address} does not answer: {why}", hint="is the network up? Run this again")
