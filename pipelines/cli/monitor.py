"""The monitor as a verb."""

import click

from pipelines.cli.context import Context


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; off this machine it needs a token."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8400, show_default=True, help="The port.")
@click.option("--fd", type=int, hidden=True, help="A listening socket that somebody opened already.")
@click.pass_obj
def monitor(context: Context, host: str, port: int, fd: int | None) -> None:
    """Watch what is released: record, judge, retrain, show.

    Runs until it is stopped. `mlops up` starts one by itself; in a cluster Flux does. docs/monitor.md names the
    environment variables that it reads.
    """
    from pipelines.monitor.options import Options
    from pipelines.monitor.serve import serve

    serve(context.settings, Options.load(), host, port, fd)
