"""Every folder that a cluster applies builds."""

from pipelines.gitops.findings import Report
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: Report) -> None:
    """A folder that does not build is a finding; a model without a release is a note."""
    if not tree.clusters:
        report.find("clusters", "there is no cluster; expected clusters/{local,staging,production}")
    for cluster in tree.clusters:
        for applied in cluster.applied:
            if applied.problem:
                report.find(applied.path or cluster.folder, applied.problem)
            if applied.is_sample:
                model = (applied.path or "").split("/")[1]
                report.note(f"{model} has no release in {cluster.environment} yet (built with a sample one)")
