"""Verbs about the database of predictions, labels, assessments and triggers: store current, upgrade, downgrade."""

import sys
from typing import TYPE_CHECKING

import click

from pipelines.cli.context import Context
from pipelines.cli.json_output import json_option, print_document
from pipelines.console import make_console

if TYPE_CHECKING:
    from pipelines.cli.documents import StoreDocument
    from pipelines.predictions.store.database import Database, DatabaseState

NOT_YET = 4


@click.group()
def store() -> None:
    """The monitor's database: which revision it has, and upgrades.

    MLOPS_STORE says where it is.
    """


@store.command()
@json_option
@click.pass_obj
def current(context: Context, as_json: bool) -> None:
    """Show the revision of the database, the one this program needs, and what would run. Changes nothing.

    Exit status: 0 they are the same; 4 `mlops store upgrade`, or the next monitor, has something to run; 1 the database
    is newer than this program, or cannot be asked.
    """
    database = _database(context)
    state = database.state()
    if as_json:
        print_document(1, _document(database, state))
    else:
        _show(database, state)
    sys.exit(1 if state.is_too_new else NOT_YET if state.missing else 0)


@store.command()
@click.option("--sql", is_flag=True, help="Print the statements instead, for whoever may change tables.")
@click.pass_obj
def upgrade(context: Context, sql: bool) -> None:
    """Bring the database to the revision that this program needs: all of it, or nothing.

    A monitor does the same when it starts. Back the database up before: docs/store.md.
    """
    database = _database(context)
    if sql:
        click.echo(database.upgrade_sql(), nl=False)
        return
    console = make_console()
    done = database.upgrade()
    for one in done:
        console.print(f"{one.id}  {one.sentence}", markup=False)
    console.print(f"{database.where} is at revision {database.revisions.head}", markup=False)


@store.command()
@click.argument("revision")
@click.confirmation_option(prompt="What only newer columns and tables hold is deleted. Is the database backed up?")
@click.pass_obj
def downgrade(context: Context, revision: str) -> None:
    """Take the database back to REVISION, so that an older monitor can work with it.

    Run it with the newer program: the older one does not know how. Stop its monitors before, or they upgrade again.
    """
    database = _database(context)
    database.downgrade(revision)
    make_console().print(f"{database.where} is at revision {revision}", markup=False)


@store.command()
@click.argument("sentence")
def revision(sentence: str) -> None:
    """For developers: write the next revision, from what schema.py declares and the revisions so far do not make.

    SENTENCE says what changes, such as "predictions know their tenant". Read the file before you commit it.
    """
    import tempfile

    from pipelines.predictions.store import schema
    from pipelines.predictions.store.database import Database
    from pipelines.retraining import schema as triggers

    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/store.db")
        with database.writing() as connection:
            path = database.revisions.draft(connection, sentence, [schema.metadata, triggers.metadata])
        database.close()
    make_console().print(str(path), markup=False)


def _database(context: Context) -> "Database":
    from pipelines.predictions.store.database import Database

    database = Database(context.settings.store)
    click.get_current_context().call_on_close(database.close)
    return database


def _show(database: "Database", state: "DatabaseState") -> None:
    console = make_console()
    found = state.found
    if found.revision is None:
        revision = "none: it is empty" if database.was_made else "none: it is made by the first call"
    else:
        revision = found.revision if found.is_recorded else f"{found.revision}, as 0.1.0 made it"
    console.print(f"database  {database.where}", markup=False)
    console.print(f"revision  {revision}", markup=False)
    console.print(f"program   {state.head}", markup=False)
    for one in state.missing:
        console.print(f"to run    {one.id}  {one.sentence}", markup=False)
    if state.is_too_new:
        console.print("The database is newer than this program: upgrade the program, or see docs/store.md, Going back.")


def _document(database: "Database", state: "DatabaseState") -> "StoreDocument":
    from pipelines.cli.documents import RevisionDocument, StoreDocument

    return StoreDocument(
        database=database.where,
        revision=state.found.revision,
        is_recorded=state.found.is_recorded,
        program=state.head,
        missing=[RevisionDocument(id=one.id, sentence=one.sentence) for one in state.missing],
        is_too_new=state.is_too_new,
    )
