"""A cluster as Flux sees it: its folder built, then every Kustomization found in it, and in those, and so on.

What clusters/<environment>/flux-instance.yaml makes is known: a GitRepository and a Kustomization, both `flux-system`.
"""

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from pipelines.environments import read_environments
from pipelines.gitops.kustomize import BuildFailed, Manifest, build, read_documents
from pipelines.gitops.substitution import Unresolved, substitute
from pipelines.release.release import RELEASE_FILE, Release

SYSTEM = "flux-system"
KUSTOMIZATION = "kustomize.toolkit.fluxcd.io"
PROVIDED = "platform-vars"
"""The ConfigMap that a platform makes; clusters/local/platform-vars.yaml names its keys."""

Substitutions = Mapping[str, Mapping[str, str]]
"""The ConfigMaps of flux-system by name, with what each holds."""


@dataclass
class Applied:
    """What one Flux Kustomization applies. `objects` is None when nothing could be built."""

    name: str
    kustomization: Manifest
    path: str | None
    objects: list[Manifest] = field(default_factory=list)
    problem: str = ""
    unresolved: list[tuple[Manifest, Unresolved]] = field(default_factory=list)
    is_sample: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.kustomization.get("spec") or {}
        return spec

    @property
    def needs(self) -> list[str]:
        """Names of the Kustomizations that have to be ready before."""
        return [entry["name"] for entry in self.spec.get("dependsOn") or []]


@dataclass
class Cluster:
    """A cluster's folder, its variables, and everything that Flux applies to it, the root first."""

    environment: str
    folder: str
    variables: Substitutions
    applied: list[Applied]

    @cached_property
    def by_name(self) -> dict[str, Applied]:
        return {applied.name: applied for applied in self.applied}

    def objects(self) -> Iterator[tuple[Applied, Manifest]]:
        for applied in self.applied:
            for manifest in applied.objects:
                yield applied, manifest


def read_clusters(root: Path) -> list[Cluster]:
    """All clusters of a checkout, each folder of it built once."""
    with tempfile.TemporaryDirectory(prefix="overlays-") as scratch, ThreadPoolExecutor(4) as pool:
        builder = _Builder(root.resolve(), Path(scratch).resolve())
        environments = [each for each in read_environments(root).names if (root / "clusters" / each).is_dir()]
        return list(pool.map(builder.cluster, environments))


def build_problems(root: Path, folders: Sequence[str]) -> list[str]:
    """Why each of these folders does not build on its own; empty where it does."""
    with tempfile.TemporaryDirectory(prefix="overlays-") as scratch, ThreadPoolExecutor(4) as pool:
        builder = _Builder(root.resolve(), Path(scratch).resolve())
        return list(pool.map(builder.problem, folders))


class _Builder:
    def __init__(self, root: Path, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        self.environments = read_environments(root).names
        self.builds: dict[str, Future[list[Manifest]]] = {}
        self.lock = Lock()

    def cluster(self, environment: str) -> Cluster:
        folder = f"clusters/{environment}"
        synced = Manifest({"metadata": {"name": SYSTEM, "namespace": SYSTEM}, "spec": {}})
        root = Applied(SYSTEM, synced, folder)
        try:
            root.objects = self._build(self.root, folder)
        except BuildFailed as error:
            root.problem = str(error)
        variables = {PROVIDED: self._provided(), **_config_maps(root.objects)}
        cluster = Cluster(environment, folder, variables, [root])
        waiting = [root]
        while waiting:
            children = [self._child(found, variables) for found in _kustomizations(waiting.pop().objects)]
            cluster.applied += children
            waiting += children
        return cluster

    def problem(self, folder: str) -> str:
        try:
            self._build(self._with_release(folder), folder)
        except BuildFailed as error:
            return str(error)
        return ""

    def _provided(self) -> dict[str, str]:
        """The names that every platform provides, with kind's values."""
        path = self.root / "clusters" / "local" / f"{PROVIDED}.yaml"
        documents = read_documents(path.read_text(encoding="utf-8")) if path.is_file() else []
        return {key: str(value) for document in documents for key, value in (document.get("data") or {}).items()}

    def _child(self, kustomization: Manifest, variables: Substitutions) -> Applied:
        spec = kustomization.get("spec") or {}
        name = kustomization["metadata"]["name"]
        if not is_own_tree(kustomization):
            return Applied(name, kustomization, None)
        path = str(spec.get("path", "./")).removeprefix("./").rstrip("/")
        applied = Applied(name, kustomization, path)
        folder = self.root / path
        if not (folder / "kustomization.yaml").is_file():
            applied.problem = f"{path}/kustomization.yaml does not exist"
            return applied
        try:
            base = self._with_release(path)
            applied.is_sample = base != self.root
            built = self._build(base, path, spec.get("components") or [], spec.get("patches") or [])
        except BuildFailed as error:
            applied.problem = str(error)
            return applied
        known = _known(spec, variables)
        for manifest in built:
            if "postBuild" not in spec:
                applied.objects.append(manifest)
                continue
            filled, missing = substitute(manifest, known)
            applied.objects.append(filled)
            applied.unresolved += [(manifest, each) for each in missing]
        return applied

    def _build(
        self, base: Path, path: str, components: Sequence[str] = (), patches: Sequence[Any] = ()
    ) -> list[Manifest]:
        """Once for all clusters that apply the same; whoever comes second waits for the first."""
        key = json.dumps([str(base), path, components, patches], sort_keys=True)
        with self.lock:
            known = self.builds.get(key)
            future = self.builds.setdefault(key, Future())
        if known is None:
            try:
                future.set_result(_built(base, path, components, patches))
            except Exception as error:  # noqa: BLE001 - whatever it is, everybody who waits gets it
                future.set_exception(error)
        return copy.deepcopy(future.result())

    def _with_release(self, path: str) -> Path:
        """The checkout; for a model that was never released, a copy of its folder with a sample release."""
        parts = Path(path).parts
        folder = self.root / path
        is_model = len(parts) == 3 and parts[0] == "apps" and parts[2] in self.environments
        if not is_model or (folder / RELEASE_FILE).is_file():
            return self.root
        base = self.scratch / "-".join(parts)
        for part in (Path("apps") / "components", Path("apps") / parts[1]):
            shutil.copytree(
                self.root / part, base / part, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
            )
        (base / path / RELEASE_FILE).write_text(sample_release(parts[1]).to_yaml(), encoding="utf-8")
        return base


def _built(base: Path, path: str, components: Sequence[str], patches: Sequence[Any]) -> list[Manifest]:
    objects = build(base / path, components, patches)
    for manifest in objects:
        origin = Path(manifest.origin or "/")
        manifest.origin = origin.relative_to(base).as_posix() if origin.is_relative_to(base) else ""
    return objects


def sample_release(usecase: str) -> Release:
    """What a release looks like, for a model that has none yet."""
    return Release(
        bento=f"{usecase}:1",
        image=f"registry.example.com/models/{usecase}@sha256:{'0' * 64}",
        model=f"{usecase}/1",
        run="0" * 32,
        data="0" * 12,
        code="0" * 12,
    )


def is_own_tree(kustomization: Manifest) -> bool:
    """It reads this repository, not somebody else's."""
    source = (kustomization.get("spec") or {}).get("sourceRef") or {}
    return source.get("kind") == "GitRepository" and source.get("name") in (SYSTEM, "platform")


def _kustomizations(objects: list[Manifest]) -> list[Manifest]:
    return [each for each in objects if each.get("kind") == "Kustomization" and group_of(each) == KUSTOMIZATION]


def _config_maps(objects: list[Manifest]) -> dict[str, dict[str, str]]:
    maps = [each for each in objects if each.get("kind") == "ConfigMap" and namespace_of(each) == SYSTEM]
    return {
        each["metadata"]["name"]: {key: str(value) for key, value in (each.get("data") or {}).items()} for each in maps
    }


def _known(spec: Mapping[str, Any], variables: Substitutions) -> dict[str, str]:
    """What a Kustomization may use: the ConfigMaps that it names, a later one over an earlier one, then its own."""
    build = spec.get("postBuild") or {}
    known: dict[str, str] = {}
    for each in build.get("substituteFrom") or []:
        known |= variables.get(each["name"], {})
    return known | {key: str(value) for key, value in (build.get("substitute") or {}).items()}


def group_of(manifest: Manifest) -> str:
    group, slash, _ = str(manifest.get("apiVersion", "")).partition("/")
    return group if slash else ""


def namespace_of(manifest: Manifest) -> str:
    return str((manifest.get("metadata") or {}).get("namespace", ""))


def title(manifest: Manifest) -> str:
    """`Deployment flight-delays/model-server`"""
    metadata = manifest.get("metadata") or {}
    namespace = metadata.get("namespace")
    name = metadata.get("name", "?")
    return f"{manifest.get('kind', 'an object without kind')} {f'{namespace}/' if namespace else ''}{name}"
