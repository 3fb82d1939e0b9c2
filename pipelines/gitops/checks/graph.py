"""What refers to something finds it, in an order that ends: sources, paths, dependencies, namespaces, kinds."""

from collections.abc import Iterator
from typing import Any

from pipelines.gitops.core import is_core
from pipelines.gitops.findings import Report
from pipelines.gitops.flux import SYSTEM, Applied, Cluster, group_of, title
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.tree import Tree

MADE_BY_FLUX_INSTANCE = {("GitRepository", SYSTEM, SYSTEM), ("Kustomization", SYSTEM, SYSTEM)}
PROVIDED = {("ConfigMap", SYSTEM, "platform-vars"), ("Secret", SYSTEM, "sops-age")}
NAMESPACES = {"default", "kube-system", "kube-public", SYSTEM}
SOURCES = ("GitRepository", "OCIRepository", "HelmRepository", "HelmChart", "Bucket", "ExternalArtifact")

Key = tuple[str, str, str]


def check(tree: Tree, report: Report) -> None:
    for cluster in tree.clusters:
        objects = {_key(manifest): applied for applied, manifest in cluster.objects()}
        earlier = _Order(cluster)
        _dependencies(cluster, earlier, report)
        for applied, manifest in cluster.objects():
            where = applied.path or cluster.folder
            for reference, place in _references(manifest):
                if reference not in objects and reference not in MADE_BY_FLUX_INSTANCE | PROVIDED:
                    kind, namespace, name = reference
                    report.find(where, f"{title(manifest)}: {place}: there is no {kind} {namespace}/{name}")
            _namespace(cluster, applied, manifest, objects, earlier, report)
            _kind(cluster, applied, manifest, earlier, report)
        _once(cluster, report)


class _Order:
    """Which Kustomizations are ready before another one begins."""

    def __init__(self, cluster: Cluster) -> None:
        self.by_name = cluster.by_name
        self.parents = {
            str(manifest["metadata"]["name"]): applied.name
            for applied, manifest in cluster.objects()
            if manifest.get("kind") == "Kustomization"
        }

    def before(self, name: str) -> set[str]:
        """Itself, those it depends on, those that contain it, and theirs."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each in found or each not in self.by_name:
                continue
            found.add(each)
            waiting += [*self.by_name[each].needs, *([self.parents[each]] if each in self.parents else [])]
        return found

    def cycle(self, name: str) -> list[str]:
        """The way from a Kustomization back to itself, by dependsOn alone."""
        return next(self._ways(name, [name]), [])

    def _ways(self, name: str, path: list[str]) -> Iterator[list[str]]:
        for need in self.by_name[path[-1]].needs if path[-1] in self.by_name else []:
            if need == name:
                yield [*path, need]
            elif need not in path:
                yield from self._ways(name, [*path, need])


def _dependencies(cluster: Cluster, order: _Order, report: Report) -> None:
    for applied in cluster.applied:
        for need in applied.needs:
            if need not in cluster.by_name:
                known = ", ".join(sorted(cluster.by_name))
                report.find(cluster.folder, f"Kustomization {applied.name}: dependsOn {need}, which is none of {known}")
        way = order.cycle(applied.name)
        if way and way[0] == min(way):
            report.find(cluster.folder, f"these Kustomizations wait for each other: {' → '.join(way)}")


def _references(manifest: Manifest) -> Iterator[tuple[Key, str]]:
    """What an object of Flux names, and where it does."""
    spec = manifest.get("spec") or {}
    own = str((manifest.get("metadata") or {}).get("namespace", ""))
    if not group_of(manifest).endswith("toolkit.fluxcd.io"):
        return
    chart, build = (spec.get("chart") or {}).get("spec") or {}, spec.get("postBuild") or {}
    named: list[tuple[str, dict[str, Any] | None]] = [
        ("spec.sourceRef", spec.get("sourceRef")),
        ("spec.chartRef", spec.get("chartRef")),
        ("spec.chart.spec.sourceRef", chart.get("sourceRef")),
        *(("spec.postBuild.substituteFrom", each) for each in build.get("substituteFrom") or []),
        *(("spec.valuesFrom", each) for each in spec.get("valuesFrom") or []),
        *(("spec.eventSources", each) for each in spec.get("eventSources") or []),
        *(("spec.resources", each) for each in spec.get("resources") or []),
    ]
    if manifest.get("kind") == "HelmRelease":
        named += [("spec.dependsOn", {"kind": "HelmRelease", **each}) for each in spec.get("dependsOn") or []]
    if spec.get("providerRef"):
        named.append(("spec.providerRef", {"kind": "Provider", **spec["providerRef"]}))
    for place, reference in named:
        if reference and reference["name"] != "*" and not reference.get("optional"):
            yield (reference["kind"], reference.get("namespace", own), reference["name"]), place


def _namespace(
    cluster: Cluster,
    applied: Applied,
    manifest: Manifest,
    objects: dict[Key, Applied],
    order: _Order,
    report: Report,
) -> None:
    namespace = str((manifest.get("metadata") or {}).get("namespace", ""))
    if not namespace or namespace in NAMESPACES:
        return
    maker = objects.get(("Namespace", "", namespace))
    if maker is None:
        report.find(applied.path or cluster.folder, f"{title(manifest)}: no Namespace {namespace} is declared anywhere")
    elif maker.name not in order.before(applied.name):
        report.find(
            applied.path or cluster.folder,
            f"{title(manifest)}: its namespace is made by {maker.name}, which {applied.name} does not wait for",
        )


def _kind(cluster: Cluster, applied: Applied, manifest: Manifest, order: _Order, report: Report) -> None:
    """A custom object comes after what brings its kind: charts, or somebody else's manifests, of a stage before."""
    group = group_of(manifest)
    if is_core(manifest) or group.endswith("toolkit.fluxcd.io") or group == "fluxcd.controlplane.io":
        return
    before = order.before(applied.name) - {applied.name}
    if not any(_installs(each) for each in cluster.applied if each.name in before):
        report.find(
            applied.path or cluster.folder,
            f"{title(manifest)}: {applied.name} waits for nothing that installs software, which {group} needs",
        )


def _installs(applied: Applied) -> bool:
    return applied.path is None or any(each.get("kind") == "HelmRelease" for each in applied.objects)


def _once(cluster: Cluster, report: Report) -> None:
    """Two Kustomizations that apply one object undo each other for ever."""
    owners: dict[tuple[str, Key], str] = {}
    for applied, manifest in cluster.objects():
        key = (group_of(manifest), _key(manifest))
        if owners.setdefault(key, applied.name) != applied.name:
            report.find(
                applied.path or cluster.folder, f"{title(manifest)} is applied by {owners[key]} and by {applied.name}"
            )


def _key(manifest: Manifest) -> Key:
    metadata = manifest.get("metadata") or {}
    return str(manifest.get("kind")), str(metadata.get("namespace", "")), str(metadata.get("name"))
