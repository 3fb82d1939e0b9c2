"""The generated files of the tree: written by `mlops render`, proven fresh by `mlops render --check`.

    apps/<use case>/<environment>/settings.yaml     the numbers of usecase.yaml with that environment's overrides
    clusters/<environment>/models/<use case>.yaml   how Flux applies the model, for every line that names it
    apps/<use case>/<environment>/pipeline*/        the pipeline, for clusters that run some (pipeline.compiling.files)

The other files of a use case are made once, by `mlops new` or here for an environment that is new, and then belong to
whoever owns it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.documents import write_atomically
from pipelines.environments import read_environments
from pipelines.gitops.settings import SETTINGS_FILE, ServerSettings
from pipelines.pipeline.compiling.files import pipeline_files, runs_pipelines
from pipelines.usecase import load_usecase, usecase_names
from pipelines.usecase.load import OVERRIDES_FILE, USECASE_FILE
from pipelines.usecase.new import environment_files

MODEL_LINE = re.compile(r"^\s*- models/(?P<usecase>[a-z0-9-]+)\.yaml\s*(#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class RenderedFile:
    """A file as it should be, by its path in the repository."""

    path: str
    text: str

    def is_fresh(self, root: Path) -> bool:
        path = root / self.path
        return path.is_file() and path.read_text(encoding="utf-8") == self.text


def render(root: Path) -> list[str]:
    """Write what is missing or stale; gives the paths that were written."""
    stale = [file for file in rendered_files(root) if not file.is_fresh(root)]
    for file in stale:
        write_atomically(root / file.path, file.text)
    return [file.path for file in stale]


def stale_files(root: Path) -> list[str]:
    """The generated files that are not what they would be written as now."""
    return [file.path for file in rendered_files(root) if not file.is_fresh(root)]


def rendered_files(root: Path) -> Iterator[RenderedFile]:
    """All generated files, in order. Raises UsecaseInvalid."""
    environments = read_environments(root).names
    for name in usecase_names(root):
        for environment in environments:
            yield from _first_files(root, name, environment)
            yield _settings(root, name, environment)
    for environment in environments:
        for name in deployed_models(root, environment):
            yield _model(name, environment)
        if runs_pipelines(root, environment):
            known = [name for name in deployed_models(root, environment) if name in usecase_names(root)]
            for path, text in pipeline_files(root, environment, known):
                yield RenderedFile(path, text)


def _first_files(root: Path, name: str, environment: str) -> Iterator[RenderedFile]:
    """What a use case's folder for an environment begins with, where it has none yet: as `mlops new` makes it."""
    folder = Path("apps") / name / environment
    if not (root / folder / "kustomization.yaml").is_file():
        for file, text in environment_files(name, environment).items():
            yield RenderedFile(str(folder / file), text)


def deployed_models(root: Path, environment: str) -> list[str]:
    """The models that a cluster runs: the lines `- models/<use case>.yaml` of its kustomization."""
    listing = root / "clusters" / environment / "kustomization.yaml"
    if not listing.is_file():
        return []
    return [match["usecase"] for match in MODEL_LINE.finditer(listing.read_text(encoding="utf-8"))]


def _settings(root: Path, name: str, environment: str) -> RenderedFile:
    folder = Path("apps") / name
    overrides = folder / environment / OVERRIDES_FILE
    sources = [str(folder / USECASE_FILE), *([str(overrides)] if (root / overrides).is_file() else [])]
    settings = ServerSettings.of(load_usecase(root, name, environment))
    return RenderedFile(str(folder / environment / SETTINGS_FILE), settings.to_yaml(sources))


def _model(name: str, environment: str) -> RenderedFile:
    text = f"""\
# Written by `mlops render` for the line `- models/{name}.yaml` in ../kustomization.yaml.
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: {name}
  namespace: flux-system
  labels:
    mlops-blueprint/usecase: {name}
spec:
  dependsOn:
    - name: platform
  path: ./apps/{name}/{environment}
  # Longer than the Deployment's progressDeadlineSeconds, so that Flux tells why a rollout failed.
  timeout: 6m
  wait: true
"""
    return RenderedFile(f"clusters/{environment}/models/{name}.yaml", text)
