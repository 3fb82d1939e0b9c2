"""What refers to something finds it: sources, charts, variables, values, providers, parents; and no circle of waits."""

from collections.abc import Iterator
from typing import Any

from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import PROVIDED, SYSTEM, Cluster, group_of, namespace_of, title
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.order import Order
from pipelines.gitops.tree import Tree

MADE_ELSEWHERE = {
    ("GitRepository", SYSTEM, SYSTEM),
    ("Kustomization", SYSTEM, SYSTEM),
    ("ConfigMap", SYSTEM, PROVIDED),
    ("Secret", SYSTEM, "sops-age"),
}
"""By the FluxInstance, and by the platform below."""

Key = tuple[str, str, str]
Named = tuple[str, str, dict[str, Any] | None]


def check(tree: Tree, report: TreeReport) -> None:
    for cluster in tree.clusters:
        known = {_key(manifest) for _, manifest in cluster.objects()} | MADE_ELSEWHERE
        for applied, manifest in cluster.objects():
            for kind, field, reference in _references(manifest):
                if not reference or reference.get("name") == "*" or reference.get("optional"):
                    continue
                namespace = str(reference.get("namespace") or namespace_of(manifest))
                key = (str(reference.get("kind") or kind), namespace, str(reference.get("name")))
                if key not in known:
                    told = f"there is no {key[0]} {namespace}/{key[2]}"
                    report.find(tree.place(cluster, applied, manifest, field), f"{title(manifest)}: {field}: {told}")
        _circles(tree, cluster, report)
        _once(tree, cluster, report)


def _references(manifest: Manifest) -> Iterator[Named]:
    """(kind unless it says one, field, the reference) of what an object names and only this tree can hold."""
    spec, kind = manifest.get("spec") or {}, str(manifest.get("kind"))
    if group_of(manifest).endswith("toolkit.fluxcd.io"):
        chart, build = (spec.get("chart") or {}).get("spec") or {}, spec.get("postBuild") or {}
        yield "", "spec.sourceRef", spec.get("sourceRef")
        yield "", "spec.chartRef", spec.get("chartRef")
        yield "", "spec.chart.spec.sourceRef", chart.get("sourceRef")
        yield "Provider", "spec.providerRef", spec.get("providerRef")
        yield from _each("spec.postBuild.substituteFrom", build.get("substituteFrom"))
        for field in ("valuesFrom", "eventSources", "resources", "healthChecks"):
            yield from _each(f"spec.{field}", spec.get(field))
        yield from _each("spec.dependsOn", spec.get("dependsOn"), kind)
    elif kind == "HTTPRoute":
        yield from _each("spec.parentRefs", spec.get("parentRefs"), "Gateway")
    elif kind == "HorizontalPodAutoscaler":
        yield "", "spec.scaleTargetRef", spec.get("scaleTargetRef")
    elif kind in ("RoleBinding", "ClusterRoleBinding"):
        for number, subject in enumerate(manifest.get("subjects") or []):
            if subject.get("kind") == "ServiceAccount":
                yield "", f"subjects[{number}]", subject
    elif kind in ("Deployment", "StatefulSet", "DaemonSet"):
        yield from _of_pods(((spec.get("template") or {}).get("spec")) or {})


def _each(field: str, references: list[dict[str, Any]] | None, kind: str = "") -> Iterator[Named]:
    for number, reference in enumerate(references or []):
        yield kind, f"{field}[{number}]", reference


def _of_pods(pod: dict[str, Any]) -> Iterator[Named]:
    """Secrets are left out: most are made in the cluster, by operators."""
    if pod.get("serviceAccountName"):
        yield "ServiceAccount", "spec.template.spec.serviceAccountName", {"name": pod["serviceAccountName"]}
    for number, volume in enumerate(pod.get("volumes") or []):
        yield "ConfigMap", f"spec.template.spec.volumes[{number}].configMap", volume.get("configMap")
    for group in ("initContainers", "containers"):
        for number, container in enumerate(pod.get(group) or []):
            field = f"spec.template.spec.{group}[{number}]"
            for index, each in enumerate(container.get("envFrom") or []):
                yield "ConfigMap", f"{field}.envFrom[{index}].configMapRef", each.get("configMapRef")
            for index, each in enumerate(container.get("env") or []):
                value = (each.get("valueFrom") or {}).get("configMapKeyRef")
                yield "ConfigMap", f"{field}.env[{index}].valueFrom.configMapKeyRef", value


def _circles(tree: Tree, cluster: Cluster, report: TreeReport) -> None:
    order = Order(cluster)
    for applied in cluster.applied:
        way = order.cycle(applied.name)
        if way and way[0] == min(way):
            where = tree.place(cluster, applied, applied.kustomization, "spec.dependsOn")
            report.find(where, f"these Kustomizations wait for each other: {' → '.join(way)}")


def _once(tree: Tree, cluster: Cluster, report: TreeReport) -> None:
    """Two Kustomizations that apply one object undo each other for ever."""
    owners: dict[tuple[str, Key], str] = {}
    for applied, manifest in cluster.objects():
        key = (group_of(manifest), _key(manifest))
        if owners.setdefault(key, applied.name) != applied.name:
            where = tree.place(cluster, applied, manifest)
            report.find(where, f"{title(manifest)} is applied by {owners[key]} and by {applied.name}")


def _key(manifest: Manifest) -> Key:
    return str(manifest.get("kind")), namespace_of(manifest), str((manifest.get("metadata") or {}).get("name"))
