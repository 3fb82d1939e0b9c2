"""Every release.yaml can be read, and production only runs what staging ran."""

from pipelines.gitops.findings import Report
from pipelines.gitops.tree import Tree
from pipelines.release.promotion_check import HistoryMissing, unknown_to_staging
from pipelines.release.release import Release, ReleaseInvalid, release_path
from pipelines.settings import ENVIRONMENTS
from pipelines.usecase import usecase_names


def check(tree: Tree, report: Report) -> None:
    for usecase in usecase_names(tree.root):
        for environment in ENVIRONMENTS:
            path = release_path(usecase, environment)
            if (tree.root / path).is_file():
                try:
                    Release.from_yaml((tree.root / path).read_text(encoding="utf-8"), path)
                except ReleaseInvalid as error:
                    report.find(path, str(error).removeprefix(f"{path}: "))
        try:
            unstaged = unknown_to_staging(tree.root, usecase)
        except HistoryMissing as error:
            report.note(str(error))
            continue
        if unstaged is not None:
            report.find(unstaged.path, unstaged.told)
