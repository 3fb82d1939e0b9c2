"""Every release.yaml can be read, and what takes another environment's releases only runs what that one ran."""

from pipelines.environments import read_environments
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.tree import Tree
from pipelines.release.promotion_check import HistoryMissing, find_unstaged
from pipelines.release.release import Release, ReleaseInvalid, release_path
from pipelines.usecase import usecase_names


def check(tree: Tree, report: TreeReport) -> None:
    for usecase in usecase_names(tree.root):
        for environment in read_environments(tree.root).names:
            path = release_path(usecase, environment)
            if (tree.root / path).is_file():
                try:
                    Release.from_yaml((tree.root / path).read_text(encoding="utf-8"), path)
                except ReleaseInvalid as error:
                    report.find(path, str(error).removeprefix(f"{path}: "))
        try:
            found = find_unstaged(tree.root, usecase)
        except HistoryMissing as error:
            report.note(str(error))
            continue
        for unstaged in found:
            report.find(unstaged.path, unstaged.told)
