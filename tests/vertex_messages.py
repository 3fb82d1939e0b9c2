"""What google-cloud-aiplatform knows of Vertex AI's API, for the fake that keeps to it: routes and message types."""

import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from typing import Any

SERVICES = ("model", "endpoint", "pipeline", "schedule")
Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Route:
    """One method of the API, as google-cloud-aiplatform's REST client has it."""

    name: str
    method: str
    pattern: re.Pattern[str]
    body: str | None
    request: Any

    @property
    def handler(self) -> str:
        return "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


@functools.cache
def routes() -> list[Route]:
    """Read from the library; importing it takes seconds."""
    from google.cloud import aiplatform_v1

    found = []
    for service in SERVICES:
        package = f"google.cloud.aiplatform_v1.services.{service}_service.transports"
        module = importlib.import_module(f"{package}.rest_base")
        base = next(kind for name, kind in vars(module).items() if name.startswith("_Base") and inspect.isclass(kind))
        for name, method in vars(base).items():
            request = getattr(aiplatform_v1, f"{name.removeprefix('_Base')}Request", None)
            if name.startswith("_Base") and request is not None and hasattr(method, "_get_http_options"):
                for option in method._get_http_options():
                    pattern = _pattern(option["uri"])
                    found.append(Route(name[5:], option["method"].upper(), pattern, option.get("body"), request))
    return found


def _pattern(uri: str) -> re.Pattern[str]:
    """`/v1/{name=projects/*/models/*}:x` as a regular expression with a group a variable."""
    text = ""
    for part in re.split(r"(\{[^}]+\})", uri):
        if part.startswith("{"):
            name, _, form = part[1:-1].partition("=")
            text += f"(?P<{name.replace('.', '__')}>{re.escape(form).replace(re.escape('*'), '[^/:]+')})"
        else:
            text += re.escape(part)
    return re.compile(text)


def parse(route: Route, parent: str, found: dict[str, str], query: dict[str, str], body: Any) -> Any:
    """The request as its message's JSON; a text that says why it is none."""
    from google.protobuf import json_format

    if body is not None and route.body is None:
        return f"{route.name} takes no body"
    words: dict[str, Any] = dict(query)
    if route.body == "*":
        words |= body or {}
    elif route.body:
        words[camel(route.body)] = body or {}
    for name, value in found.items():
        place, *keys = (camel(part) for part in name.split("__"))
        if keys:
            words.setdefault(place, {})[keys[0]] = value
        else:
            words[place] = value
        if not value.startswith(parent):
            return f"{value} is not in {parent}"
    try:
        json_format.ParseDict(words, route.request.pb()())
    except json_format.ParseError as error:
        return f"Invalid JSON payload received: {error}"
    return words


def shown(kind: str, held: dict[str, Any]) -> dict[str, Any]:
    """As the API shows it: through the message's own type, or not at all."""
    from google.cloud import aiplatform_v1
    from google.protobuf import json_format

    message = json_format.ParseDict(held, getattr(aiplatform_v1, kind).pb()())
    shown: dict[str, Any] = json_format.MessageToDict(message)
    return shown


def job_problem(job: dict[str, Any]) -> str | None:
    """What Vertex AI would refuse of a pipeline job, as far as it is documented."""
    from google.protobuf import json_format
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    config = job.get("runtimeConfig", {})
    if not config.get("gcsOutputDirectory", "").startswith("gs://"):
        return "runtime_config.gcs_output_directory must be a gs:// directory"
    if problem := label_problem(job.get("labels", {})):
        return problem
    try:
        spec = json_format.ParseDict(job["pipelineSpec"], PipelineSpec())
    except (json_format.ParseError, KeyError) as error:
        return f"pipeline_spec is none: {error}"
    wanted, given = set(spec.root.input_definitions.parameters), set(config.get("parameterValues", {}))
    if wanted != given:
        return f"the pipeline takes the parameters {wanted}, not {given}"
    for name, executor in json_format.MessageToDict(spec.deployment_spec).get("executors", {}).items():
        if "." not in executor["container"]["image"].partition("/")[0]:
            return f"the image of {name} is in no registry: {executor['container']['image']}"
    return None


def label_problem(labels: dict[str, str]) -> str | None:
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            return f"label {key}={value} is not valid"
    return "more than 64 labels" if len(labels) > 64 else None


def split_problem(endpoint: dict[str, Any], split: dict[str, int], *more: str) -> str | None:
    known = {each["id"] for each in endpoint["deployedModels"]} | set(more)
    if strangers := set(split) - known:
        return f"traffic_split names {strangers}, which are not deployed"
    return None if sum(split.values()) == 100 else f"traffic_split must add up to 100, not {sum(split.values())}"


def missing(what: str) -> Answer:
    return refusal(404, f"{what} is not found.", "NOT_FOUND")


def refusal(code: int, message: str, status: str) -> Answer:
    return code, {"error": {"code": code, "message": message, "status": status}}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
