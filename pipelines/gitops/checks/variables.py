"""Every `${VARIABLE}` is known to Flux, and what a platform provides is used."""

from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import PROVIDED, title
from pipelines.gitops.kustomize import read_documents
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: TreeReport) -> None:
    for cluster in tree.clusters:
        for applied in cluster.applied:
            for manifest, missing in applied.unresolved:
                where = tree.place(cluster, applied, manifest, missing.field)
                report.find(where, f"{title(manifest)}: {missing.field}: {missing.problem}")
    _unused(tree, report)


def _unused(tree: Tree, report: TreeReport) -> None:
    """A key that nothing reads is a promise that every cloud keeps for nobody."""
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("apps", "clusters", "infrastructure")
        for path in (tree.root / folder).rglob("*.yaml")
        if path.name not in (f"{PROVIDED}.yaml", "cluster-vars.yaml")
    ]
    files = [tree.root / "clusters" / "local" / f"{PROVIDED}.yaml"]
    files += [tree.root / cluster.folder / "cluster-vars.yaml" for cluster in tree.clusters]
    for path in files:
        documents = read_documents(path.read_text(encoding="utf-8")) if path.is_file() else []
        for key in (key for document in documents for key in document.get("data") or {}):
            if not any(f"${{{key}" in text or f"data.{key}" in text for text in texts):
                report.find(str(path.relative_to(tree.root)), f"data.{key}: no manifest uses it; take it away")
