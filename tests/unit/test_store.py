"""The prediction store, on SQLite and on a real PostgreSQL: the same stories on both."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy.exc import StatementError

from pipelines.assessment.assess import Assessment
from pipelines.predictions.expiry import let_go
from pipelines.predictions.ingest import ingest
from pipelines.predictions.store.database import read_url
from pipelines.predictions.store.errors import (
    StoreAway,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreRefused,
    StoreUnusable,
)
from pipelines.predictions.store.rows import LabelRow, Origin, PredictionRow
from pipelines.predictions.store.store import Store
from tests.databases import postgres
from tests.monitoring_cases import watched
from tests.recording_cases import NOW, flights, no_rules, pictures

USECASE, STAGING = "tiny-table", "staging"
DAY = timedelta(days=1)
ALWAYS = (NOW - 365 * DAY, NOW + DAY)
ORIGIN = Origin(USECASE, STAGING, "tiny-table:7", "tiny-table/7", "run", "commit", {"classes": [False, True]})


@pytest.fixture(scope="module")
def server():
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'monitor.db'}"
    name = f"test_{abs(hash(request.node.nodeid)) % 10**12}"
    return request.getfixturevalue("server").database(name)


@pytest.fixture
def store(url):
    opened = Store.open(url)
    yield opened
    opened.close()


def row(name, *, at=NOW, key=None, **more) -> PredictionRow:
    return PredictionRow(
        id=f"{USECASE}.7.{name}", time=at, inputs={"distance": 1}, output={"value": 1.0}, join_key=key, **more
    )


def label(name, value=True, at=NOW) -> LabelRow:
    return LabelRow(f"{USECASE}.7.{name}", USECASE, value, at)


def key_label(key, value=True) -> LabelRow:
    return LabelRow(key, USECASE, value, NOW)


def read(store, limit=1000, **options):
    return store.predictions(USECASE, STAGING, *ALWAYS, limit, **options)


def joined(store, limit=1000, **options):
    return store.joined(USECASE, STAGING, *ALWAYS, limit, **options)


class TestPredictions:
    def test_what_was_stored_is_read_back_by_time(self, store):
        late = row("b", at=NOW, label="true", confidence=0.8)
        early = row("a", at=NOW - DAY, value=2.5)
        kept = store.save_predictions(ORIGIN, [late, early], NOW)
        assert (kept.stored, kept.duplicates) == (2, 0)
        found = read(store)
        assert list(found["id"]) == [early.id, late.id]
        assert list(found["time"]) == [early.time, late.time]
        assert found["inputs"][0] == {"distance": 1}
        assert found["label"].tolist() == [None, "true"]
        assert found["confidence"][1] == 0.8
        assert found["value"][0] == 2.5

    def test_the_same_again_changes_nothing(self, store):
        rows = [row(str(number)) for number in range(5)]
        store.save_predictions(ORIGIN, rows[:3], NOW)
        kept = store.save_predictions(ORIGIN, rows, NOW)
        assert (kept.stored, kept.duplicates) == (2, 3)
        assert len(read(store)) == 5

    def test_a_window_has_its_beginning_and_not_its_end(self, store):
        hours = [row(str(hour), at=NOW - timedelta(hours=hour)) for hour in range(5)]
        store.save_predictions(ORIGIN, hours, NOW)
        found = store.predictions(USECASE, STAGING, NOW - timedelta(hours=3), NOW - timedelta(hours=1), 100)
        assert sorted(name[-1] for name in found["id"]) == ["2", "3"]

    def test_each_use_case_environment_and_version_is_read_by_itself(self, store):
        store.save_predictions(ORIGIN, [row("a")], NOW)
        store.save_predictions(Origin(USECASE, STAGING, "tiny-table:8", "m", "r", None, {}), [row("b")], NOW)
        store.save_predictions(Origin(USECASE, "production", "tiny-table:7", "m", "r", None, {}), [row("c")], NOW)
        store.save_predictions(Origin("other", STAGING, "other:7", "m", "r", None, {}), [row("d")], NOW)
        assert len(read(store)) == 2
        assert [name[-1] for name in read(store, bento="tiny-table:8")["id"]] == ["b"]
        assert store.coverage(USECASE, STAGING, *ALWAYS, bento="tiny-table:7").predictions == 1

    def test_an_empty_window_is_an_empty_table_with_its_columns(self, store):
        assert list(read(store).columns) == ["id", "time", "bento", "inputs", "label", "confidence", "value"]
        assert {"truth", "observed_at", "output"} <= set(joined(store).columns)
        assert len(joined(store)) == 0
        coverage = store.coverage(USECASE, STAGING, *ALWAYS)
        assert (coverage.predictions, coverage.labelled, coverage.ratio) == (0, 0, None)

    def test_a_sample_is_even_and_always_the_same(self, store):
        rows = [row(f"{number:05}", at=NOW - timedelta(minutes=number)) for number in range(3000)]
        store.save_predictions(ORIGIN, rows, NOW)
        chosen = list(read(store, limit=500)["id"])
        assert len(chosen) == 500
        assert chosen == list(read(store, limit=500)["id"])
        places = sorted(int(name.rpartition(".")[2]) for name in chosen)
        assert 1350 < np.mean(places) < 1650
        assert np.histogram(places, bins=5)[0].min() > 60
        assert set(read(store, limit=100)["id"]) < set(chosen)

    def test_many_rows_in_one_batch(self, store):
        rows = [row(f"{number:06}", key=f"key-{number}") for number in range(6000)]
        assert store.save_predictions(ORIGIN, rows, NOW).stored == 6000
        assert store.counts(USECASE).predictions == 6000

    def test_texts_of_every_kind_come_back_as_they_were(self, store):
        inputs = {"text": "ß✈ 'quoted' \"double\" \\ %s :name \n", "none": None, "big": 1e300, "list": [1, 2]}
        one = PredictionRow(id="x", time=NOW, inputs=inputs, output={"label": "ß"}, label="ß")
        store.save_predictions(ORIGIN, [one], NOW)
        found = read(store)
        assert found["inputs"][0] == inputs
        assert found["label"][0] == "ß"

    def test_two_writers_of_the_same_predictions_at_once_do_not_wait_for_each_other_for_ever(self, url):
        stores = [Store.open(url) for _ in range(4)]
        rows = [row(f"{number:05}") for number in range(400)]
        kept, errors = [], []

        def write(one, part):
            try:
                for _ in range(3):
                    kept.append(one.save_predictions(ORIGIN, part, NOW).stored)
            except StoreError as error:
                errors.append(error)

        parts = [rows, rows[::-1], rows[:200] + rows, rows[200:]]
        threads = [threading.Thread(target=write, args=pair) for pair in zip(stores, parts, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert sum(kept) == 400 == len(read(stores[0]))
        for one in stores:
            one.close()


class TestLabels:
    def test_a_label_meets_its_prediction(self, store):
        store.save_predictions(ORIGIN, [row("a", at=NOW - DAY), row("b", at=NOW - DAY)], NOW)
        done = store.save_labels([label("a", True, NOW - timedelta(hours=1))], "api", NOW)
        assert (done.accepted, done.matched, done.pending) == (1, 1, [])
        found = joined(store)
        assert found["truth"].tolist() == [True]
        assert found["output"][0] == {"value": 1.0}
        assert found["observed_at"][0] == NOW - timedelta(hours=1)
        coverage = store.coverage(USECASE, STAGING, *ALWAYS)
        assert (coverage.predictions, coverage.labelled) == (2, 1)
        assert coverage.lag_median_seconds == coverage.lag_p95_seconds == DAY.total_seconds()

    @pytest.mark.parametrize("value", [True, 0, 3, 2.5, "Ankle boot"])
    def test_a_true_value_keeps_its_type(self, value, store):
        store.save_predictions(ORIGIN, [row("a")], NOW)
        store.save_labels([label("a", value)], "api", NOW)
        truth = joined(store)["truth"][0]
        assert truth == value
        assert isinstance(truth, bool) == isinstance(value, bool)

    def test_the_same_label_again_is_a_duplicate_and_another_value_a_contradiction(self, store):
        store.save_predictions(ORIGIN, [row("a"), row("b")], NOW)
        store.save_labels([label("a", True)], "api", NOW)
        again = store.save_labels([label("a", True), label("a", False), label("b", True), label("b", True)], "x", NOW)
        assert (again.accepted, again.duplicates) == (1, 2)
        assert again.contradicting == [f"{USECASE}.7.a"]
        assert joined(store)["truth"].tolist() == [True, True]
        store.save_labels([label("a", False)], "api", NOW)
        assert store.counts(USECASE).conflicts == 1

    def test_one_is_not_true(self, store):
        store.save_labels([label("a", True)], "api", NOW)
        assert store.save_labels([label("a", 1)], "api", NOW).contradicting
        assert store.save_labels([label("b", 1), label("b", 1.0)], "api", NOW).duplicates == 1

    def test_a_label_that_is_early_waits_for_its_prediction(self, store):
        done = store.save_labels([label("a")], "api", NOW)
        assert done.pending == [f"{USECASE}.7.a"]
        assert store.counts(USECASE).pending_labels == 1
        store.save_predictions(ORIGIN, [row("a")], NOW)
        assert len(joined(store)) == 1
        assert store.counts(USECASE).pending_labels == 0

    def test_by_key_every_prediction_gets_it_those_to_come_as_well(self, store):
        store.save_predictions(ORIGIN, [row("a", key="UA1"), row("b", key="UA1"), row("c", key="UA2")], NOW)
        done = store.save_key_labels([key_label("UA1", True), key_label("UA3", False)], "import", NOW)
        assert (done.accepted, done.matched, done.pending) == (2, 2, ["UA3"])
        assert store.counts(USECASE).pending_keys == 1
        assert store.save_predictions(ORIGIN, [row("d", key="UA3"), row("e")], NOW).labelled == 1
        assert joined(store)["truth"].tolist() == [True, True, False]
        assert store.counts(USECASE).pending_keys == 0

    def test_by_key_the_first_value_stays_too(self, store):
        store.save_predictions(ORIGIN, [row("a", key="UA1")], NOW)
        store.save_key_labels([key_label("UA1", True)], "import", NOW)
        again = store.save_key_labels([key_label("UA1", True), key_label("UA1", False)], "import", NOW)
        assert (again.duplicates, again.contradicting) == (1, ["UA1"])
        assert joined(store)["truth"].tolist() == [True]

    def test_a_key_belongs_to_its_use_case(self, store):
        store.save_predictions(ORIGIN, [row("a", key="UA1")], NOW)
        other = LabelRow("UA1", "other", True, NOW)
        assert store.save_key_labels([other], "import", NOW).pending == ["UA1"]
        assert len(joined(store)) == 0

    def test_thousands_at_once(self, store):
        store.save_predictions(ORIGIN, [row(f"{n:05}", key=f"k{n}") for n in range(3000)], NOW)
        assert store.save_labels([label(f"{n:05}") for n in range(1500)], "api", NOW).matched == 1500
        done = store.save_key_labels([key_label(f"k{n}") for n in range(3000)], "import", NOW)
        assert (done.accepted, done.matched) == (3000, 1500)
        coverage = store.coverage(USECASE, STAGING, *ALWAYS)
        assert coverage.ratio == 1
        assert len(joined(store, limit=100)) == 100


class TestRetention:
    def test_what_is_old_goes_with_its_labels(self, store):
        ages = [row(str(days), at=NOW - days * DAY) for days in (1, 50, 100, 200)]
        store.save_predictions(ORIGIN, ages, NOW)
        store.save_labels([label(str(days)) for days in (1, 100)], "api", NOW)
        gone = store.expire(USECASE, NOW - 90 * DAY, NOW - DAY)
        assert (gone.predictions, gone.labels, gone.is_complete) == (2, 0, True)
        counts = store.counts(USECASE)
        assert (counts.predictions, counts.labels, counts.pending_labels) == (2, 1, 0)
        assert counts.oldest == NOW - 50 * DAY

    def test_labels_whose_prediction_never_came_go_after_a_while(self, store):
        store.save_labels([label("early")], "api", NOW - 3 * DAY)
        store.save_labels([label("late")], "api", NOW)
        assert store.expire(USECASE, NOW - 90 * DAY, NOW - DAY).labels == 1
        assert store.counts(USECASE).pending_labels == 1

    def test_how_long_is_said_by_the_use_case(self, store):
        usecase = watched(store={"retention": "30d"})
        origin = Origin(usecase.name, STAGING, "b:7", "m", "r", None, {})
        store.save_predictions(origin, [row("a", at=NOW - 31 * DAY), row("b", at=NOW - 29 * DAY)], NOW)
        store.save_labels([LabelRow("nobody", usecase.name, True, NOW)], "api", NOW - 8 * DAY)
        gone = let_go(store, usecase, NOW)
        assert (gone.predictions, gone.labels) == (1, 1)

    def test_another_use_case_keeps_its_own(self, store):
        store.save_predictions(
            Origin("other", STAGING, "other:7", "m", "r", None, {}), [row("d", at=NOW - 9 * DAY)], NOW
        )
        assert store.expire(USECASE, NOW, NOW).predictions == 0
        assert store.counts("other").predictions == 1

    def test_much_is_let_go_in_parts(self, store, monkeypatch):
        monkeypatch.setattr("pipelines.predictions.store.retention.CHUNK_ROWS", 100)
        store.save_predictions(ORIGIN, [row(f"{n:05}", at=NOW - 9 * DAY) for n in range(450)], NOW)
        first = store.expire(USECASE, NOW, NOW, most_rows=200)
        assert (first.predictions, first.is_complete) == (200, False)
        assert store.expire(USECASE, NOW, NOW, most_rows=1000).is_complete
        assert store.counts(USECASE).predictions == 0


class TestAssessments:
    def test_they_are_kept_once_and_read_newest_first(self, store):
        common = {"usecase": USECASE, "environment": STAGING, "window_start": NOW - DAY, "window_end": NOW}
        found = [
            Assessment(
                **common, id=f"{kind}.{day}", kind=kind, time=NOW - day * DAY, status="ok", summary="fine",
                value=0.1, threshold=0.2, detail={"columns": {"distance": 0.1}}, bento="tiny-table:7",
            )
            for kind in ("inputs", "quality")
            for day in range(3)
        ]  # fmt: skip
        assert store.save_assessments(found) == 6
        assert store.save_assessments(found) == 0
        read_back = [Assessment.model_validate(row) for row in store.assessments(USECASE, STAGING, kind="inputs")]
        assert read_back == found[:3]
        assert len(store.assessments(USECASE, STAGING, limit=4)) == 4


class TestFaults:
    def test_several_monitors_may_open_a_new_store_at_once(self, url):
        stores, errors = [Store.open(url) for _ in range(6)], []

        def ask(one):
            try:
                one.counts(USECASE)
            except StoreError as error:
                errors.append(error)

        threads = [threading.Thread(target=ask, args=(one,)) for one in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        for one in stores:
            one.close()

    def test_a_failed_batch_leaves_nothing(self, store):
        bad = PredictionRow(id="bad", time=NOW, inputs={"x": object()}, output={})  # type: ignore[dict-item]
        with pytest.raises((TypeError, StatementError)):
            store.save_predictions(ORIGIN, [row("good"), bad], NOW)
        assert store.counts(USECASE).predictions == 0

    def test_a_locked_sqlite_is_said_to_be_locked_and_goes_on_afterwards(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pipelines.predictions.store.database.BUSY_SECONDS", 0.1)
        path = tmp_path / "monitor.db"
        store = Store.open(f"sqlite:///{path}")
        store.counts(USECASE)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked):
            store.save_predictions(ORIGIN, [row("a")], NOW)
        assert len(read(store)) == 0  # readers do not wait for a writer
        other.execute("ROLLBACK")
        assert store.save_predictions(ORIGIN, [row("a")], NOW).stored == 1

    def test_a_new_file_that_another_process_is_setting_up_is_waited_for(self, tmp_path):
        path = tmp_path / "monitor.db"
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("CREATE TABLE first (one)")
        other.execute("BEGIN IMMEDIATE")  # SQLite itself waits for no such lock when it turns to write-ahead logging
        threading.Timer(0.2, other.execute, ["COMMIT"]).start()
        assert Store.open(f"sqlite:///{path}").counts(USECASE).predictions == 0

    def test_a_new_file_that_another_process_never_lets_go_of_is_said_to_be_locked(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pipelines.predictions.store.database.BUSY_SECONDS", 0.1)
        path = tmp_path / "monitor.db"
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("CREATE TABLE first (one)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked):
            Store.open(f"sqlite:///{path}").counts(USECASE)
        other.execute("ROLLBACK")

    def test_a_full_disk_is_said_to_be_full_and_goes_on_afterwards(self, tmp_path):
        store = Store.open(f"sqlite:///{tmp_path / 'monitor.db'}")
        with store.writing() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")
        rows = [row(f"{number:06}") for number in range(5000)]
        with pytest.raises(StoreFull, match="full"):
            store.save_predictions(ORIGIN, rows, NOW)
        assert store.counts(USECASE).predictions == 0
        with store.reading() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        assert store.save_predictions(ORIGIN, rows, NOW).stored == 5000

    def test_space_is_given_back(self, tmp_path):
        path = tmp_path / "monitor.db"
        store = Store.open(f"sqlite:///{path}")
        store.save_predictions(ORIGIN, [row(f"{n:06}", at=NOW - 9 * DAY) for n in range(8000)], NOW)
        store.close()
        before = path.stat().st_size
        store.expire(USECASE, NOW, NOW)
        store.close()
        assert path.stat().st_size < before / 2

    def test_what_is_no_database_is_not_overwritten(self, tmp_path):
        path = tmp_path / "monitor.db"
        path.write_text("a letter to my grandmother" * 100)
        with pytest.raises(StoreUnusable):
            Store.open(f"sqlite:///{path}").counts(USECASE)
        assert path.read_text().startswith("a letter")

    def test_a_folder_that_cannot_be_made_is_the_store_being_away(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreAway):
            Store.open(f"sqlite:///{tmp_path / 'file' / 'monitor.db'}").counts(USECASE)

    def test_a_postgres_that_is_away_comes_back(self, server):
        store = Store.open(server.database("outage"))
        store.save_predictions(ORIGIN, [row("a")], NOW)
        server.stop()
        try:
            with pytest.raises(StoreAway):
                store.save_predictions(ORIGIN, [row("b")], NOW)
        finally:
            server.start()
        assert store.save_predictions(ORIGIN, [row("b")], NOW).stored == 1
        store.close()

    def test_one_that_is_away_at_the_start_is_waited_for_as_well(self, server):
        url = server.database("late")
        server.stop()
        try:
            store = Store.open(url)
            with pytest.raises(StoreAway):
                store.counts(USECASE)
        finally:
            server.start()
        assert store.counts(USECASE).predictions == 0
        store.close()

    def test_a_lock_in_postgres_is_said_to_be_one(self, server, monkeypatch):
        monkeypatch.setattr("pipelines.predictions.store.database.BUSY_SECONDS", 1)
        url = server.database("locked")
        store, other = Store.open(url), Store.open(url)
        store.counts(USECASE)
        with other.writing() as connection:
            connection.exec_driver_sql("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreLocked):
                store.save_predictions(ORIGIN, [row("a")], NOW)
        assert store.save_predictions(ORIGIN, [row("a")], NOW).stored == 1
        store.close()
        other.close()

    def test_a_value_that_postgres_cannot_hold_is_refused_not_tried_again(self, server):
        store = Store.open(server.database("refused"))
        with pytest.raises(StoreRefused):
            store.save_predictions(ORIGIN, [row("a", key="nul\0")], NOW)
        store.close()

    def test_passwords_are_not_told(self):
        store = Store.open("postgresql://monitor:hunter2@127.0.0.1:1/none")
        with pytest.raises(StoreAway) as caught:
            store.counts(USECASE)
        assert "hunter2" not in str(caught.value)
        assert "127.0.0.1:1" in str(caught.value)


class TestUrls:
    @pytest.mark.parametrize("start", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_postgresql_is_spoken_to_by_psycopg_3(self, start):
        assert read_url(f"{start}://host/name").drivername == "postgresql+psycopg"

    @pytest.mark.parametrize("text", ["", "monitor.db", "mysql://host/name"])
    def test_others_are_refused(self, text):
        with pytest.raises(StoreUnusable, match="MLOPS_STORE"):
            read_url(text)


class TestTensors:
    def test_pictures_come_back_as_arrays_however_they_were_sent(self, store):
        recorded, arrays = pictures()
        report = ingest(recorded.segment(), store, no_rules, NOW)
        assert (report.stored, report.malformed) == (4, 0)
        found = store.predictions("tiny-picture", STAGING, *ALWAYS, 10).set_index("id")["inputs"]
        for name, array in zip(recorded.ids, arrays, strict=True):
            assert np.array_equal(found[name]["image"], array)
            assert found[name]["image"].dtype == np.uint8


def test_a_store_keeps_up_with_a_thousand_predictions_a_second(store):
    """Loosely: the machine may be busy. The benchmark says how many it is."""
    segment = flights(2000).segment()
    began = datetime.now(UTC)
    assert ingest(segment, store, no_rules, NOW).stored == 2000
    assert datetime.now(UTC) - began < timedelta(seconds=10)
