"""apps/<use case>/<environment>/release.yaml: what is released where, changed by commits alone."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError, field_validator

from bento.documents import FIRST, NUMBER
from pipelines.documents import SCHEMAS, Document, SchemaTooNew
from pipelines.errors import MlopsError
from pipelines.release.flat import duplicate_keys, read_flat
from pipelines.usecase import yaml12

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

RELEASE_FILE = "release.yaml"
HEADER = """\
# Written by `mlops`. Change it with a commit, never with kubectl.
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations:
    config.kubernetes.io/local-config: "true"
    {annotation}: "{number}"
data:
"""
SCHEMA_ANNOTATION = "mlops-blueprint/schema"  # beside the data, which is the same for every reader
PLAIN = ("bento", "image", "model")  # a ":" or "/" in them keeps YAML from reading anything else
IMAGE_PATTERN = re.compile(r"\S+@sha256:[0-9a-f]{64}")
TAG_PATTERN = re.compile(r"[a-z][a-z0-9-]*:[A-Za-z0-9._-]+")
MODEL_PATTERN = re.compile(r"[a-z0-9-]+/[0-9]+")
RELEASE_PATH = re.compile(r"^apps/(?P<usecase>[^/]+)/(?P<environment>[^/]+)/release\.yaml$")


class ReleaseInvalid(MlopsError):
    """A release.yaml that is not what `mlops` writes."""


class Release(Document):
    """One released version: Bento, image by digest, model, MLflow run, data, code and headline metrics."""

    KIND = "release"

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
    def usecase(self) -> str:
        return self.bento.split(":", 1)[0]

    @property
    def version(self) -> str:
        return self.bento.split(":", 1)[1]

    @property
    def digest(self) -> str:
        return self.image.rsplit("@", 1)[1]

    def to_yaml(self) -> str:
        """The ConfigMap that kustomize reads and that never reaches a cluster itself.

        Ids are in quotes: a hash such as 089123456789 or 81234567e890 is a number to kustomize when it stands bare.
        """
        data = self.model_dump(exclude={"metrics"})
        data["metrics"] = " ".join(f"{name}={readable(value)}" for name, value in self.metrics.items())
        lines = (f"  {key}: {value if key in PLAIN else json.dumps(value)}\n" for key, value in data.items())
        return HEADER.format(annotation=SCHEMA_ANNOTATION, number=SCHEMAS[self.KIND]) + "".join(lines)

    @classmethod
    def from_yaml(cls, text: str, path: str) -> "Release":
        """Read it back.

        Raises:
            ReleaseInvalid: it is not what this version of `mlops` writes; says file, key and what would be right.
        """
        data, number = _config_map_data(text, path)
        try:
            values = {**data, NUMBER: number, "metrics": _parse_metrics(data.get("metrics") or "")}
            release = cls.from_values(values, path)
        except SchemaTooNew as error:
            raise ReleaseInvalid(error.message, hint=error.hint) from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise _invalid(path, f"data.{key}: {_explain(first)}") from None
        except ValueError as error:
            raise _invalid(path, f"data.metrics: {error}") from None
        place = RELEASE_PATH.match(path)
        if place and release.usecase != place["usecase"]:
            expected = f"{place['usecase']}:<version>, as the folder is called"
            raise _invalid(path, f"data.bento: expected {expected} (got {release.bento!r})")
        return release


def release_path(usecase: str, environment: str) -> str:
    """Where the release of a use case in an environment stands in the repository."""
    return str(Path("apps") / usecase / environment / RELEASE_FILE)


def readable(value: float) -> str:
    """A metric for people: four decimals, or four digits where that would show nothing."""
    return f"{value:.4f}" if value == 0 or not abs(value) < 0.001 else f"{value:.4g}"


def _config_map_data(text: str, path: str) -> tuple[dict[str, Any], int]:
    """The data, and the number of its shape."""
    if "\ufffd" in text:
        raise _invalid(path, "not UTF-8 text")
    try:
        document, twice = _read(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _invalid(f"{path}{f':{mark.line + 1}' if mark else ''}", "not valid YAML") from error
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict) or document.get("kind") != "ConfigMap":
        raise _invalid(path, "expected a ConfigMap with `data`, as `mlops` writes it")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if name != "release":
        raise _invalid(path, f"metadata.name: expected release, which kustomize looks for (got {name!r})")
    for key in twice:
        raise _invalid(path, f"{key} stands there twice; keep one")
    return data, _schema(metadata.get("annotations"), path)


def _schema(annotations: Any, path: str) -> int:
    number = annotations.get(SCHEMA_ANNOTATION, str(FIRST)) if isinstance(annotations, dict) else str(FIRST)
    if not isinstance(number, str) or not re.fullmatch(r"[1-9][0-9]{0,8}", number):
        where = f"metadata.annotations.{SCHEMA_ANNOTATION}"
        raise _invalid(path, f"{where}: expected a whole number in quotes (got {number!r})")
    return int(number)


def _read(text: str) -> tuple[Any, list[str]]:
    """The document, and the keys that stand in it twice."""
    document = read_flat(text)
    if document is not None:
        return document, []
    parsed, node = yaml12.read(text)
    return parsed, duplicate_keys(node)


def _explain(error: "ErrorDetails") -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "string_type":
        return f"expected text, in quotes if it looks like a number (got {error['input']!r})"
    return f"{error['msg'].removeprefix('Value error, ')} (got {error['input']!r})"


def _invalid(where: str, what: str) -> ReleaseInvalid:
    path = where.split(":", 1)[0]
    return ReleaseInvalid(f"{where}: {what}", hint=f"`git log -p {path}` shows the edit, `git revert` takes it back")


def _matching(pattern: re.Pattern[str], value: str, expected: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"expected {expected}")
    return value


def _parse_metrics(text: Any) -> dict[str, float]:
    if not isinstance(text, str):
        raise ValueError(f"expected name=number pairs, got {text!r}")  # noqa: TRY004 - told like any other wrong text
    try:
        return {name: float(value) for name, value in (pair.split("=", 1) for pair in text.split())}
    except ValueError:
        raise ValueError(f"expected name=number pairs, got {text!r}") from None
