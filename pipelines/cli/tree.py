"""Verbs about the tree that Flux reads: render."""

import sys

import click

from pipelines.cli.context import Context
from pipelines.console import make_console


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is missing or stale.")
@click.pass_obj
def render(context: Context, check: bool) -> None:
    """Write the files that are generated from usecase.yaml."""
    from pipelines.gitops import render as rendering

    root = context.settings.root
    if check:
        stale = rendering.stale_files(root)
        for path in stale:
            click.echo(f"{path}: is not what `mlops render` writes", err=True)
        if stale:
            click.echo("  hint: `mlops render` writes it, then commit it", err=True)
            sys.exit(1)
        make_console().print("all generated files are fresh")
        return
    written = rendering.render(root)
    for path in written:
        make_console().print(f"wrote {path}")
    if not written:
        make_console().print("all generated files were fresh")
