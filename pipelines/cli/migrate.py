"""`mlops migrate`: files that people wrote for an earlier version."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.context import Context
from pipelines.console import make_console

if TYPE_CHECKING:
    from pipelines.usecase.migrate import Migrated


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; fail when a file would change.")
@click.pass_obj
def migrate(context: Context, paths: tuple[Path, ...], check: bool) -> None:
    """Rewrite files of an earlier version for this one.

    PATHS are files or folders; without, all use cases, their overrides and vertex/ of the checkout. Comments, quotes
    and the order of keys stay. Exit status: 0 when every file is of this version now, 1 when one is not.
    """
    from pipelines.usecase.migrate import migrate as migrate_files

    root = context.settings.root
    found = migrate_files(root, paths, write=not check)
    for one in found:
        _report(root, one, check)
    changed = sum(bool(one.changes) for one in found)
    files = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    make_console().print(f"{files}: {changed} {'to change' if check else 'changed'}", markup=False)
    sys.exit(1 if any(one.problem for one in found) or (check and changed) else 0)


def _report(root: Path, one: "Migrated", check: bool) -> None:
    if one.problem:
        click.echo(one.problem, err=True)
    if one.changes:
        path = one.path.relative_to(root) if one.path.is_relative_to(root) else one.path
        verb = "would change" if check else "changed"
        make_console().print(f"{path}: {verb}: {'; '.join(one.changes)}", markup=False)
