"""What fields a custom object may have, by its CustomResourceDefinition, and what values a chart takes.

    <folder>/crds/<component>/*.yaml     definitions as their projects release them
    <folder>/charts/<chart>/             Chart.yaml and values.yaml of the charts that are installed

They are other projects' data and not in this repository; docs/checks.md says how to get them. Schemas are strict: a
field that the API server would drop without a word is an error.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.gitops.flux import group_of
from pipelines.gitops.kustomize import Manifest, read_documents
from pipelines.usecase import yaml12

if TYPE_CHECKING:
    from jsonschema import Draft7Validator

CARRIED = (
    "type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "multipleOf", "minItems", "maxItems",
    "uniqueItems", "minProperties", "maxProperties", "required",
)  # fmt: skip


@dataclass(frozen=True)
class SchemaFolder:
    """The folder with crds/ and charts/, which may be missing."""

    path: Path

    @property
    def has_definitions(self) -> bool:
        return (self.path / "crds").is_dir()

    @property
    def has_charts(self) -> bool:
        return (self.path / "charts").is_dir()

    @cached_property
    def _definitions(self) -> dict[tuple[str, str], Path]:
        """(group, kind) → file. Only names are read; a definition is parsed when an object of its kind is met."""
        found: dict[tuple[str, str], Path] = {}
        for path in sorted((self.path / "crds").glob("*/*.yaml")):
            text = path.read_text(encoding="utf-8")
            groups = re.findall(r"^  group: (\S+)$", text, re.MULTILINE)
            kinds = re.findall(r"^    kind: (\S+)$", text, re.MULTILINE)
            for group, kind in zip(groups, kinds, strict=False):
                found[group.strip("'\""), kind.strip("'\"")] = path
        return found

    def knows(self, manifest: Manifest) -> bool:
        return (group_of(manifest), manifest.get("kind")) in self._definitions

    def versions(self, manifest: Manifest) -> list[str]:
        """The served versions of a custom kind."""
        definition = self._definition(manifest)
        return [each["name"] for each in definition["spec"]["versions"] if each.get("served")] if definition else []

    def errors(self, manifest: Manifest) -> Iterator[str]:
        """`spec.intervall: is no field` for each mistake in a custom object; nothing when its version is unknown."""
        definition = self._definition(manifest)
        version = str(manifest["apiVersion"]).rpartition("/")[2]
        for each in definition["spec"]["versions"] if definition else ():
            if each["name"] == version:
                group, kind = group_of(manifest), str(manifest["kind"])
                yield from _told(_validator(self._definitions[group, kind], kind, version), manifest)

    def _definition(self, manifest: Manifest) -> Manifest | None:
        group, kind = group_of(manifest), str(manifest.get("kind"))
        path = self._definitions.get((group, kind))
        return _read_definition(path, kind) if path else None

    def chart_values(self, chart: str) -> dict[str, Any] | None:
        """The default values of a chart, those of its dependencies below their names."""
        folder = self.path / "charts" / chart
        if not (folder / "values.yaml").is_file():
            return None
        values = _read_yaml(folder / "values.yaml")
        for part in sorted((folder / "charts").glob("*/values.yaml")):
            own = values.get(part.parent.name)
            values[part.parent.name] = _merged(_read_yaml(part), own if isinstance(own, dict) else {})
        return values

    def chart_version(self, chart: str) -> str | None:
        path = self.path / "charts" / "versions.json"
        if not path.is_file():
            return None
        entry = _read_yaml(path).get(chart)
        return str(entry["version"]) if entry else None


@functools.cache
def _read_definition(path: Path, kind: str) -> Manifest | None:
    """Some files hold a dozen definitions, of which parsing is most of the time that a check takes."""
    texts = re.split(r"^---.*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    own = (text for text in texts if re.search(rf"^    kind: ['\"]?{kind}['\"]?$", text, re.MULTILINE))
    return next((each for text in own for each in read_documents(text)), None)


@functools.cache
def _validator(path: Path, kind: str, version: str) -> "Draft7Validator":
    from jsonschema import Draft7Validator

    definition = _read_definition(path, kind)
    assert definition  # noqa: S101 - the index has it
    schema = next(
        each.get("schema", {}).get("openAPIV3Schema", {})
        for each in definition["spec"]["versions"]
        if each["name"] == version
    )
    strict = _strict(schema, closed=True)
    strict.setdefault("properties", {}).update(apiVersion={}, kind={}, metadata={"type": "object"}, status={})
    return Draft7Validator(strict)


def _strict(node: Any, *, closed: bool) -> Any:  # noqa: PLR0912 - one a keyword
    """JSON Schema of an OpenAPI schema in a definition. Below anyOf and the like nothing is closed: it only adds."""
    if not isinstance(node, dict):
        return node
    schema = {key: node[key] for key in CARRIED if key in node}
    if "pattern" in schema and not _compiles(schema["pattern"]):
        del schema["pattern"]
    properties = node.get("properties") or {}
    if properties:
        schema["properties"] = {name: _strict(part, closed=closed) for name, part in properties.items()}
    if "required" in schema:  # the server fills in defaults before it looks
        schema["required"] = [key for key in schema["required"] if "default" not in (properties.get(key) or {})]
    if "items" in node:
        schema["items"] = _strict(node["items"], closed=closed)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in node:
            schema[key] = [_strict(part, closed=False) for part in node[key]]
    if "not" in node:
        schema["not"] = _strict(node["not"], closed=False)
    others = node.get("additionalProperties")
    if others is not None:
        schema["additionalProperties"] = _strict(others, closed=closed)
    elif closed and node.get("type") == "object" and not node.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = bool(node.get("x-kubernetes-embedded-resource")) and not properties
    if node.get("x-kubernetes-embedded-resource") and properties:
        schema["properties"].update(apiVersion={}, kind={}, metadata={})
    if node.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
        schema["type"] = ["integer", "string"]
    if node.get("nullable") and "type" in schema:
        schema["type"] = [*(schema["type"] if isinstance(schema["type"], list) else [schema["type"]]), "null"]
    return schema


def _told(validator: "Draft7Validator", manifest: Manifest) -> Iterator[str]:
    for error in validator.iter_errors(manifest):
        place = ".".join(str(part) for part in error.absolute_path) or "the object"
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            known = set((error.schema.get("properties") or {}) if isinstance(error.schema, dict) else ())
            strangers = ", ".join(sorted(set(error.instance) - known))
            yield f"{place}: {strangers} is no field here; the API server would drop it"
        else:
            yield f"{place}: {error.message[:300]}"


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _read_yaml(path: Path) -> dict[str, Any]:
    values, _ = yaml12.read(path.read_text(encoding="utf-8"))
    return values or {}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` wins, key by key."""
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
