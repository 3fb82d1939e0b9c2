"""All checks of the tree, in the order in which their faults are best mended."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.gitops.findings import TreeReport


def check_tree(root: Path, schemas: Path | None = None) -> "TreeReport":
    """Build every cluster as Flux would and hold all of it to the rules; nothing is written, nothing is asked."""
    from pipelines.gitops.checks import (
        builds,
        cel,
        charts,
        environments,
        fields,
        graph,
        listed,
        models,
        order,
        policy,
        releases,
        symmetry,
        variables,
        versions,
    )
    from pipelines.gitops.findings import TreeReport
    from pipelines.gitops.tree import Tree

    report, tree = TreeReport(), Tree.read(root, schemas)
    rules = (
        models,
        builds,
        variables,
        graph,
        listed,
        order,
        symmetry,
        environments,
        fields,
        policy,
        cel,
        charts,
        versions,
        releases,
    )
    for rule in rules:
        rule.check(tree, report)
    applied = [len(list(cluster.objects())) for cluster in tree.clusters]
    names = ", ".join(cluster.environment for cluster in tree.clusters)
    report.judged = f"{len(tree.clusters)} clusters valid: {names}; {sum(applied)} objects"
    return report
