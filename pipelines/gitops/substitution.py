"""Flux's variable substitution, as strict as kustomize-controller 1.9: an unknown name without a default is an error.

Source: https://fluxcd.io/flux/components/kustomize/kustomizations/#post-build-variable-substitution; the syntax is that
of the Go package github.com/drone/envsubst: `${NAME}`, `${NAME:=default}`, `${NAME:-default}`; `$${NAME}` is a literal.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.gitops.kustomize import Manifest

SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
VARIABLE = re.compile(
    r"\$\$\{(?P<escaped>[^}]*)\}|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:=|:-|=|-)(?P<default>[^}]*))?\}|\$\{(?P<odd>[^}]*)\}"
)


@dataclass(frozen=True)
class Unresolved:
    """A field of an object, and why Flux would refuse what stands there."""

    field: str
    problem: str


def is_exempt(manifest: Manifest) -> bool:
    """Left as it is: dashboards, and files with variables of their own."""
    metadata = manifest.get("metadata") or {}
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    return str(marks.get(SUBSTITUTE)) == "disabled"


def substitute(manifest: Manifest, variables: Mapping[str, str]) -> tuple[Manifest, list[Unresolved]]:
    """The object with its variables filled in, and what could not be."""
    if is_exempt(manifest):
        return manifest, []
    missing: list[Unresolved] = []
    return manifest.filled(_walk(manifest, variables, "", missing)), missing


def _walk(value: Any, variables: Mapping[str, str], path: str, missing: list[Unresolved]) -> Any:
    if isinstance(value, dict):
        return {key: _walk(part, variables, f"{path}.{key}".lstrip("."), missing) for key, part in value.items()}
    if isinstance(value, list):
        return [_walk(part, variables, f"{path}[{number}]", missing) for number, part in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    filled = VARIABLE.sub(lambda match: _fill(match, variables, path, missing), value)
    return _retyped(filled) if VARIABLE.fullmatch(value) and not value.startswith("$$") else filled


def _fill(match: re.Match[str], variables: Mapping[str, str], path: str, missing: list[Unresolved]) -> str:
    if match["escaped"] is not None:
        return "${" + match["escaped"] + "}"
    if match["odd"] is not None:
        missing.append(Unresolved(path, f"${{{match['odd']}}} is no variable; write $${{…}} for a literal one"))
        return match[0]
    value = variables.get(match["name"])
    if value or (value is not None and match["how"] in ("=", "-")):
        return value
    if match["how"]:
        return match["default"] or ""
    if value is None:
        known = ", ".join(sorted(variables)) or "none at all"
        missing.append(Unresolved(path, f"nothing gives {match['name']} a value; there are {known}"))
        return match[0]
    return value


def _retyped(text: str) -> Any:
    """Flux substitutes in the YAML text, so a bare ${REPLICAS} becomes a number."""
    if re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
        return int(text)
    return {"true": True, "false": False}.get(text, text)
