"""Verbs about past runs: runs."""

import click

from pipelines.cli.completion import complete_usecases
from pipelines.cli.context import Context
from pipelines.cli.json_output import json_option


@click.command()
@click.argument("name", required=False, shell_complete=complete_usecases)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, the newest first.")
@json_option
@click.pass_obj
def runs(context: Context, name: str | None, limit: int, as_json: bool) -> None:
    """List the last runs: outcome, seconds, reason.

    Of this state folder; with NAME, only those of that use case. `mlops show RUN` says more of one.
    """
    from pipelines.cli.documents import RunsDocument
    from pipelines.runs.index import newest_runs

    settings = context.settings
    document = RunsDocument.of(newest_runs(settings.runs, name, limit))
    if as_json:
        from pipelines.cli.json_output import print_document

        print_document(1, document)
        return
    from pipelines.console import make_console, table

    console = make_console()
    rows = [
        [run.run_id, run.outcome, run.step, f"{run.started:%Y-%m-%d %H:%M}", f"{run.seconds:.0f}", run.reason]
        for run in document.runs
    ]
    whose = f" of {name}" if name else ""
    if rows:
        columns = ["run", "outcome", "in step", "started (UTC)", "seconds", "reason"]
        console.print(table(f"last runs{whose}", columns, rows))
    else:
        console.print(f"no run{whose} in {settings.runs}")
    for skipped in document.unreadable:
        console.print(f"[yellow]problem[/] run folder {skipped.run_id} cannot be read: {skipped.why}")
