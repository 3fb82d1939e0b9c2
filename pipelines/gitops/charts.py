"""Which chart a HelmRelease installs."""

from dataclasses import dataclass

from pipelines.gitops.flux import Cluster, namespace_of
from pipelines.gitops.kustomize import Manifest


@dataclass(frozen=True)
class Chart:
    """Its name, and the version that is pinned; empty where none is."""

    name: str
    version: str


def chart_of(cluster: Cluster, release: Manifest) -> Chart | None:
    """By way of the OCIRepository that it refers to, or by name in a repository; None when there is no such source."""
    spec = release.get("spec") or {}
    reference = spec.get("chartRef")
    if not reference:
        chart = (spec.get("chart") or {}).get("spec") or {}
        name = str(chart.get("chart", "")).rstrip("/").rsplit("/", 1)[-1]
        return Chart(name, str(chart.get("version", ""))) if name else None
    wanted = (reference["kind"], reference.get("namespace", namespace_of(release)), reference["name"])
    for _, source in cluster.objects():
        if (source.get("kind"), namespace_of(source), (source.get("metadata") or {}).get("name")) == wanted:
            tag = str((source["spec"].get("ref") or {}).get("tag", ""))
            return Chart(str(source["spec"].get("url", "")).rsplit("/", 1)[-1], tag)
    return None
