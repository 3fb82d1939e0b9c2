"""HelmReleases set only values that their chart has: Helm takes a misspelt one without a word."""

from collections.abc import Iterator
from typing import Any

from pipelines.gitops.charts import chart_of
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import Applied, Cluster, title
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.tree import Tree

UNLISTED = {
    "cert-manager": {"global.leaderElection.namespace"},
    "kube-prometheus-stack": {"grafana.sidecar.dashboards.folderAnnotation"},
}
"""Values that a chart takes although its values.yaml shows them in comments alone."""
FREE = {"mlflow": {"server.value_options"}}
"""Maps with defaults that take any other key too."""


def check(tree: Tree, report: TreeReport) -> None:
    if not tree.schemas.has_charts:
        report.note(f"values of charts not checked: there is no {tree.schemas.path}/charts (docs/checks.md)")
        return
    for cluster in tree.clusters:
        for applied, manifest in cluster.objects():
            if manifest.get("kind") == "HelmRelease":
                _release(tree, cluster, applied, manifest, report)


def _release(tree: Tree, cluster: Cluster, applied: Applied, release: Manifest, report: TreeReport) -> None:
    found = chart_of(cluster, release)
    defaults = tree.schemas.chart_values(found.name) if found else None
    if found is None or defaults is None:
        report.note(f"values of {title(release)} not checked: the values of its chart are not at hand")
        return
    chart, version = found.name, found.version
    at_hand = tree.schemas.chart_version(chart)
    if version and at_hand and version.lstrip("v") != at_hand.lstrip("v"):
        report.note(f"values of {title(release)} checked against {chart} {at_hand}, but {version} is installed")
    known, free = UNLISTED.get(chart, set()), FREE.get(chart, set())
    for path in _unknown((release.get("spec") or {}).get("values") or {}, defaults, ""):
        if path not in known and path.rpartition(".")[0] not in free:
            where = tree.place(cluster, applied, release, f"spec.values.{path}")
            report.find(where, f"{title(release)}: values.{path}: chart {chart} has no such value")


def _unknown(values: dict[str, Any], defaults: dict[str, Any], path: str) -> Iterator[str]:
    """Keys that the defaults do not have; an empty map there takes anything."""
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if key not in defaults:
            yield here
        elif isinstance(value, dict) and isinstance(defaults[key], dict) and defaults[key]:
            yield from _unknown(value, defaults[key], here)
