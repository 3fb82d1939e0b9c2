"""Verbs about true values: labels import."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pipelines.cli.context import Context
from pipelines.cli.json_output import json_option, print_document
from pipelines.console import make_console

if TYPE_CHECKING:
    from pipelines.predictions.labels import LabelReport


@click.group()
def labels() -> None:
    """True values that came late."""


@labels.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--usecase", metavar="NAME", help="Whose labels they are; needed by join key.")
@click.option(
    "--by", type=click.Choice(["id", "join-key"]), default="id", show_default=True, help="What a row is known by."
)
@json_option
@click.pass_obj
def import_(context: Context, file: Path, usecase: str | None, by: Literal["id", "join-key"], as_json: bool) -> None:
    """Tell the store true values from FILE: CSV, Parquet or JSON lines. It may be run again.

    Columns: `id` (a prediction's), or with --by join-key `key` or those of data.checks.unique; `value` or the target;
    and, if there is one, `observed_at`. Goes to the monitor of MLOPS_MONITOR_URL, without one straight into the store.

    Exit status: 0 all were taken; 1 some were wrong or contradict others, or nothing could be taken.
    """
    from pipelines.predictions.label_import import import_labels

    if by == "join-key" and not usecase:
        raise click.UsageError("--by join-key needs --usecase: keys are a use case's own")
    report = import_labels(context.settings, file, by, usecase)
    if as_json:
        print_document(1, report)
    else:
        _tell(report)
    sys.exit(1 if report.invalid or report.contradicting else 0)


def _tell(report: "LabelReport") -> None:
    console = make_console()
    console.print(f"taken {report.accepted}, known before {report.duplicates}; predictions matched: {report.matched}")
    if report.pending:
        console.print(f"  {report.pending} wait for their prediction: {_some(report.pending_names, report.pending)}")
    if report.contradicting:
        names = _some(report.contradicting_names, report.contradicting)
        console.print(
            f"[yellow]contradicting[/] {report.contradicting}, the first value stays: {names}", highlight=False
        )
    if report.invalid:
        console.print(f"[red]wrong[/] {report.invalid}:")
        for fault in report.faults:
            console.print(f"  {fault.name or f'label {fault.index}'}: {fault.detail}", markup=False, highlight=False)


def _some(names: list[str], count: int) -> str:
    shown = names[:3]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")
