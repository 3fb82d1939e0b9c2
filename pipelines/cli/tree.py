"""Verbs about the tree that people write and Flux reads: check, render."""

import sys
from pathlib import Path

import click

from pipelines.cli.completion import complete_usecases
from pipelines.cli.context import Context
from pipelines.cli.json_output import json_option, print_document
from pipelines.console import make_console


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_usecases)
@click.option(
    "--schemas", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder with crds/ and charts/."
)
@json_option
@click.pass_obj
def check(context: Context, names: tuple[str, ...], schemas: Path | None, as_json: bool) -> None:
    """Find mistakes in use cases and clusters.

    With NAMES, only those use cases: usecase.yaml, its overrides and the functions it names. Without, also everything
    that Flux would apply, built and held to the rules of docs/checks.md. Nothing is run, and the data is not looked at.
    Installed plugins are listed; one that is broken is a problem of the use cases that name it, and of no other.
    """
    from pipelines.gitops.plugin_check import describe_plugins
    from pipelines.gitops.usecase_check import check_usecase, told_valid
    from pipelines.usecase import usecase_names
    from pipelines.vertex.check import check_vertex

    root = context.settings.root
    wanted = names or tuple(usecase_names(root))
    problems = [problem for name in wanted for problem in check_usecase(root, name)]
    problems += [] if names else check_vertex(root)
    notes: list[str] = []
    judged = ""
    if not names and (root / "clusters").is_dir():
        from pipelines.gitops.check import check_tree

        report = check_tree(root, schemas)
        problems += [str(finding) for finding in report.findings]
        notes = report.notes
        judged = report.judged
    notes = notes if names else [*notes, *describe_plugins()]
    if as_json:
        from pipelines.cli.documents import CheckDocument

        found = CheckDocument(
            valid=not problems, usecases=list(wanted), problems=problems, notes=notes, judged=judged or ""
        )
        print_document(1, found)
        sys.exit(1 if problems else 0)
    for problem in problems:
        click.echo(problem, err=True)
    console = make_console()
    for note in notes:
        console.print(f"note: {note}", markup=False)
    if problems:
        click.echo(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}", err=True)
        sys.exit(1)
    console.print(told_valid(wanted))
    if judged:
        console.print(judged)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is missing or stale.")
@click.pass_obj
def render(context: Context, check: bool) -> None:
    """Write the files that are generated from usecase.yaml."""
    from pipelines.gitops import render as rendering

    root = context.settings.root
    if check:
        stale = rendering.stale_files(root)
        for path in stale:
            click.echo(f"{path}: is not what `mlops render` writes", err=True)
        if stale:
            click.echo("  hint: `mlops render` writes it, then commit it", err=True)
            sys.exit(1)
        make_console().print("all generated files are fresh")
        return
    written = rendering.render(root)
    for path in written:
        make_console().print(f"wrote {path}")
    if not written:
        make_console().print("all generated files were fresh")
