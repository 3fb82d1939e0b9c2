"""`mlops`: the one command. Thin: every verb parses its words, calls the room that does it, prints what came of it."""

from pathlib import Path

import click

from pipelines.cli.completion import completion_option, install_completion, show_completion
from pipelines.cli.context import Context
from pipelines.cli.group import LazyGroup, Verb

VERBS = {
    "new": Verb("pipelines.cli.usecases:new", "Make apps/NAME from a template; it runs at once."),
    "check": Verb("pipelines.cli.tree:check", "Find mistakes in use cases and clusters."),
    "render": Verb("pipelines.cli.tree:render", "Write the files that are generated from usecase.yaml."),
    "migrate": Verb("pipelines.cli.migrate:migrate", "Rewrite files of an earlier version for this one."),
    "run": Verb("pipelines.cli.runs:run", "Run NAME's pipeline: train, judge and, if it passes, release."),
    "runs": Verb("pipelines.cli.history:runs", "List the last runs: outcome, seconds, reason."),
    "show": Verb("pipelines.cli.runs:show", "Show a run: its steps, its verdict, its model card and log."),
    "rollback": Verb("pipelines.cli.releases:rollback", "Take NAME's release back by a commit."),
    "promote": Verb("pipelines.cli.releases:promote", "Propose NAME's release for the environment that takes it."),
    "environments": Verb(
        "pipelines.cli.environments:environments", "List the environments, in the order that releases reach them."
    ),
    "trace": Verb("pipelines.cli.releases:trace", "Where does it come from, and where did it go?"),
    "labels": Verb("pipelines.cli.labels:labels", "True values that came late."),
    "monitor": Verb("pipelines.cli.monitor:monitor", "Watch what is released: record, judge, retrain, show."),
    "store": Verb("pipelines.cli.store:store", "The monitor's database: which revision it has, and upgrades."),
    "up": Verb("pipelines.cli.platform:up", "Start the embedded platform: it serves and watches models."),
    "down": Verb("pipelines.cli.platform:down", "Stop the embedded platform; nothing that was made is lost."),
    "status": Verb("pipelines.cli.platform:status", "Show what is released, what runs, and how the last runs ended."),
    "demo": Verb("pipelines.cli.platform:demo", "Show the whole loop with two real use cases in a few minutes."),
    "clean": Verb(
        "pipelines.cli.maintenance:clean",
        "Remove what is old and needed by no release.",
    ),
    "vertex": Verb("pipelines.cli.vertex:vertex", "Endpoints and schedules on Vertex AI, as Git has them."),
}


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"mlops-blueprint {version('mlops-blueprint')}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--root", type=click.Path(path_type=Path), help="The checkout with apps/ (default: found upwards from here)."
)
@click.option("--home", type=click.Path(path_type=Path), help="The state folder (default: .mlops in the checkout).")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@completion_option(
    "--install-completion", "Switch completion on in bash, zsh or fish (default: yours).", install_completion
)
@completion_option("--show-completion", "Write the script that does so.", show_completion)
@click.pass_context
def main(ctx: click.Context, root: Path | None, home: Path | None) -> None:
    """Train, gate, register, package, commit, reconcile: machine learning in production by Git alone.

    Start with `mlops demo`, or with `mlops new my-usecase --template tabular` and `mlops run my-usecase`.
    """
    ctx.obj = Context(root, home)
