"""Every folder that a cluster applies builds."""

from pipelines.gitops.findings import TreeReport
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: TreeReport) -> None:
    """A folder that does not build is a finding; a model without a release is a note."""
    unreleased: dict[str, list[str]] = {}
    for cluster in tree.clusters:
        for applied in cluster.applied:
            if applied.problem:
                report.find(applied.path or cluster.folder, applied.problem)
            if applied.is_sample:
                model = (applied.path or "").split("/")[1]
                unreleased.setdefault(model, []).append(cluster.environment)
    for model, environments in unreleased.items():
        report.note(f"{model} was never released to {', '.join(environments)}; built with a sample release")
