"""Verbs about releases: rollback, promote, trace."""

import sys
from typing import TYPE_CHECKING, NoReturn

import click

from pipelines.cli.completion import complete_usecases, complete_usecases_and_runs
from pipelines.cli.context import Context
from pipelines.cli.environments import EnvironmentName
from pipelines.cli.following import await_rollout
from pipelines.cli.json_output import json_option, print_document
from pipelines.console import Timeline, is_interactive, make_console
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.git.forge import Forge, Reviews
    from pipelines.release.releases import Proposal


NOT_YET = 4


@click.command()
@click.argument("name", shell_complete=complete_usecases)
@click.option("--environment", type=EnvironmentName(), help="Default: the first that takes runs.")
@click.option("--reason", default="rolled back by hand", show_default=True)
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.pass_obj
def rollback(context: Context, name: str, environment: str | None, reason: str, no_wait: bool) -> None:
    """Take NAME's release back by a commit.

    The version taken back is not released again unless forced. Where releases are reviewed, so is taking one back; the
    exit status is then 4.
    """
    from pipelines.release.operations import open_forge, propose_rollback, roll_back

    settings = context.settings
    where = settings.environments.get(environment) if environment else settings.environments.default
    environment = where.name
    forge = open_forge(settings)
    if where.releases == "review" and forge.reviews:
        _request_review(settings, forge, forge.reviews, propose_rollback(settings, name, environment, reason))
    done = roll_back(settings, name, environment, reason)
    timeline = Timeline(make_console())
    step = f"{done.withdrawn.bento} → {done.restored.bento}"
    timeline.say(f"[green]rolled back[/] {environment}: {step} in commit {done.commit[:9]}")
    if not no_wait:
        await_rollout(settings, timeline, name, environment, done.commit)


@click.command()
@click.argument("name", shell_complete=complete_usecases)
@click.option("--yes", is_flag=True, help="Merge without asking, where no pull request is used.")
@click.option("--from", "source", type=EnvironmentName(), help="Whose release; needed where several are promoted.")
@click.option("--to", "target", type=EnvironmentName(), help="To which environment; needed where there are several.")
@click.option("--force", is_flag=True, help="Also if it was released from uncommitted code.")
@click.option("--healthy-at", metavar="COMMIT", help="Only if the source still has the release of this commit.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.pass_obj
def promote(  # noqa: PLR0913, PLR0917 - one parameter an option
    context: Context,
    name: str,
    yes: bool,
    source: str | None,
    target: str | None,
    force: bool,
    healthy_at: str | None,
    no_wait: bool,
) -> None:
    """Propose NAME's release for the environment that takes it.

    Where releases are reviewed, a pull request is opened or updated. Elsewhere the diff is shown and merged from here.

    Exit status: 0 the target runs the source's release; 4 not yet: the proposal waits for its review, or the source has
    moved on from --healthy-at; 1 failed.
    """
    from pipelines.release.operations import merge, open_forge, propose, settle
    from pipelines.release.releases import AlreadyPromoted, SourceMovedOn

    settings = context.settings
    console = make_console()
    promotion = settings.environments.promotion(source, target)
    forge = open_forge(settings)
    reviews = forge.reviews if promotion.releases == "review" else None
    if reviews and yes:
        raise click.UsageError(
            f"--yes merges nothing here: {promotion.name} is released by {reviews.noun} on {forge.web or forge.name}"
        )
    try:
        proposal = propose(settings, name, promotion, force, healthy_at)
    except SourceMovedOn as moved:
        console.print(f"[yellow]waits[/]: {moved.message}")
        sys.exit(NOT_YET)
    except AlreadyPromoted as done:
        settle(settings, name, promotion)
        console.print(f"[green]unchanged[/]: {done.message}")
        return
    if reviews:
        _request_review(settings, forge, reviews, proposal)
    console.print(f"branch [bold]{proposal.branch}[/], commit {proposal.commit[:9]}")
    console.print(proposal.diff, markup=False)
    if not yes and not (is_interactive() and click.confirm("merge into the main branch?")):
        console.print("not merged; to merge it: run this again with --yes, or on a terminal")
        sys.exit(NOT_YET)
    commit = merge(settings, proposal)
    timeline = Timeline(console)
    timeline.say(f"[green]merged[/] {proposal.release.bento} into {promotion.name}, commit {commit[:9]}")
    if not no_wait:
        await_rollout(settings, timeline, name, promotion.name, commit)


def _request_review(settings: Settings, forge: "Forge", reviews: "Reviews", proposal: "Proposal") -> NoReturn:
    """Say where the proposal is reviewed, and end with the status that means so."""
    from pipelines.release.operations import request_review

    console = make_console()
    console.print(f"branch [bold]{proposal.branch}[/], commit {proposal.commit[:9]}")
    if reviews.token_variable is None:
        request = request_review(settings, forge, reviews, proposal)
        console.print(f"{reviews.noun} {request.outcome}: {request.url}")
    else:
        page = reviews.page_to_open(proposal.branch, settings.branch)
        console.print(f"no token for {forge.name}; open the {reviews.noun}: {page}")
        console.print(f"  with {reviews.token_variable} it is opened from here, with metrics, verdict and model card")
    console.print(f"{proposal.environment} changes when it is merged")
    sys.exit(NOT_YET)


@click.command()
@click.argument("what", shell_complete=complete_usecases_and_runs)
@json_option
@click.pass_obj
def trace(context: Context, what: str, as_json: bool) -> None:
    """Where does it come from, and where did it go?

    WHAT is a prediction's id, a commit, a Bento (flight-delays:7), a model version (flight-delays/7), a run, or a use
    case's name.
    """
    from pipelines.release.lineage import render, trace_lineage

    lineage = trace_lineage(context.settings, what)
    if as_json:
        print_document(1, lineage)
    else:
        make_console().print(render(lineage))
