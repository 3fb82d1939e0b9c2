"""A cluster's folder is its own: what was copied from another one says so nowhere any more."""

from pipelines.gitops.findings import Report
from pipelines.gitops.flux import SYSTEM, title
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: Report) -> None:
    for cluster in tree.clusters:
        for applied, manifest in cluster.objects():
            spec = manifest.get("spec") or {}
            if manifest.get("kind") == "FluxInstance":
                path = str((spec.get("sync") or {}).get("path", "")).removeprefix("./").rstrip("/")
                if path != cluster.folder:
                    where = tree.place(cluster, applied, manifest, "spec.sync.path")
                    report.find(where, f"{title(manifest)}: spec.sync.path is {path!r}; it stands in {cluster.folder}")
        said = cluster.variables.get("cluster-vars", {}).get("ENVIRONMENT", cluster.environment)
        if said != cluster.environment:
            for applied, manifest in cluster.objects():
                if title(manifest) == f"ConfigMap {SYSTEM}/cluster-vars":
                    where = tree.place(cluster, applied, manifest, "data.ENVIRONMENT")
                    report.find(where, f"data.ENVIRONMENT is {said!r}; this is {cluster.environment}")
