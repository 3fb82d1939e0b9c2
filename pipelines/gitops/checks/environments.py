"""Each cluster's folder is that of an environment, and its own: what was copied from another one says so nowhere."""

from pipelines.environments import ENVIRONMENTS_FILE, read_environments
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import SYSTEM, title
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: TreeReport) -> None:
    known = read_environments(tree.root).names
    for name in sorted(file.parent.name for file in (tree.root / "clusters").glob("*/flux-instance.yaml")):
        if name not in known:
            told = f"{ENVIRONMENTS_FILE} has no environment {name}, so nothing here is checked or rendered"
            report.find(f"clusters/{name}", f"{told}; add the entry, or remove the folder")
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
