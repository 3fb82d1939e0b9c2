"""Verbs about the embedded platform: up, down, status, demo."""

from typing import TYPE_CHECKING

import click

from pipelines.cli.context import Context
from pipelines.cli.json_output import json_option

if TYPE_CHECKING:
    from pipelines.embedded.status import PlatformStatus
    from pipelines.retraining.triggers import TriggerRecord
    from pipelines.settings import Settings

REQUESTS_SHOWN, RUNS_SHOWN = 5, 8


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="First port of the model servers (default 8600, or the next free)."
)
@click.option("--mlflow", is_flag=True, help="Also start MLflow's web page.")
@click.option(
    "--monitor/--no-monitor", default=True, help="Record and watch what models answer, retrain (default: yes)."
)
@click.pass_obj
def up(context: Context, port: int | None, mlflow: bool, monitor: bool) -> None:
    """Start the embedded platform: it serves and watches models.

    A bare Git origin, the reconciler that follows it, one server per released model, and the monitor with its page.
    Again and again is fine.
    """
    from pipelines.embedded.platform import up as start_platform

    status = start_platform(context.settings, port=port, mlflow_ui=mlflow, monitor=monitor)
    _print_status(context.settings, status)


@click.command()
@click.pass_obj
def down(context: Context) -> None:
    """Stop the embedded platform; nothing that was made is lost.

    What is released, trained and logged stays, and is served again by the next `mlops up`.
    """
    from pipelines.console import make_console
    from pipelines.embedded.platform import down as stop_platform

    was_up = stop_platform(context.settings)
    make_console().print("stopped" if was_up else f"nothing runs for {context.settings.home}")


@click.command()
@json_option
@click.pass_obj
def status(context: Context, as_json: bool) -> None:
    """Show what is released, what runs, and how the last runs ended."""
    from pipelines.embedded.status import platform_status

    settings = context.settings
    found = platform_status(settings)
    if not as_json:
        _print_status(settings, found)
        return
    from pipelines.cli.documents import unreadable_of
    from pipelines.cli.json_output import print_document
    from pipelines.cli.status_document import StatusDocument
    from pipelines.runs.index import newest_runs

    listing = newest_runs(settings.runs)
    requests, problem = _requests(settings)
    if problem:
        found = found.model_copy(update={"problems": [*found.problems, problem]})
    document = StatusDocument(platform=found, runs=listing.runs, unreadable=unreadable_of(listing), requests=requests)
    print_document(1, document)


@click.command()
@click.option("--stop", is_flag=True, help="Stop the platform at the end.")
@click.pass_obj
def demo(context: Context, stop: bool) -> None:
    """Show the whole loop with two real use cases in a few minutes.

    Has a state folder of its own, and can be run again.
    """
    from pipelines.console import Timeline, make_console
    from pipelines.demo.story import tell
    from pipelines.settings import Settings

    settings = context.settings
    home = settings.home if settings.home.name == "demo" else settings.home / "demo"
    tell(Settings.load(root=settings.root, home=home), Timeline(make_console()), stop_at_end=stop)


def _print_status(settings: "Settings", status: "PlatformStatus") -> None:
    from pipelines.console import make_console, table
    from pipelines.runs.index import newest_runs

    console = make_console()
    if status.running:
        console.print(f"platform up, pid {status.pid}, state in {settings.home}")
    else:
        what = "serves what is released" if status.models else "starts it"
        console.print(f"platform down (`mlops up` {what}), state in {settings.home}")
    rows = [[m.usecase, m.environment, m.bento, m.state, (m.commit or "")[:9], m.url, m.problem] for m in status.models]
    if rows:
        console.print(table("models", ["use case", "environment", "bento", "state", "commit", "url", "problem"], rows))
    elif status.running:
        console.print("no model is released yet: `mlops run NAME` trains and releases one")
    if status.monitor:
        console.print(f"what models do: {status.monitor}")
    if status.mlflow:
        console.print(f"MLflow at {status.mlflow}")
    requests, unanswered = _requests(settings)
    listing = newest_runs(settings.runs, limit=RUNS_SHOWN)
    skipped = [f"run folder {one.run_id} cannot be read: {one.why}" for one in listing.unreadable]
    for problem in (*status.problems, *([unanswered] if unanswered else []), *skipped):
        console.print(f"[yellow]problem[/] {problem}")
    runs = [
        [run.request.run_id, run.outcome, f"{run.started:%Y-%m-%d %H:%M}", f"{run.seconds:.0f}", run.request.reason]
        for run in listing.runs
    ]
    if runs:
        console.print(table("last runs", ["run", "outcome", "started (UTC)", "seconds", "reason"], runs))
    asked = [
        [record.usecase, record.state, f"{record.requested_at:%Y-%m-%d %H:%M}", record.sentence, _and_then(record)]
        for record in requests
    ]
    if asked:
        title = "what asked for runs by itself"
        console.print(table(title, ["use case", "state", "asked (UTC)", "reason", "then"], asked))


def _requests(settings: "Settings") -> "tuple[list[TriggerRecord], str | None]":
    """The newest requests for runs, and why they are not known."""
    from pipelines.errors import MlopsError
    from pipelines.retraining.recent import recent_requests

    try:
        return recent_requests(settings.store, REQUESTS_SHOWN), None
    except MlopsError as error:
        return [], f"what asked for runs is not known: {error.message}"


def _and_then(record: "TriggerRecord") -> str:
    """What is known beside the state."""
    if record.state == "cooling":
        return f"not before {record.next_attempt:%Y-%m-%d %H:%M}"
    return record.note or record.run_id or ""
