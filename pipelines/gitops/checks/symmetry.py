"""The clusters' folders have the same files, so that a diff of two shows what is really different."""

from pathlib import Path

from pipelines.gitops.findings import TreeReport
from pipelines.gitops.tree import Tree

ONLY_LOCAL = {"kind.yaml", "git-server.yaml", "platform-vars.yaml"}
"""What a laptop needs to be a cluster at all."""


def check(tree: Tree, report: TreeReport) -> None:
    files = {cluster.folder: _files(tree.root / cluster.folder) for cluster in tree.clusters}
    shared = set().union(*files.values()) if files else set()
    for folder, own in files.items():
        for missing in sorted(shared - own):
            holder = next(other for other, names in files.items() if missing in names)
            report.find(folder, f"{missing} is missing; {holder} has it")


def _files(folder: Path) -> set[str]:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    # Which models a cluster runs, whether it trains them, and which secrets it needs, is its own choice.
    return {name for name in names if not name.startswith(("models/", "pipelines/", "secrets/"))} - ONLY_LOCAL
