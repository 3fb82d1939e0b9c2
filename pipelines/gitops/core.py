"""What fields the objects of Kubernetes' own kinds may have: the schemas that kubernetes-validate brings along.

Its own function reads 1 MB of definitions anew for every object and tells one mistake; here they are read once, and all
are told.
"""

import functools
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

from pipelines.gitops.flux import group_of
from pipelines.gitops.kustomize import Manifest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from jsonschema import Draft202012Validator
    from referencing import Registry

KUBERNETES = "1.36"
"""The version of clusters/local/kind.yaml, the newest that Flux 2.9 is made for."""
GROUPS = ("", "apps", "batch", "policy", "autoscaling")
SUFFIX = ".k8s.io"
CUSTOM = ("gateway.networking.k8s.io", "metrics.k8s.io")


def is_core(manifest: Manifest) -> bool:
    """A kind that Kubernetes itself brings."""
    group = group_of(manifest)
    return group in GROUPS or (group.endswith(SUFFIX) and group not in CUSTOM)


def core_errors(manifest: Manifest) -> Iterator[str]:
    """`spec.replicas: 'two' is not of type 'integer'` for each mistake in an object."""
    # rbac.authorization.k8s.io/v1 → rbac-v1, as the files are named
    version = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", str(manifest["apiVersion"]))
    validator = _validator(f"{str(manifest['kind']).lower()}-{version}.json")
    if validator is None:
        yield f"{manifest['apiVersion']} has no kind {manifest['kind']} in Kubernetes {KUBERNETES}"
        return
    for error in validator.iter_errors(manifest):
        place = ".".join(str(part) for part in error.absolute_path) or "the object"
        yield f"{place}: {error.message[:300]}"


@functools.cache
def _validator(name: str) -> "Draft202012Validator | None":
    from jsonschema import Draft202012Validator

    path = _folder() / name
    if not path.is_file():
        return None
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")), registry=_definitions())


@functools.cache
def _definitions() -> "Registry[Any]":
    from referencing import Registry, Resource

    definitions = json.loads((_folder() / "_definitions.json").read_text(encoding="utf-8"))
    empty: Registry[Any] = Registry()
    return Resource.from_contents(definitions) @ empty


@functools.cache
def _folder() -> "Traversable":
    return resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{KUBERNETES}.0-local-strict"
