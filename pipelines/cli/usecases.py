"""Verbs about use cases: new."""

import click

from pipelines.cli.context import Context
from pipelines.console import make_console


@click.command()
@click.argument("name")
@click.option("--template", type=click.Choice(["tabular", "image"]), required=True, help="What the data is like.")
@click.pass_obj
def new(context: Context, name: str, template: str) -> None:
    """Make apps/NAME from a template; it runs at once.

    Then change it, part by part, into what you need: docs/add-a-use-case.md.
    """
    from pipelines.gitops.render import render
    from pipelines.usecase.new import new_usecase

    folder = new_usecase(context.settings.root, name, template)  # type: ignore[arg-type]
    render(context.settings.root)
    console = make_console()
    console.print(f"made {folder.relative_to(context.settings.root)}/: usecase.yaml, model.py, README.md")
    console.print(f"  next: `mlops up` to serve what is released, then `mlops run {name}`")
    console.print("  then make it yours: docs/add-a-use-case.md")
    console.print(
        f"  to serve it in a cluster: add `- models/{name}.yaml` to its kustomization.yaml, then `mlops render`"
    )
