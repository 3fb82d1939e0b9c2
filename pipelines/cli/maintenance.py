"""Verbs that keep a state folder small: clean."""

import sys
from typing import TYPE_CHECKING

import click

from pipelines.cli.context import Context
from pipelines.cli.json_output import json_option, print_document

if TYPE_CHECKING:
    from pipelines.retention.report import CleanReport

LEAST_DAYS = 2


@click.command()
@click.option("--dry-run", is_flag=True, help="Remove nothing; show what would go.")
@click.option(
    "--keep-days",
    type=click.IntRange(min=LEAST_DAYS),
    help="For every kind, instead of the MLOPS_KEEP_… settings.",
)
@json_option
@click.pass_obj
def clean(context: Context, dry_run: bool, keep_days: int | None, as_json: bool) -> None:
    """Remove what is old and needed by no release.

    Run folders, temporary models, evaluation reports, Bentos, snapshots and logs. What a release in any environment's
    history needs is kept, what a run under way uses, and journals that MLflow does not have yet. It may be stopped at
    any time. The monitor of `mlops up` does it daily, in a cluster a CronJob: docs/retention.md.

    Exit status: 0 all went as it should; 1 something could not be listed or removed.
    """
    from pipelines.retention.clean import clean as remove
    from pipelines.retention.rules import RetentionRules

    rules = RetentionRules.load()
    report = remove(context.settings, rules.with_days(keep_days) if keep_days else rules, dry_run=dry_run)
    if as_json:
        print_document(1, report)
    else:
        _show(report)
    sys.exit(1 if report.problems else 0)


def _show(report: "CleanReport") -> None:
    from pipelines.console import make_console, table

    console = make_console()
    rows = [
        [
            kind.kind,
            kind.removed,
            _readable(kind.removed_bytes),
            kind.kept,
            _readable(kind.kept_bytes),
            ", ".join(f"{count} {why}" for why, count in kind.kept_because.items()),
        ]
        for kind in report.kinds
    ]
    gone = "would go" if report.dry_run else "removed"
    columns = ["kind", gone, "size", "kept", "size", "why"]
    console.print(table(f"{gone}: {_readable(report.removed_bytes)}", columns, rows))
    for problem in report.problems:
        console.print(f"[yellow]problem[/] {problem}")


def _readable(size: int) -> str:
    value, units = float(size), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.0f} {unit}" if unit in ("B", "kB") else f"{value:.1f} {unit}"
