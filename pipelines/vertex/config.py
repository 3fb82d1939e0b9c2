"""vertex/<environment>.yaml: which project and region, whose pipelines run there, which models are served there."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from pipelines.usecase.api_version import ApiVersion, check_api_version
from pipelines.usecase.document import UsecaseInvalid, YamlDocument
from pipelines.usecase.durations import PositiveDuration, parse_duration
from pipelines.usecase.strict import Strict, require_distinct
from pipelines.vertex.errors import VertexConfigInvalid, VertexNotConfigured

FOLDER = "vertex"
EMAIL = r"^[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$"
SECRET = r"^projects/[a-z0-9-]+/secrets/[A-Za-z0-9_-]+/versions/([0-9]+|latest)$"  # noqa: S105 - a form, no secret
KEY = r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$"

ServiceAccount = Annotated[str, Field(pattern=EMAIL)]
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Canary(Strict):
    """A new version's share of the traffic, and how long it keeps it before it gets all."""

    percent: int = Field(default=10, ge=1, le=99)
    hold: PositiveDuration = parse_duration("10m")


class Endpoints(Strict):
    """Models that are served by Vertex AI."""

    usecases: list[str] = Field(default=[])
    canary: Canary | None = Canary()
    machine: str | None = Field(default=None, pattern=r"^[a-z0-9]+-[a-z0-9-]+$")
    service_account: ServiceAccount | None = None

    @field_validator("usecases")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        require_distinct(value)
        return value


class Pipelines(Strict):
    """Pipelines that run on Vertex AI.

    `images`: what the steps run in, by the names that a use case's pipeline.image may say. `variables` are what a step
    finds its stores by; `secrets` come from Secret Manager when a step starts. `scheduled`: use cases whose
    retrain.schedule Vertex AI keeps.
    """

    bucket: str = Field(pattern=r"^gs://[a-z0-9][a-z0-9._-]+(/[^/\s]+)*$")
    images: dict[str, Annotated[str, Field(pattern=r"^[a-z0-9.-]+(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}$")]]
    service_account: ServiceAccount
    variables: dict[Variable, str] = Field(default={})
    secrets: dict[Variable, Annotated[str, Field(pattern=SECRET)]] = Field(default={})
    scheduled: list[str] = Field(default=[])


class VertexConfig(Strict):
    """One environment on Vertex AI."""

    apiVersion: ApiVersion  # noqa: N815 - as files of Kubernetes name it
    project: str = Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")
    region: str = Field(pattern=r"^[a-z]+-[a-z]+[0-9]+$")
    key: str | None = Field(default=None, pattern=KEY)
    pipelines: Pipelines | None = None
    endpoints: Endpoints = Endpoints()


def config_path(environment: str) -> str:
    return f"{FOLDER}/{environment}.yaml"


def load_config(root: Path, environment: str) -> VertexConfig:
    """Raises VertexNotConfigured or VertexConfigInvalid."""
    path = root / config_path(environment)
    if not path.is_file():
        raise VertexNotConfigured(
            f"{config_path(environment)} does not exist: nothing of {environment} is on Vertex AI",
            hint="docs/vertex.md has one to start from",
        )
    try:
        document = YamlDocument.read(path, root)
        check_api_version(document)
    except UsecaseInvalid as error:
        raise _invalid(error.problems) from None
    try:
        return VertexConfig.model_validate(document.values)
    except ValidationError as error:
        raise _invalid([_told(document, each["loc"], each["msg"], each["type"]) for each in error.errors()]) from None


def _invalid(problems: list[str]) -> VertexConfigInvalid:
    return VertexConfigInvalid("\n".join(problems), hint="docs/vertex.md explains every key")


def _told(document: YamlDocument, place: tuple[int | str, ...], message: str, kind: str) -> str:
    path = tuple(part for part in place if part != "[key]")
    message = {"missing": "is missing", "extra_forbidden": "is no key of this file"}.get(kind, message)
    key = ".".join(str(part) for part in path)
    return f"{document.label}:{document.line(path)}: {key}: {message.removeprefix('Value error, ')}"
