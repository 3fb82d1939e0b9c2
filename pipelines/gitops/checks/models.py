"""Every use case has its folders, every cluster's line leads to one, and what is generated is fresh."""

from pipelines.environments import ENVIRONMENTS_FILE, read_environments
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.render import deployed_models, stale_files
from pipelines.gitops.tree import Tree
from pipelines.pipeline.compiling.files import ImagesInvalid
from pipelines.usecase import usecase_names
from pipelines.usecase.document import UsecaseInvalid
from pipelines.usecase.load import OVERRIDES_FILE


def check(tree: Tree, report: TreeReport) -> None:
    names = usecase_names(tree.root)
    for name in names:
        _folders(tree, name, report)
    for cluster in tree.clusters:
        models = deployed_models(tree.root, cluster.environment)
        for name in sorted(set(models) - set(names)):
            report.find(
                f"{cluster.folder}/kustomization.yaml",
                f"models/{name}.yaml: there is no use case apps/{name}; take the line away, or `mlops new {name}`",
            )
        for name in sorted(set(names) - set(models)):
            report.note(f"{name} is not in {cluster.environment}: no line models/{name}.yaml in {cluster.folder}")
        for path in sorted((tree.root / cluster.folder / "models").glob("*.yaml")):
            if path.stem not in models:
                report.find(
                    str(path.relative_to(tree.root)),
                    "no line of ../kustomization.yaml names it; put the line back, or remove the file too",
                )
    try:
        for stale in stale_files(tree.root):
            report.find(stale, "is not what `mlops render` writes; run it and commit the result")
    except UsecaseInvalid as error:
        report.note(f"generated files not checked: {error}")
    except ImagesInvalid as error:
        report.find("clusters", str(error))


def _folders(tree: Tree, name: str, report: TreeReport) -> None:
    environments = read_environments(tree.root).names
    if not (tree.root / "apps" / name / "base" / "kustomization.yaml").is_file():
        report.find(f"apps/{name}/base", "has no kustomization.yaml; another use case's shows what is in it")
    for path in sorted((tree.root / "apps" / name).glob("*/kustomization.yaml")):
        if path.parent.name not in ("base", *environments):
            report.find(f"apps/{name}/{path.parent.name}", f"{ENVIRONMENTS_FILE} has no such environment")
    for environment in environments:
        if not (tree.root / "apps" / name / environment / "kustomization.yaml").is_file():
            report.find(f"apps/{name}/{environment}", "has no kustomization.yaml; `mlops render` makes it")
        folder = tree.root / "apps" / name / environment
        listing = folder / "kustomization.yaml"
        text = listing.read_text(encoding="utf-8") if listing.is_file() else OVERRIDES_FILE
        if (folder / OVERRIDES_FILE).is_file() and OVERRIDES_FILE not in text:
            report.find(
                f"apps/{name}/{environment}/kustomization.yaml",
                f"{OVERRIDES_FILE} is not added to the ConfigMap usecase, so the monitor would not see it",
            )
