"""Verbs about the embedded platform: up, down, status, demo."""

import json
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.context import Context
from pipelines.console import Timeline, make_console, table
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.retraining.triggers import TriggerRecord

REQUESTS_SHOWN = 5


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
    from pipelines.embedded.platform import down as stop_platform

    was_up = stop_platform(context.settings)
    make_console().print("stopped" if was_up else f"nothing runs for {context.settings.home}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(context: Context, as_json: bool) -> None:
    """Show what is released, what runs, and how the last runs ended."""
    from pipelines.embedded.platform import status as platform_status
    from pipelines.runs.index import list_runs

    settings = context.settings
    found = platform_status(settings)
    if as_json:
        runs = [run.model_dump(mode="json") for run in list_runs(settings.runs)]
        asked = [record.model_dump(mode="json") for record in _requests(settings)]
        click.echo(json.dumps({"platform": found.model_dump(mode="json"), "runs": runs, "requests": asked}, indent=2))
        return
    _print_status(settings, found)


@click.command()
@click.option("--stop", is_flag=True, help="Stop the platform at the end.")
@click.pass_obj
def demo(context: Context, stop: bool) -> None:
    """Show the whole loop with two real use cases in a few minutes.

    Has a state folder of its own, and can be run again.
    """
    from pipelines.demo.story import tell

    settings = context.settings
    home = settings.home if settings.home.name == "demo" else settings.home / "demo"
    tell(Settings.load(root=settings.root, home=home), Timeline(make_console()), stop_at_end=stop)


def _print_status(settings: Settings, status: Any) -> None:
    from pipelines.runs.index import list_runs

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
    for problem in status.problems:
        console.print(f"[yellow]problem[/] {problem}")
    runs = [
        [run.request.run_id, run.outcome, f"{run.started:%Y-%m-%d %H:%M}", f"{run.seconds:.0f}", run.request.reason]
        for run in list_runs(settings.runs, limit=8)
    ]
    if runs:
        console.print(table("last runs", ["run", "outcome", "started (UTC)", "seconds", "reason"], runs))
    asked = [
        [record.usecase, record.state, f"{record.requested_at:%Y-%m-%d %H:%M}", record.sentence, _and_then(record)]
        for record in _requests(settings)
    ]
    if asked:
        title = "what asked for runs by itself"
        console.print(table(title, ["use case", "state", "asked (UTC)", "reason", "then"], asked))


def _requests(settings: Settings) -> "list[TriggerRecord]":
    """The newest requests for runs; none where there was never a monitor, or its database is away."""
    from pipelines.predictions.store.errors import StoreError
    from pipelines.predictions.store.store import Store
    from pipelines.retraining.queue import TriggerTable

    store = Store.open(settings.store)
    try:
        return TriggerTable(store.database).newest(limit=REQUESTS_SHOWN) if store.database.was_made else []
    except StoreError:
        return []
    finally:
        store.close()


def _and_then(record: "TriggerRecord") -> str:
    """What is known beside the state."""
    if record.state == "cooling":
        return f"not before {record.next_attempt:%Y-%m-%d %H:%M}"
    return record.note or record.run_id or ""
