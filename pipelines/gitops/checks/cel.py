"""Every CEL expression compiles: Flux and the API server would say so only when it is too late."""

from pipelines.gitops.expressions import expressions
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: TreeReport) -> None:
    judged: set[str] = set()
    for cluster in tree.clusters:
        for expression in expressions(cluster):
            if expression.text in judged:
                continue
            judged.add(expression.text)
            problem = expression.problem()
            if problem:
                report.find(cluster.folder, f"{expression.where}: {expression.place}: {problem}")
