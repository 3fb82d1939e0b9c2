"""Verbs about releases: rollback, promote, trace."""

import click

from pipelines.cli.context import Context
from pipelines.cli.following import await_rollout
from pipelines.console import Timeline, is_interactive, make_console
from pipelines.settings import ENVIRONMENTS


@click.command()
@click.argument("name")
@click.option("--environment", type=click.Choice(ENVIRONMENTS), default="staging", show_default=True)
@click.option("--reason", default="rolled back by hand", show_default=True)
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.pass_obj
def rollback(context: Context, name: str, environment: str, reason: str, no_wait: bool) -> None:
    """Take back NAME's release by a commit; the version taken back is not released again unless forced."""
    from pipelines.launch import roll_back

    settings = context.settings
    done = roll_back(settings, name, environment, reason)
    timeline = Timeline(make_console())
    step = f"{done.withdrawn.bento} → {done.restored.bento}"
    timeline.say(f"[green]rolled back[/] {environment}: {step} in commit {done.commit[:9]}")
    if not no_wait:
        await_rollout(settings, timeline, name, environment, done.commit)


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Merge without asking.")
@click.option("--force", is_flag=True, help="Also if staging was released from uncommitted code.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.pass_obj
def promote(context: Context, name: str, yes: bool, force: bool, no_wait: bool) -> None:
    """Propose NAME's staging release for production on a branch, show the diff, and merge it."""
    from pipelines.launch import merge, propose

    settings = context.settings
    promotion = propose(settings, name, force)
    console = make_console()
    console.print(f"branch [bold]{promotion.branch}[/], commit {promotion.commit[:9]}")
    console.print(promotion.diff, markup=False)
    if not yes:
        if not is_interactive():
            console.print("not merged: run it again with --yes, or on a terminal")
            return
        if not click.confirm("merge into the main branch?"):
            return
    commit = merge(settings, promotion)
    timeline = Timeline(console)
    timeline.say(f"[green]merged[/] {promotion.release.bento} into production, commit {commit[:9]}")
    if not no_wait:
        await_rollout(settings, timeline, name, "production", commit)


@click.command()
@click.argument("what")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def trace(context: Context, what: str, as_json: bool) -> None:
    """Where does it come from, and where did it go?

    WHAT is a prediction's id, a commit, a Bento (flight-delays:7), a model version (flight-delays/7), a run, or a use
    case's name.
    """
    from pipelines.trace import render, trace_lineage

    lineage = trace_lineage(context.settings, what)
    if as_json:
        click.echo(lineage.model_dump_json(indent=2))
    else:
        make_console().print(render(lineage))
