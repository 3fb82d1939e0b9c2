"""The option --environment, which knows the checkout's environments, and the verb that lists them."""

from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.context import Context
from pipelines.errors import MlopsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pipelines.environments import Environments


class EnvironmentName(click.ParamType[str]):
    """The name of an environment in environments.yaml; with `takes_runs`, of one that runs release to."""

    name = "environment"

    def __init__(self, takes_runs: bool = False) -> None:
        self.takes_runs = takes_runs

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it was given. Raises click.BadParameter, which lists those that there are."""
        context = ctx.find_object(Context) if ctx else None
        if context is None:
            return str(value)
        environments = context.environments
        try:
            return (environments.require_runs(value) if self.takes_runs else environments.get(value)).name
        except MlopsError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list["CompletionItem"]:  # type: ignore[override]
        """The names there are."""
        from click.shell_completion import CompletionItem

        given = ctx.find_root().params
        try:
            known = Context(given.get("root"), given.get("home")).environments
        except MlopsError:
            return []
        names = [one.name for one in known if one.takes_runs or not self.takes_runs]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command()
@click.option(
    "--promoted-from", metavar="NAME", type=EnvironmentName(), help="Only the names of those that take its releases."
)
@click.pass_obj
def environments(context: Context, promoted_from: str | None) -> None:
    """List the environments, in the order that releases reach them.

    They are those of environments.yaml at the root of the repository.
    """
    known = context.environments
    if promoted_from:
        for one in known.promoted:
            if one.promoted_from == promoted_from:
                click.echo(one.name)
        return
    _print_table(known)


def _print_table(known: "Environments") -> None:
    from pipelines.console import make_console, table

    rows = []
    for one in known:
        how = "from runs" if one.takes_runs else f"from {one.promoted_from}, by {one.releases}"
        rows.append([one.name, how, f"clusters/{one.name}" + (", the embedded platform" if one.embedded else "")])
    make_console().print(table("Environments", ["environment", "gets releases", "served by"], rows))
