"""`mlops`: the one command. Thin: every verb parses its words, calls the room that does it, prints what came of it."""

import sys
from pathlib import Path
from typing import Any

import click

from pipelines.cli import labels, monitor, platform, releases, runs, tree, usecases, vertex
from pipelines.cli.context import Context
from pipelines.console import fail
from pipelines.errors import MlopsError


class _Group(click.Group):
    """Tells an MlopsError as one message with a hint, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MlopsError as error:
            fail(error)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--root", type=click.Path(path_type=Path), help="The checkout with apps/ (default: found upwards from here)."
)
@click.option("--home", type=click.Path(path_type=Path), help="The state folder (default: .mlops in the checkout).")
@click.version_option(package_name="mlops-blueprint", message="%(package)s %(version)s")
@click.pass_context
def main(ctx: click.Context, root: Path | None, home: Path | None) -> None:
    """Train, gate, register, package, commit, reconcile: machine learning in production by Git alone.

    Start with `mlops demo`, or with `mlops new my-usecase --template tabular` and `mlops run my-usecase`.
    """
    ctx.obj = Context(root, home)


for verb in (
    usecases.new,
    tree.check,
    tree.render,
    runs.run,
    runs.show,
    releases.rollback,
    releases.promote,
    releases.trace,
    labels.labels,
    monitor.monitor,
    platform.up,
    platform.down,
    platform.status,
    platform.demo,
    vertex.vertex,
):
    main.add_command(verb)
