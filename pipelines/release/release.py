"""apps/<use case>/<environment>/release.yaml: what is released where, changed by commits alone."""

import re
from pathlib import Path

import yaml
from pydantic import ValidationError, field_validator

from pipelines.documents import Document
from pipelines.errors import MlopsError

RELEASE_FILE = "release.yaml"
HEADER = "# Written by `mlops`. Change it with a commit, never with kubectl.\n"
IMAGE_PATTERN = re.compile(r"^\S+@sha256:[0-9a-f]{64}$")
TAG_PATTERN = re.compile(r"^[a-z0-9-]+:[A-Za-z0-9._-]+$")
MODEL_PATTERN = re.compile(r"^[a-z0-9-]+/[0-9]+$")
RELEASE_PATH = re.compile(r"^apps/(?P<usecase>[^/]+)/(?P<environment>[^/]+)/release\.yaml$")


class ReleaseInvalid(MlopsError):
    """A release.yaml that is not what `mlops` writes."""


class Release(Document):
    """One released version: Bento, image by digest, model, MLflow run, data, code and headline metrics."""

    bento: str
    image: str
    model: str
    run: str
    data: str
    code: str
    metrics: dict[str, float] = {}

    @field_validator("bento")
    @classmethod
    def _bento_is_a_tag(cls, value: str) -> str:
        return _matching(TAG_PATTERN, value, "a Bento tag such as flight-delays:7")

    @field_validator("image")
    @classmethod
    def _image_is_by_digest(cls, value: str) -> str:
        return _matching(IMAGE_PATTERN, value, "an image by digest, <name>@sha256:<64 hex digits>")

    @field_validator("model")
    @classmethod
    def _model_is_a_version(cls, value: str) -> str:
        return _matching(MODEL_PATTERN, value, "a model version such as flight-delays/7")

    @property
    def version(self) -> str:
        return self.bento.split(":", 1)[1]

    @property
    def digest(self) -> str:
        return self.image.rsplit("@", 1)[1]

    def to_yaml(self) -> str:
        """The ConfigMap that kustomize reads and that never reaches a cluster itself."""
        data = self.model_dump(exclude={"metrics"})
        data["metrics"] = " ".join(f"{name}={value:.4f}" for name, value in self.metrics.items())
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "release", "annotations": {"config.kubernetes.io/local-config": "true"}},
            "data": data,
        }
        return HEADER + yaml.safe_dump(document, sort_keys=False, width=200)

    @classmethod
    def from_yaml(cls, text: str, path: str) -> "Release":
        """Read it back; errors name the file, the key and what would be right."""
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise ReleaseInvalid(f"{path}{f':{mark.line + 1}' if mark else ''}: not valid YAML") from error
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, dict) or document.get("kind") != "ConfigMap":
            raise ReleaseInvalid(f"{path}: expected a ConfigMap with `data`, as `mlops` writes it")
        try:
            values = {**data, "metrics": _parse_metrics(data.get("metrics") or "")}
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise ReleaseInvalid(f"{path}: data.{key}: {message} (got {first['input']!r})") from None
        except ValueError as error:
            raise ReleaseInvalid(f"{path}: data.metrics: {error}") from None


def release_path(usecase: str, environment: str) -> str:
    """Where the release of a use case in an environment stands in the repository."""
    return str(Path("apps") / usecase / environment / RELEASE_FILE)


def _matching(pattern: re.Pattern[str], value: str, expected: str) -> str:
    if not pattern.match(value):
        raise ValueError(f"expected {expected}")
    return value


def _parse_metrics(text: str) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in (pair.split("=", 1) for pair in text.split())}
    except ValueError:
        raise ValueError(f"expected name=number pairs, got {text!r}") from None
