"""The history of the database's tables, on SQLite and on a real PostgreSQL: from 0.1.0 to what is to come."""

import ast
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Column, MetaData, String, create_engine, text

from pipelines.cli import main
from pipelines.predictions.store import schema
from pipelines.predictions.store.database import Database, read_url
from pipelines.predictions.store.errors import StoreNotUpgraded, StoreTooNew, StoreUnusable
from pipelines.predictions.store.revisions import MIGRATIONS, Revision, Revisions, differences
from pipelines.predictions.store.store import Store
from pipelines.retraining import schema as triggers
from pipelines.retraining.queue import TriggerTable
from tests.compat import store as samples
from tests.databases import postgres
from tests.monitor_cases import Service
from tests.recording_cases import NOW, flights
from tests.unit.test_store import ALWAYS, ORIGIN, row

ROOT = Path(__file__).parents[2]
DECLARED = [schema.metadata, triggers.metadata]
TABLES = sorted(name for metadata in DECLARED for name in metadata.tables)
HEAD = Revisions().head


@pytest.fixture(scope="module")
def server():
    with postgres() as running:
        yield running


class Place:
    """A database of one engine, and what only a test does to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_engine(read_url(url))
        self.kind = self.engine.dialect.name

    def load(self, version: str) -> "Place":
        samples.load(self.url, version)
        return self

    def run(self, script: str) -> None:
        samples.run(self.engine, script)

    def rows(self, table: str) -> list[str]:
        with self.engine.connect() as connection:
            found = connection.execute(text(f'SELECT * FROM "{table}"')).mappings()
            return sorted(json.dumps(dict(row), sort_keys=True, default=str) for row in found)

    def everything(self) -> dict[str, list[str]]:
        return {table: self.rows(table) for table in TABLES}

    def indexes(self) -> set[str]:
        """As the database itself writes them, with the conditions that alembic does not compare."""
        query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if self.kind == "postgresql":
            query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'store_%'"
        with self.engine.connect() as connection:
            return {" ".join(sql.replace('"', "").split()) for sql in connection.scalars(text(query))}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    if request.param == "sqlite":
        made = Place(f"sqlite:///{tmp_path / 'monitor.db'}")
    else:
        name = f"revisions_{abs(hash(request.node.nodeid)) % 10**12}"
        made = Place(request.getfixturevalue("server").database(name))
    yield made
    made.engine.dispose()


@pytest.fixture
def open_database():
    opened = []

    def make(place, *more):
        opened.append(Database(place.url, *more))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def with_one_more(folder: Path, body: str, undo: str = "pass") -> Revisions:
    """The history, and after it a revision of a release that is still to come."""
    shutil.copytree(MIGRATIONS, folder / "migrations")
    number = f"{int(HEAD) + 1:04}"
    (folder / "migrations" / "versions" / f"{number}_later.py").write_text(
        f'"""A later one."""\nimport os, time\nimport sqlalchemy as sa\nfrom alembic import op\n'
        f'revision, down_revision = "{number}", "{HEAD}"\n'
        f"def upgrade():\n    {body}\ndef downgrade():\n    {undo}\n"
    )
    return Revisions(folder / "migrations")


def differences_of(database: Database, declared: list[MetaData] = DECLARED) -> list:
    with database.reading() as connection:
        return differences(connection, declared)


ADD_A_COLUMN = 'op.add_column("predictions", sa.Column("tenant", sa.String))'


class TestSchema:
    def test_what_the_revisions_make_is_what_the_code_declares(self, place, open_database):
        assert differences_of(open_database(place)) == []

    def test_its_indexes_are_as_well_with_their_conditions(self, place, open_database, tmp_path, request):
        open_database(place).upgrade()
        if place.kind == "sqlite":
            other = Place(f"sqlite:///{tmp_path / 'declared.db'}")
        else:
            other = Place(request.getfixturevalue("server").database("declared"))
        for metadata in DECLARED:
            metadata.create_all(other.engine)
        assert place.indexes() == other.indexes()
        other.engine.dispose()

    def test_a_column_without_a_revision_is_noticed(self, place, open_database):
        declared = MetaData()
        for table in schema.metadata.tables.values():
            table.to_metadata(declared)
        declared.tables["predictions"].append_column(Column("tenant", String))
        (found,) = differences_of(open_database(place), [declared, triggers.metadata])
        assert (found[0], found[2], found[3].name) == ("add_column", "predictions", "tenant")

    def test_a_table_without_a_revision_is_noticed_in_both_rooms(self, place, open_database):
        found = differences_of(open_database(place), [schema.metadata])
        assert {one[1].name for one in found if one[0] == "remove_table"} == set(triggers.metadata.tables)


class TestHistory:
    def test_it_is_a_straight_line_without_gaps(self):
        from alembic.script import ScriptDirectory

        ids = Revisions().ids
        assert ids == [f"{number:04}" for number in range(1, len(ids) + 1)]
        directory = ScriptDirectory(str(MIGRATIONS))
        assert [script.revision for script in directory.walk_revisions()] == ids[::-1]
        assert directory.get_heads() == [HEAD]

    def test_every_revision_says_what_it_changes(self):
        sentences = [one.sentence for one in Revisions().all()]
        assert len(set(sentences)) == len(sentences)
        assert all(" " in sentence for sentence in sentences)

    def test_a_revision_imports_none_of_our_code_which_will_have_changed_when_it_runs(self):
        for path in (MIGRATIONS / "versions").glob("*.py"):
            imported = {
                name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in ([node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
            }
            assert not {name for name in imported if name.startswith(("pipelines", "bento"))}

    def test_its_files_are_part_of_the_package(self):
        import tomllib

        told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
        folder = MIGRATIONS.parent
        packed = {path for pattern in told["pipelines.predictions.store"] for path in folder.glob(pattern)}
        needed = {path for path in MIGRATIONS.rglob("*") if path.suffix in (".py", ".mako")}
        assert needed - packed == {MIGRATIONS / "__init__.py", MIGRATIONS / "env.py"}  # modules of the package


class TestOlderDatabase:
    def test_there_is_a_sample_of_every_version_on_both_engines(self):
        kept = {path.parent.name for path in (ROOT / "tests" / "compat").glob("*/usecase.yaml")}
        assert set(samples.versions()) == kept
        assert all((samples.HERE / version / name).is_file() for version in kept for name in samples.KINDS.values())

    @pytest.mark.parametrize("version", samples.versions())
    def test_one_of_every_version_is_upgraded_and_keeps_every_row(self, version, place, open_database):
        before = place.load(version).everything()
        assert min(map(len, before.values())) > 0  # the sample has rows in every table
        database = open_database(place)
        missing = database.state().missing
        assert database.upgrade() == missing
        assert version != "0.1.0" or missing == Revisions().all()
        assert place.everything() == before
        assert differences_of(database) == []
        assert database.upgrade() == []

    @pytest.mark.parametrize("version", samples.versions())
    def test_its_rows_are_read_and_added_to_by_today_s_code(self, version, place):
        store = Store.open(place.load(version).url)
        table = TriggerTable(store.database)
        staging = store.predictions("tiny-table", "staging", *ALWAYS, 100)
        assert len(staging) == 3
        assert "ß✈ 'quoted'" in staging["inputs"][1]["origin"]
        assert staging["inputs"][2]["distance"] is None
        production = store.joined("tiny-table", "production", *ALWAYS, 100)
        assert production["truth"].tolist() == [True, False, True]
        assert production["inputs"][0] == {"distance": 1e300, "list": [1, 2], "text": "3", "none": None}
        counts = store.counts("tiny-table")
        assert (counts.predictions, counts.labels, counts.pending_labels, counts.pending_keys) == (6, 4, 2, 1)
        assert (counts.conflicts, counts.losses) == (2, {"malformed": 3, "torn": 1})
        assert [one["status"] for one in store.assessments("tiny-table", "staging", kind="inputs")] == ["alert"]
        assert sorted(one.state for one in table.newest()) == ["refused", "released", "running", "waiting"]
        assert table.newest("tiny-table")[0].joined == 1
        assert table.mark("tiny-table", "staging", "schedule") == "2026-11-21T03:00:00Z"
        assert store.save_predictions(ORIGIN, [row("new", key="UA9")], NOW).labelled == 1
        store.close()

    def test_one_that_never_had_a_monitor_gets_the_tables_of_triggers(self, place):
        place.load("0.1.0").run("DROP TABLE triggers; DROP TABLE trigger_causes; DROP TABLE trigger_marks;")
        store = Store.open(place.url)
        assert TriggerTable(store.database).newest() == []
        assert store.counts("tiny-table").predictions == 6
        store.close()

    def test_a_version_that_no_release_has_made_is_left_alone(self, place, open_database):
        place.load("0.1.0").run("UPDATE store_version SET version = 99;")
        before = place.everything()
        with pytest.raises(StoreUnusable, match="version 99"):
            open_database(place).upgrade()
        assert place.everything() == before

    def test_looking_changes_nothing(self, place, open_database):
        place.load("0.1.0")
        state = open_database(place).state()
        assert (state.found.revision, state.found.is_recorded, state.head) == ("0001", False, HEAD)
        assert [one.id for one in state.missing] == Revisions().ids
        assert place.rows("store_version")


class TestNewerDatabase:
    def test_it_is_not_touched_and_works_when_it_is_taken_back(self, place, open_database, tmp_path):
        newer = with_one_more(tmp_path, ADD_A_COLUMN, 'op.drop_column("predictions", "tenant")')
        of_tomorrow = open_database(place, newer)
        of_tomorrow.upgrade()
        place.run("INSERT INTO losses VALUES ('a', 'u', 'e', '2026-11-21 12:00:00', 'torn', 1);")
        before = place.everything()
        store = Store.open(place.url)
        for _ in range(2):
            with pytest.raises(StoreTooNew, match=f"revision {newer.head}.*up to {HEAD}") as caught:
                store.save_predictions(ORIGIN, [row("a")], NOW)
            assert "upgrade the monitor" in caught.value.hint
        assert place.everything() == before
        of_tomorrow.downgrade(HEAD)
        assert store.save_predictions(ORIGIN, [row("a")], NOW).stored == 1
        assert store.counts("u").losses == {"torn": 1}
        store.close()

    def test_a_monitor_answers_503_and_says_what_to_do(self, tmp_path):
        with Service(tmp_path) as service:
            assert service.post("/predictions", flights(2).segment()).status_code in (200, 409)
        path = next(tmp_path.rglob("monitor.db"))
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE store_revision SET version_num = '0999'")
        connection.close()
        with Service(tmp_path) as service:
            for address, body in (
                ("/predictions", flights(2).segment()),
                ("/labels", {"labels": [{"id": "a.7.b", "value": 1}]}),
            ):
                answer = service.post(address, body)
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
                assert "revision 0999" in answer.json()["detail"]
                assert "mlops store current" in answer.json()["detail"]
            assert service.client.get("/livez").status_code == 200
            ready = service.client.get("/readyz")
            assert (ready.status_code, "revision 0999" in ready.text) == (503, True)
            assert "upgrade the monitor" in ready.text

    def test_a_monitor_that_runs_while_another_takes_the_tables_away_answers_503_as_well(self, tmp_path):
        with Service(tmp_path) as service:
            service.post("/predictions", flights(2).segment())
            path = next(tmp_path.rglob("monitor.db"))
            with sqlite3.connect(path) as connection:
                connection.execute("ALTER TABLE predictions RENAME COLUMN model TO model_version")
            connection.close()
            assert service.post("/predictions", flights(2).segment()).status_code == 503


class TestUpgrade:
    def test_a_crash_in_the_middle_leaves_what_was_there(self, place, open_database, tmp_path):
        open_database(place).upgrade()
        store = Store.open(place.url)
        store.save_predictions(ORIGIN, [row("a"), row("b")], NOW)
        store.close()
        before = place.everything()
        body = ADD_A_COLUMN + '; op.execute("DELETE FROM predictions"); os._exit(9)'
        newer = with_one_more(tmp_path, body)
        assert upgrade_in_a_process(place, newer.folder).wait(60) == 9
        assert place.everything() == before
        assert open_database(place).state().found.revision == HEAD
        mended = newer.folder / "versions" / f"{newer.head}_later.py"
        mended.write_text(mended.read_text().replace("os._exit(9)", "pass"))
        assert [one.id for one in open_database(place, newer).upgrade()] == [newer.head]

    def test_a_revision_that_fails_changes_nothing_and_says_which(self, place, open_database, tmp_path):
        newer = with_one_more(tmp_path, ADD_A_COLUMN + '; op.execute("INSERT INTO nowhere VALUES (1)")')
        open_database(place).upgrade()
        before = place.everything()
        with pytest.raises(StoreNotUpgraded, match=f"to {newer.head}.*nowhere.*nothing was changed"):
            open_database(place, newer).upgrade()
        assert place.everything() == before
        assert open_database(place).state().found.revision == HEAD

    def test_monitors_that_start_at_once_wait_for_each_other_and_one_upgrades(self, place, tmp_path):
        place.load("0.1.0")
        ran = tmp_path / "ran"
        newer = with_one_more(tmp_path, f'{ADD_A_COLUMN}; time.sleep(0.3); open({str(ran)!r}, "a").write("x")')
        monitors = [upgrade_in_a_process(place, newer.folder) for _ in range(3)]
        assert [monitor.wait(60) for monitor in monitors] == [0, 0, 0]
        assert ran.read_text() == "x"

    def test_threads_of_one_monitor_wait_as_well(self, place, tmp_path):
        newer = with_one_more(tmp_path, f"{ADD_A_COLUMN}; time.sleep(0.2)")
        databases = [Database(place.url, newer) for _ in range(2)] * 2
        found = []

        def ask(database):
            with database.reading() as connection:
                found.append(newer.find(connection, "here").revision)

        threads = [threading.Thread(target=ask, args=(database,)) for database in databases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [newer.head] * 4
        for database in databases:
            database.close()

    @pytest.mark.parametrize("from_0_1_0", [True, False], ids=["of 0.1.0", "empty"])
    def test_the_printed_statements_do_the_same(self, from_0_1_0, place, open_database):
        if from_0_1_0:
            place.load("0.1.0")
        database = open_database(place)
        if place.kind == "sqlite":
            Path(database.url.database).touch()
        statements = database.upgrade_sql()
        assert database.state().missing
        place.run(statements)
        assert database.state().missing == []
        assert differences_of(database) == []
        if place.kind == "postgresql":
            assert statements.index("BEGIN") < statements.index("pg_advisory_xact_lock") < statements.index("CREATE")


class TestDowngrade:
    def test_it_takes_the_way_back_and_keeps_every_row(self, place, open_database):
        before = place.load("0.1.0").everything()
        database = open_database(place)
        database.upgrade()
        for revision in Revisions().ids[-2::-1]:
            database.downgrade(revision)
            assert database.state().found.revision == revision
        assert place.everything() == before
        assert place.rows("store_version") == ['{"version": 1}']  # which 0.1.0 looks for
        database.upgrade()
        assert differences_of(database) == []
        assert place.everything() == before

    @pytest.mark.parametrize(("revision", "told"), [("0000", "no revision '0000'"), (HEAD, f"at revision {HEAD}")])
    def test_where_it_cannot_go_it_says_so(self, revision, told, place, open_database):
        database = open_database(place)
        database.upgrade()
        with pytest.raises(StoreUnusable, match=told):
            database.downgrade(revision)
        assert database.state().missing == []


def test_a_developer_adds_a_column_as_the_guide_says(place, open_database, tmp_path):
    """docs/store.md, "Adding a column"."""
    before = place.load("0.1.0").everything()
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    declared = MetaData()
    for metadata in DECLARED:
        for table in metadata.tables.values():
            table.to_metadata(declared)
    declared.tables["predictions"].append_column(Column("tenant", String))
    declared.tables["triggers"].append_column(schema.json_column("facts"))
    drafting = Place(f"sqlite:///{tmp_path / 'draft.db'}")
    with open_database(drafting, Revisions(folder)).writing() as connection:
        path = Revisions(folder).draft(connection, "Predictions know their tenant", [declared])
    newer = Revisions(folder)
    assert path.name == f"{newer.head}_predictions_know_their_tenant.py"
    assert newer.all()[-1] == Revision(f"{int(HEAD) + 1:04}", "Predictions know their tenant")
    assert "pipelines" not in path.read_text()
    database = open_database(place, newer)
    database.upgrade()
    assert differences_of(database, [declared]) == []
    indexes = place.indexes()
    assert {"tenant": None}.items() <= json.loads(place.rows("predictions")[0]).items()
    database.downgrade(HEAD)
    assert place.everything() == before
    assert place.indexes() == indexes


def upgrade_in_a_process(place: Place, folder: Path) -> subprocess.Popen:
    """As a monitor does it: what is not possible now is tried again."""
    code = """
import sys
from pathlib import Path
from pipelines.predictions.store.database import Database
from pipelines.predictions.store.errors import StoreUnavailable
from pipelines.predictions.store.revisions import Revisions

database, is_done = Database(sys.argv[1], Revisions(Path(sys.argv[2]))), False
while not is_done:
    try:
        database.upgrade()
        is_done = True
    except StoreUnavailable:
        pass
"""
    return subprocess.Popen([sys.executable, "-c", code, place.url, str(folder)], cwd=ROOT)


class TestCommands:
    @pytest.fixture
    def run(self, place, monkeypatch, tmp_path):
        monkeypatch.setenv("MLOPS_STORE", place.url)

        def invoke(*words):
            return CliRunner().invoke(main, ["--root", str(ROOT), "--home", str(tmp_path), "store", *words])

        return invoke

    def test_an_operator_looks_upgrades_and_looks_again(self, place, run):
        place.load("0.1.0")
        shown = run("current")
        assert shown.exit_code == 4
        assert "0001, as 0.1.0 made it" in shown.stdout
        assert f"to run    {HEAD}" in shown.stdout
        done = run("upgrade")
        assert (done.exit_code, f"is at revision {HEAD}" in done.stdout) == (0, True)
        told = json.loads(run("current", "--json").stdout)
        assert (told["revision"], told["program"], told["missing"], told["is_too_new"]) == (HEAD, HEAD, [], False)
        assert run("current").exit_code == 0
        assert run("downgrade", "0001", "--yes").exit_code == 0
        assert run("current").exit_code == 4

    def test_one_that_is_not_there_is_not_made_by_looking(self, place, run):
        shown = run("current")
        assert (shown.exit_code, "none" in shown.stdout) == (4, True)
        with place.engine.connect() as connection:
            assert place.engine.dialect.get_table_names(connection) == []

    def test_a_newer_one_is_an_error_that_says_what_to_do(self, place, run):
        run("upgrade")
        place.run("UPDATE store_revision SET version_num = '0999';")
        shown = run("current")
        assert (shown.exit_code, "newer than this program" in shown.stdout) == (1, True)
        for words in (["upgrade"], ["upgrade", "--sql"], ["downgrade", "0001", "--yes"]):
            refused = run(*words)
            assert refused.exit_code == 1
            assert "revision 0999" in refused.stderr
        assert place.rows("store_revision") == ['{"version_num": "0999"}']

    def test_statements_are_printed_and_nothing_is_run(self, place, run):
        place.load("0.1.0")
        printed = run("upgrade", "--sql")
        assert (printed.exit_code, "CREATE TABLE" in printed.stdout) == (0, True)
        assert run("current").exit_code == 4

    def test_a_database_that_is_away_is_one_line(self, run, monkeypatch):
        monkeypatch.setenv("MLOPS_STORE", "postgresql://monitor:hunter2@127.0.0.1:1/none")
        for words in (["current"], ["upgrade"], ["upgrade", "--sql"]):
            failed = run(*words)
            assert failed.exit_code == 1
            assert "127.0.0.1:1" in failed.stderr
            assert "hunter2" not in failed.stderr
