"""Every YAML file is named by a kustomization.yaml, and what no cluster uses today builds all the same."""

import os

from pipelines.gitops.checks.symmetry import ONLY_LOCAL
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import build_problems
from pipelines.gitops.listing import Listings
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: TreeReport) -> None:
    listings = Listings(tree.root)
    for path in listings.unlisted:
        folder, _, name = path.rpartition("/")
        # Lines for models have a rule of their own.
        if not (folder == "clusters/local" and name in ONLY_LOCAL) and not folder.endswith("/models"):
            report.find(path, "no kustomization.yaml names it, so Flux never sees it; list it, or remove the file")
    spare = [
        folder
        for folder in sorted(set(listings.named) - listings.reached(_used(tree)))
        if listings.kinds[folder] == "Kustomization"
    ]
    for folder, problem in zip(spare, build_problems(tree.root, spare), strict=True):
        if problem:
            report.find(folder, problem)


def _used(tree: Tree) -> set[str]:
    """The folders that some cluster applies, as such or as a component."""
    used = {cluster.folder for cluster in tree.clusters}
    for applied in (applied for cluster in tree.clusters for applied in cluster.applied):
        if applied.path:
            used.add(applied.path)
            used |= {os.path.normpath(f"{applied.path}/{each}") for each in applied.spec.get("components") or []}
    return used
