"""A stand-in for Kubeflow Pipelines' API server, which cannot be had here: its REST calls over HTTP on loopback.

What it is sent and what it answers goes through kfp_server_api's own models, so a field that the real server does not
have is an error here too. It schedules nothing: a test says what a run does, by a function that works on a FakeRun.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import kfp_server_api as server

CLIENT = server.ApiClient(server.Configuration())


def checked(kind: str, document: dict[str, Any]) -> Any:
    """The document as one of the API's models; a key that it does not have is refused, as the real server does."""
    model = getattr(server, kind)
    strangers = set(document) - set(model.attribute_map.values())
    if strangers:
        raise Refused(400, f"unknown field {sorted(strangers)[0]!r} in {kind}")
    return CLIENT.deserialize(_Response(json.dumps(document)), kind)


def plain(model: Any) -> dict[str, Any]:
    """A model as the JSON that the server answers."""
    found: dict[str, Any] = CLIENT.sanitize_for_serialization(model)
    return found


@dataclass
class _Response:
    data: str


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class FakeRun:
    """A run; the script moves its steps on."""

    run: Any
    terminated: threading.Event = field(default_factory=threading.Event)
    retried: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)

    @property
    def request(self) -> dict[str, Any]:
        asked: dict[str, Any] = self.run.runtime_config.parameters["request"]
        return asked

    def begin(self, step: str) -> None:
        self.details[step] = server.V2beta1PipelineTaskDetail(
            run_id=self.run.run_id,
            task_id=f"task-{step}",
            display_name=step,
            start_time=datetime.now(UTC),
            state="RUNNING",
            child_tasks=[server.PipelineTaskDetailChildTask(pod_name=f"pod-{step}")],
        )

    def end(self, step: str, state: str = "SUCCEEDED", error: str = "", log: str = "") -> None:
        if step not in self.details:
            self.begin(step)
        detail = self.details[step]
        detail.state, detail.end_time = state, datetime.now(UTC)
        if error:
            detail.error = server.GoogleRpcStatus(code=2, message=error)
        self.logs[f"pod-{step}"] = log

    def finish(self, state: str, error: str = "") -> None:
        self.run.state, self.run.finished_at = state, datetime.now(UTC)
        if error:
            self.run.error = server.GoogleRpcStatus(code=2, message=error)


Script = Callable[[FakeRun], None]


@dataclass
class FakeKubeflow:
    """What is delivered, what was started, and how it says no."""

    script: Script
    token: str = ""
    url: str = ""
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, list[Any]] = field(default_factory=dict)
    runs: dict[str, FakeRun] = field(default_factory=dict)
    answers: list[tuple[int, str]] = field(default_factory=list)

    def deliver(self, objects: list[dict[str, Any]]) -> None:
        """A Pipeline and its PipelineVersion, as Flux applies them."""
        for found in objects:
            name, spec = found["metadata"]["name"], found["spec"]
            if found["kind"] == "Pipeline":
                known = self.pipelines.get(name)
                self.pipelines[name] = server.V2beta1Pipeline(
                    pipeline_id=known.pipeline_id if known else str(uuid4()),
                    name=name,
                    display_name=spec["displayName"],
                    tags=spec["tags"],
                )
            else:
                version = server.V2beta1PipelineVersion(
                    pipeline_id=self.pipelines[spec["pipelineName"]].pipeline_id,
                    pipeline_version_id=str(uuid4()),
                    name=name,
                    display_name=spec["displayName"],
                    created_at=datetime.now(UTC),
                    pipeline_spec=spec["pipelineSpec"],
                )
                self.versions.setdefault(version.pipeline_id, []).insert(0, version)

    def let_in(self, authorization: str | None) -> None:
        if self.token and authorization != f"Bearer {self.token}":
            raise Refused(401, "no valid token")

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        if self.answers:
            raise Refused(*self.answers.pop(0))
        for pattern, verb, handle in (
            (r"/apis/v2beta1/pipelines/names/([^/]+)", "GET", self._pipeline),
            (r"/apis/v2beta1/pipelines/([^/]+)/versions", "GET", self._versions),
            (r"/apis/v2beta1/runs", "POST", lambda: self._start(body)),
            (r"/apis/v2beta1/runs", "GET", lambda: self._list(query)),
            (r"/apis/v2beta1/runs/([^/:]+)", "GET", self._run),
            (r"/apis/v2beta1/runs/([^/:]+):terminate", "POST", self._terminate),
            (r"/apis/v2beta1/runs/([^/:]+):retry", "POST", self._retry),
            (r"/apis/v1alpha1/runs/([^/:]+)/nodes/([^/]+)/log", "GET", self._log),
        ):
            match = re.fullmatch(pattern, path)
            if match and verb == method:
                return handle(*match.groups())
        raise Refused(404, f"no route {method} {path}")

    def _pipeline(self, name: str) -> Any:
        if name not in self.pipelines:
            raise Refused(404, f"Pipeline {name} not found")
        return self.pipelines[name]

    def _versions(self, pipeline: str) -> Any:
        return server.V2beta1ListPipelineVersionsResponse(pipeline_versions=self.versions.get(pipeline, []))

    def _start(self, body: dict[str, Any]) -> Any:
        run = checked("V2beta1Run", body)
        reference = run.pipeline_version_reference
        versions = self.versions.get(reference.pipeline_id, [])
        if reference.pipeline_version_id not in [version.pipeline_version_id for version in versions]:
            raise Refused(404, "PipelineVersion not found")
        wanted = next(each for each in versions if each.pipeline_version_id == reference.pipeline_version_id)
        declared = wanted.pipeline_spec["root"]["inputDefinitions"]["parameters"]
        if set(run.runtime_config.parameters) != set(declared):
            raise Refused(400, f"parameters are {sorted(declared)}")
        run.run_id, run.state, run.created_at = str(uuid4()), "RUNNING", datetime.now(UTC)
        begun = self.runs[run.run_id] = FakeRun(run)
        threading.Thread(target=self.script, args=(begun,), daemon=True).start()
        return run

    def _list(self, query: dict[str, str]) -> Any:
        found = [each.run for each in self.runs.values()]
        if "filter" in query:
            asked = checked("V2beta1Filter", json.loads(query["filter"]))
            for predicate in json.loads(query["filter"])["predicates"]:
                assert (predicate["key"], predicate["operation"]) == ("display_name", "EQUALS")
                found = [run for run in found if run.display_name == predicate["string_value"]]
            assert asked.predicates
        return server.V2beta1ListRunsResponse(runs=found, total_size=len(found))

    def _run(self, run_id: str) -> Any:
        if run_id not in self.runs:
            raise Refused(404, f"Run {run_id} not found")
        begun = self.runs[run_id]
        begun.run.run_details = server.V2beta1RunDetails(task_details=list(begun.details.values()))
        return begun.run

    def _terminate(self, run_id: str) -> dict[str, Any]:
        begun = self.runs[run_id]
        begun.terminated.set()
        begun.finish("CANCELED")
        return {}

    def _retry(self, run_id: str) -> dict[str, Any]:
        begun = self.runs[run_id]
        begun.retried += 1
        begun.run.state = "RUNNING"
        begun.details = {name: detail for name, detail in begun.details.items() if detail.state == "SUCCEEDED"}
        threading.Thread(target=self.script, args=(begun,), daemon=True).start()
        return {}

    def _log(self, run_id: str, pod: str) -> str:
        return self.runs[run_id].logs.get(pod, "")


@contextlib.contextmanager
def fake_kubeflow(script: Script, token: str = "", host: str = "127.0.0.1") -> Iterator[FakeKubeflow]:
    """One that listens; nothing is delivered yet."""
    fake = FakeKubeflow(script, token)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            try:
                fake.let_in(self.headers.get("Authorization"))
                found = fake.answer(self.command, parts.path, query, body)
                status, text = 200, found if isinstance(found, str) else json.dumps(plain(found))
            except Refused as refused:
                status, text = refused.status, json.dumps({"code": 2, "message": refused.message})
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    listening = ThreadingHTTPServer((host, 0), Handler)
    fake.url = f"http://{host}:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield fake
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
