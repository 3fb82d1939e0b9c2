"""A stand-in for Vertex AI's REST API, which no test can reach.

Every request must fit a route of google-cloud-aiplatform's own clients and parse, whole, into its message types;
every answer is made from those types, too. Endpoints, models, jobs and schedules have state, and long-running
operations take a few looks to end. It is not Vertex AI: it deploys and runs nothing, and what it does not check, no
test shows.
"""

import contextlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.vertex_messages import (
    Answer,
    camel,
    job_problem,
    label_problem,
    missing,
    parse,
    refusal,
    routes,
    shown,
    split_problem,
)

NUMBER = "424242424242"  # of the project: Vertex AI answers with it where it was asked with the project's id


@dataclass
class Operation:
    name: str
    looks: int
    effect: Callable[[], Any]
    error: dict[str, Any] | None = None
    done: bool = False
    response: dict[str, Any] = field(default_factory=dict)

    def look(self) -> dict[str, Any]:
        if not self.done:
            self.looks -= 1
            if self.looks <= 0:
                self.done = True
                if self.error is None:
                    self.response = self.effect() or {}
        if not self.done:
            return {"name": self.name, "done": False}
        if self.error:
            return {"name": self.name, "done": True, "error": self.error}
        kind = {"@type": "type.googleapis.com/google.cloud.aiplatform.v1.Anything"}
        return {"name": self.name, "done": True, "response": {**kind, **self.response}}


@dataclass
class FakeVertex:
    """State, and what shall go wrong.

    `failures` are told first, one a request: (status, headers, error). `fail_operations`: the next operations end so.
    `lose_answers`: so many changes happen without the client hearing of it. `looks`: how long operations take.
    """

    project: str = "example-ml"
    region: str = "europe-west4"
    token: str = "ya29.good"
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    looks: int = 2
    models: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    failures: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    fail_operations: list[dict[str, Any]] = field(default_factory=list)
    lose_answers: int = 0
    requests: list[str] = field(default_factory=list)
    traded: list[str] = field(default_factory=list)  # tokens of others, at the stand-in for Google's token service
    problems: list[str] = field(default_factory=list)
    on_look_at_job: Callable[[dict[str, Any]], None] = lambda job: None
    address: str = ""

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1001)
        self._lock = threading.Lock()

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def changes(self) -> list[str]:
        """What was asked for that changes something, as `UploadModel`."""
        return [name for name in self.requests if not name.startswith(("Get", "List"))]

    @contextlib.contextmanager
    def serve(self) -> Iterator["FakeVertex"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        assert not self.problems, self.problems

    def environment(self) -> dict[str, str]:
        return {"MLOPS_VERTEX_API": self.address, "MLOPS_VERTEX_TOKEN": self.token}

    # --- one request ---------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        with self._lock:
            parts = urlsplit(target)
            path, query = unquote(parts.path), dict(parse_qsl(parts.query))
            if path == "/token":
                self.traded.append(dict(parse_qsl(body.decode()))["subject_token"])
                kind = "urn:ietf:params:oauth:token-type:access_token"
                given = {"access_token": self.token, "issued_token_type": kind, "token_type": "Bearer"}
                return 200, {}, given | {"expires_in": 3600}
            if self.failures:
                status, extra, error = self.failures.pop(0)
                self.requests.append(f"Refused{status}")
                return status, extra, {"error": {"code": status, "message": "told to fail", **error}}
            if headers.get("authorization") != f"Bearer {self.token}":
                return (401, {}, refusal(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")[1])
            status, answer = self._operations(path) or self._serve(method, path, query, body)
            return status, {}, answer

    def _operations(self, path: str) -> Answer | None:
        owner, found, number = path.removeprefix("/v1/").partition("/operations")
        if not found:
            return None
        if number:
            operation = self.operations.get(f"{owner}{found}{number}")
            return (200, operation.look()) if operation else missing(path)
        self.requests.append("ListOperations")
        held = [each for name, each in self.operations.items() if name.startswith(f"{owner}/operations/")]
        known = self.endpoints if "/endpoints/" in owner else self.models
        if not held and owner.rpartition("/")[2] not in known:
            return missing(path)
        return 200, {"operations": [each.look() for each in held]}

    def _serve(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        for route in routes():
            match = route.pattern.fullmatch(path)
            if route.method == method and match:
                words = parse(route, self.parent, match.groupdict(), query, json.loads(body) if body else None)
                if isinstance(words, str):
                    return refusal(400, words, "INVALID_ARGUMENT")
                self.requests.append(route.name)
                handled: Answer = getattr(self, route.handler)(words)
                return handled
        return refusal(404, f"no such method: {method} {path}", "NOT_FOUND")

    # --- operations ----------------------------------------------------------------------------------------

    def _begin(self, owner: str, effect: Callable[[], Any]) -> Answer:
        name = f"{owner}/operations/{next(self._numbers)}"
        error = self.fail_operations.pop(0) if self.fail_operations else None
        self.operations[name] = Operation(name, self.looks, effect, error)
        return 200, {"name": name, "done": False}

    def _busy(self, owner: str) -> Answer | None:
        running = [name for name, each in self.operations.items() if name.startswith(owner) and not each.done]
        if running:
            told = f"There are other operations running on the Endpoint: {running}"
            return refusal(400, told, "FAILED_PRECONDITION")
        return None

    # --- models --------------------------------------------------------------------------------------------

    def _upload_model(self, words: dict[str, Any]) -> Answer:
        model, parent = words["model"], words.get("parentModel", "").rpartition("/")[2]
        name = parent or words.get("modelId", "")
        if not model.get("displayName") or not model.get("containerSpec", {}).get("imageUri"):
            return refusal(400, "display_name and container_spec.image_uri are required", "INVALID_ARGUMENT")
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,62}", name):
            return refusal(400, f"model_id {name!r} is not valid", "INVALID_ARGUMENT")
        if problem := label_problem(model.get("labels", {})):
            return refusal(400, problem, "INVALID_ARGUMENT")
        if parent and parent not in self.models:
            return missing(parent)
        if not parent and name in self.models:
            return refusal(409, f"Model {name} already exists", "ALREADY_EXISTS")

        def effect() -> dict[str, Any]:
            versions = self.models.setdefault(name, [])
            aliases = [*model.get("versionAliases", []), *([] if versions else ["default"])]
            for each in versions:
                each["versionAliases"] = [alias for alias in each["versionAliases"] if alias not in aliases]
            kept = {**model, "versionAliases": aliases, "versionId": str(len(versions) + 1)}
            versions.append({**kept, "name": self._numbered("models", name)})
            return {"model": kept.get("name"), "modelVersionId": kept["versionId"]}

        return self._begin(f"{self.parent}/models/{name}", effect)

    def _get_model(self, words: dict[str, Any]) -> Answer:
        name, _, wanted = words["name"].rpartition("/")[2].partition("@")
        for version in self.models.get(name, []):
            if (wanted or "default") in (version["versionId"], *version["versionAliases"]):
                return 200, shown("Model", version)
        return missing(words["name"])

    # --- endpoints -----------------------------------------------------------------------------------------

    def _create_endpoint(self, words: dict[str, Any]) -> Answer:
        name, endpoint = words.get("endpointId", ""), words["endpoint"]
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name) or not endpoint.get("displayName"):
            return refusal(400, f"endpoint_id {name!r} or display_name is not valid", "INVALID_ARGUMENT")
        if name in self.endpoints:
            return refusal(409, f"Endpoint {name} already exists", "ALREADY_EXISTS")
        if problem := label_problem(endpoint.get("labels", {})):
            return refusal(400, problem, "INVALID_ARGUMENT")
        made = {**endpoint, "name": self._numbered("endpoints", name), "deployedModels": [], "trafficSplit": {}}
        return self._begin(f"{self.parent}/endpoints/{name}", lambda: self._keep(name, made))

    def _get_endpoint(self, words: dict[str, Any]) -> Answer:
        found = self.endpoints.get(words["name"].rpartition("/")[2])
        return (200, shown("Endpoint", found)) if found else missing(words["name"])

    def _list_endpoints(self, words: dict[str, Any]) -> Answer:
        return self._page("endpoints", "Endpoint", self.endpoints, words)

    def _update_endpoint(self, words: dict[str, Any]) -> Answer:
        changed = words["endpoint"]
        name = changed["name"].rpartition("/")[2]
        if name not in self.endpoints:
            return missing(name)
        endpoint, mask = self.endpoints[name], words.get("updateMask", "").split(",")
        if not set(mask) <= {"trafficSplit", "labels", "displayName"}:
            return refusal(400, f"update_mask {mask} is not supported", "INVALID_ARGUMENT")
        if changed.get("etag") not in (None, endpoint["etag"]):
            return refusal(409, "the etag is not the current one", "ABORTED")
        if "trafficSplit" in mask and (problem := split_problem(endpoint, changed["trafficSplit"])):
            return refusal(400, problem, "INVALID_ARGUMENT")
        if problem := label_problem(changed.get("labels", {})):
            return refusal(400, problem, "INVALID_ARGUMENT")
        self._keep(name, {**endpoint, **{key: changed[key] for key in mask}})
        return 200, shown("Endpoint", self.endpoints[name])

    def _deploy_model(self, words: dict[str, Any]) -> Answer:
        name, wanted = words["endpoint"].rpartition("/")[2], words["deployedModel"]
        endpoint, split = self.endpoints.get(name), words.get("trafficSplit", {})
        if endpoint is None:
            return missing(name)
        if busy := self._busy(words["endpoint"]):
            return busy
        model, _, number = wanted["model"].rpartition("/")[2].partition("@")
        version = next((each for each in self.models.get(model, []) if each["versionId"] == number), None)
        if version is None:
            return missing(wanted["model"])
        resources = wanted.get("dedicatedResources", {})
        if not resources.get("machineSpec", {}).get("machineType") or resources.get("minReplicaCount", 0) < 1:
            return refusal(400, "machine_type and min_replica_count are required", "INVALID_ARGUMENT")
        if problem := split_problem(endpoint, split, "0"):
            return refusal(400, problem, "INVALID_ARGUMENT")

        def effect() -> dict[str, Any]:
            number = str(next(self._numbers))
            made = {**wanted, "id": number, "model": self._numbered("models", model), "createTime": self._time()}
            made["modelVersionId"] = version["versionId"]
            now = self.endpoints[name]
            shares = {number if key == "0" else key: share for key, share in split.items()}
            self._keep(name, {**now, "deployedModels": [*now["deployedModels"], made], "trafficSplit": shares})
            return {"deployedModel": made}

        return self._begin(words["endpoint"], effect)

    def _undeploy_model(self, words: dict[str, Any]) -> Answer:
        name, number = words["endpoint"].rpartition("/")[2], words["deployedModelId"]
        endpoint = self.endpoints[name]
        if busy := self._busy(words["endpoint"]):
            return busy
        if number not in [each["id"] for each in endpoint["deployedModels"]]:
            return missing(number)
        if endpoint["trafficSplit"].get(number) and len(endpoint["deployedModels"]) > 1:
            return refusal(400, f"DeployedModel {number} has traffic", "FAILED_PRECONDITION")

        def effect() -> None:
            now = self.endpoints[name]
            left = [each for each in now["deployedModels"] if each["id"] != number]
            shares = {key: share for key, share in now["trafficSplit"].items() if key != number}
            self._keep(name, {**now, "deployedModels": left, "trafficSplit": shares})

        return self._begin(words["endpoint"], effect)

    def _mutate_deployed_model(self, words: dict[str, Any]) -> Answer:
        name, change = words["endpoint"].rpartition("/")[2], words["deployedModel"]
        paths = words["updateMask"].split(",")

        def effect() -> None:
            for each in self.endpoints[name]["deployedModels"]:
                if each["id"] == change["id"]:
                    for path in paths:
                        place, key = path.split(".")
                        each[place] = {**each[place], key: change[place][key]}

        return self._begin(words["endpoint"], effect)

    # --- pipelines -----------------------------------------------------------------------------------------

    def _create_pipeline_job(self, words: dict[str, Any]) -> Answer:
        name, job = words.get("pipelineJobId", ""), words["pipelineJob"]
        if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", name):
            return refusal(400, f"pipeline_job_id {name!r} is not valid", "INVALID_ARGUMENT")
        if name in self.jobs:
            return refusal(409, f"PipelineJob {name} already exists", "ALREADY_EXISTS")
        if problem := job_problem(job):
            return refusal(400, problem, "INVALID_ARGUMENT")
        made = {"createTime": self._time(), "state": "PIPELINE_STATE_PENDING", "jobDetail": {"taskDetails": []}}
        self.jobs[name] = {**job, **made, "name": self._numbered("pipelineJobs", name)}
        return 200, shown("PipelineJob", self.jobs[name])

    def _get_pipeline_job(self, words: dict[str, Any]) -> Answer:
        job = self.jobs.get(words["name"].rpartition("/")[2])
        if job is None:
            return missing(words["name"])
        if job["state"] == "PIPELINE_STATE_CANCELLING":
            job["state"] = "PIPELINE_STATE_CANCELLED"
        elif job["state"] in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"):
            self.on_look_at_job(job)
        return 200, shown("PipelineJob", job)

    def _list_pipeline_jobs(self, words: dict[str, Any]) -> Answer:
        return self._page("pipelineJobs", "PipelineJob", self.jobs, words)

    def _cancel_pipeline_job(self, words: dict[str, Any]) -> Answer:
        job = self.jobs.get(words["name"].rpartition("/")[2])
        if job is None:
            return missing(words["name"])
        job["state"] = "PIPELINE_STATE_CANCELLING"
        return 200, {}

    # --- schedules -----------------------------------------------------------------------------------------

    def _create_schedule(self, words: dict[str, Any]) -> Answer:
        schedule = words["schedule"]
        asked = schedule.get("createPipelineJobRequest", {})
        if not schedule.get("cron") or int(schedule.get("maxConcurrentRunCount", 0)) < 1 or not asked.get("parent"):
            return refusal(400, "cron, max_concurrent_run_count and parent are required", "INVALID_ARGUMENT")
        if problem := job_problem(asked["pipelineJob"]):
            return refusal(400, problem, "INVALID_ARGUMENT")
        number = str(next(self._numbers))
        made = {**schedule, "name": self._numbered("schedules", number), "state": "ACTIVE", "createTime": self._time()}
        self.schedules[number] = made
        return 200, shown("Schedule", made)

    def _list_schedules(self, words: dict[str, Any]) -> Answer:
        return self._page("schedules", "Schedule", self.schedules, words)

    def _update_schedule(self, words: dict[str, Any]) -> Answer:
        change, mask = words["schedule"], words.get("updateMask", "").split(",")
        number = change["name"].rpartition("/")[2]
        if number not in self.schedules:
            return missing(number)
        self.schedules[number] |= {key: change[key] for key in mask}
        return 200, shown("Schedule", self.schedules[number])

    def _resume_schedule(self, words: dict[str, Any]) -> Answer:
        number = words["name"].rpartition("/")[2]
        if self.schedules[number]["state"] != "PAUSED":
            return refusal(400, "the schedule is not paused", "FAILED_PRECONDITION")
        self.schedules[number]["state"] = "ACTIVE"
        return 200, {}

    def _delete_schedule(self, words: dict[str, Any]) -> Answer:
        number = words["name"].rpartition("/")[2]
        if number not in self.schedules:
            return missing(number)
        return self._begin(words["name"], lambda: self.schedules.pop(number) and None)

    # --- the parts -----------------------------------------------------------------------------------------

    def _keep(self, name: str, endpoint: dict[str, Any]) -> dict[str, Any]:
        self.endpoints[name] = {**endpoint, "etag": f"etag-{next(self._numbers)}"}
        return {"name": endpoint["name"]}

    def _numbered(self, collection: str, name: str) -> str:
        return f"projects/{NUMBER}/locations/{self.region}/{collection}/{name}"

    def _time(self) -> str:
        return self.clock().isoformat().replace("+00:00", "Z")

    def _page(self, key: str, kind: str, held: dict[str, dict[str, Any]], words: dict[str, Any]) -> Answer:
        """Two a page, so that every list has to be paged."""
        wanted = [each for each in held.values() if _fits(each, words.get("filter", ""))]
        start = int(words.get("pageToken", "0"))
        page: dict[str, Any] = {key: [shown(kind, each) for each in wanted[start : start + 2]]}
        return 200, page | ({"nextPageToken": str(start + 2)} if len(wanted) > start + 2 else {})


def _handler(fake: FakeVertex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                status, extra, answer = fake.answer(self.command, self.path, headers, body)
            except Exception as error:
                fake.problems.append(f"{self.command} {self.path}: {error!r}")
                raise
            if self.command != "GET" and status == 200 and fake.lose_answers:
                fake.lose_answers -= 1
                return
            content = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json; charset=UTF-8", **extra}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer_one()

        def do_POST(self) -> None:
            self.answer_one()

        def do_PATCH(self) -> None:
            self.answer_one()

        def do_DELETE(self) -> None:
            self.answer_one()

    return Handler


def _fits(held: dict[str, Any], query: str) -> bool:
    """The few forms of filters that are used here: equal or not, of a field, a label or the pipeline's name."""
    for term in filter(None, query.split(" AND ")):
        key, _, value = term.partition("=")
        place, _, name = key.rstrip("!").partition(".")
        found = held.get(camel(place), {} if name else "")
        if place == "pipeline_name":
            found = held.get("pipelineSpec", {}).get("pipelineInfo", {}).get("name")
        is_equal = (found.get(name) if name else found) == value.strip('"')
        if is_equal == key.endswith("!"):
            return False
    return True
