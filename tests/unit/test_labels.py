"""Labels: what is taken of a batch, what is told of the rest, and tables of them."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.predictions.errors import UsecaseNotWatched
from pipelines.predictions.ingest import ingest
from pipelines.predictions.label_files import LabelFileInvalid, compose_key, label_batches
from pipelines.predictions.label_import import LabelsNotTaken, import_labels
from pipelines.predictions.labels import (
    LARGEST_BATCH,
    MOST_LABELS,
    LabelRules,
    LabelsInvalid,
    LabelsTooMany,
    accept_labels,
    parse_batch,
)
from pipelines.predictions.privacy import StoreRules
from pipelines.predictions.store.store import Store
from pipelines.settings import Settings
from tests.monitoring_cases import watched as watched_usecase
from tests.pipeline_cases import NAME, Lab
from tests.recording_cases import NOW, Recorded, header, no_rules
from tests.tiny_models import TABULAR

DAY = timedelta(days=1)
USECASE = watched_usecase()
SIGNATURE = TABULAR.model_copy(update={"name": NAME})


@pytest.fixture
def store(tmp_path):
    opened = Store.open(f"sqlite:///{tmp_path / 'monitor.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ids(store):
    """Of ten predictions, which have the keys k0 to k9."""
    recorded = Recorded(header(SIGNATURE))
    for number in range(10):
        recorded.add({"distance": number}, keys=[f"k{number}"])
    ingest(recorded.segment(), store, no_rules, NOW)
    return recorded.ids


def watched(name, usecase=USECASE):
    return LabelRules(usecase, StoreRules.of(usecase, b"k" * 20)) if name == usecase.name else None


def send(store, *labels, usecase=None, watched=watched):
    body = {"labels": list(labels), **({"usecase": usecase} if usecase else {})}
    return accept_labels(parse_batch(json.dumps(body).encode()), store, watched, NOW)


def truths(store):
    return store.joined(NAME, "staging", NOW - DAY, NOW + DAY, 100)["truth"].tolist()


class TestBatches:
    def test_a_batch_by_id(self, store, ids):
        report = send(store, {"id": ids[0], "value": True}, {"id": ids[1], "value": False})
        assert (report.accepted, report.matched, report.invalid, report.pending) == (2, 2, 0, 0)
        assert truths(store) == [True, False]

    def test_a_batch_by_key(self, store, ids):
        report = send(store, {"key": "k3", "value": True}, {"key": "k99", "value": True}, usecase=NAME)
        assert (report.accepted, report.matched, report.pending) == (2, 1, 1)
        assert report.pending_names == ["k99"]

    def test_sending_it_again_changes_nothing(self, store, ids):
        batch = [{"id": name, "value": True} for name in ids]
        send(store, *batch)
        report = send(store, *batch)
        assert (report.accepted, report.duplicates, report.contradicting) == (0, 10, 0)

    def test_a_contradiction_is_told_and_the_first_value_stays(self, store, ids):
        send(store, {"id": ids[0], "value": True})
        report = send(store, {"id": ids[0], "value": False}, {"id": ids[1], "value": False})
        assert (report.contradicting, report.contradicting_names, report.accepted) == (1, [ids[0]], 1)
        assert truths(store) == [True, False]

    def test_one_that_is_wrong_keeps_no_other_out(self, store, ids):
        report = send(store, {"id": "nonsense", "value": True}, {"id": ids[0], "value": True})
        assert (report.accepted, report.invalid) == (1, 1)
        assert report.faults[0].model_dump() == {
            "index": 0,
            "name": "nonsense",
            "detail": "its id is none of a prediction",
        }

    @pytest.mark.parametrize(
        ("change", "detail"),
        [
            ({"value": 1}, "allowed: false, true"),
            ({"value": "true"}, "allowed: false, true"),
            ({"value": None}, "must be a class"),
            ({"value": [True]}, "must be a class"),
            ({"observed_at": "2026-11-21T12:10:00Z"}, "in the future; at most 5 minutes"),
            ({"observed_at": "2026-11-21T14:10:00+01:00"}, "in the future"),
            ({"observed_at": "2026-11-21T12:00:00"}, "with its zone"),
            ({"observed_at": "yesterday"}, "with its zone"),
            ({"observed_at": 5}, "with its zone"),
            ({"observed_at": "0001-01-01T00:00:00+23:00"}, "no time that a calendar has"),
            ({"id": 7}, "text of 1 to 200"),
            ({"id": "x" * 201}, "text of 1 to 200"),
            ({"id": "other.7.01a1fd364b3dff6a37b60066bf"}, "use case other is not watched"),
            ({"key": "k1"}, "both id and key"),
            ({"colour": "red"}, 'unknown key "colour"'),
        ],
    )
    def test_what_can_be_wrong_with_a_label(self, change, detail, store, ids):
        labels = [{"id": ids[0], "value": True, **change}, {"id": ids[1], "value": True}]
        report = send(store, *labels, usecase=NAME if "key" in change else None)
        faults = {fault.index: fault.detail for fault in report.faults}
        assert detail in faults[0]
        assert report.invalid == 1 + ("key" in change)

    @pytest.mark.parametrize("label", [3, None, [], "x", {}, {"value": True}, {"id": "x"}])
    def test_what_is_no_label_at_all(self, label, store):
        assert send(store, label).invalid == 1

    def test_within_the_limit_a_clock_may_be_ahead(self, store, ids):
        report = send(store, {"id": ids[0], "value": True, "observed_at": "2026-11-21T12:04:00Z"})
        assert report.invalid == 0

    def test_an_id_must_be_of_the_use_case_that_the_batch_names(self, store, ids):
        report = send(store, {"id": "other.7.01a1fd364b3dff6a37b60066bf", "value": True}, usecase=NAME)
        assert "is one of other" in report.faults[0].detail

    def test_a_label_may_be_there_before_its_prediction(self, store):
        recorded = Recorded(header(SIGNATURE))
        (name,) = recorded.add({"distance": 1})
        assert send(store, {"id": name, "value": True}).pending_names == [name]
        ingest(recorded.segment(), store, no_rules, NOW)
        assert truths(store) == [True]

    def test_lists_are_cut_and_numbers_are_not(self, store):
        report = send(store, *[{"id": str(number), "value": True} for number in range(100)])
        assert (report.invalid, len(report.faults)) == (100, 20)

    def test_before_a_model_has_answered_any_class_is_taken(self, store):
        for value in (True, 3, "shirt"):
            name = Recorded(header(SIGNATURE)).add({"distance": 1})[0]
            assert send(store, {"id": name, "value": value}).accepted == 1

    @pytest.mark.parametrize(("value", "taken"), [(1, 1), (2.5, 1), (True, 0), ("3", 0), (None, 0)])
    def test_a_regression_takes_numbers(self, value, taken, store):
        usecase = USECASE.model_copy(update={"task": "regression"})
        name = Recorded(header(SIGNATURE)).add({"distance": 1})[0]
        assert send(store, {"id": name, "value": value}, watched=lambda n: watched(n, usecase)).accepted == taken

    def test_keys_of_a_private_column_are_matched_by_their_hash_and_told_by_their_name(self, store):
        usecase = watched_usecase(store={"columns": {"size": "hash"}})
        unique = usecase.data.checks.model_copy(update={"unique": ["size"]})
        usecase = usecase.model_copy(update={"data": usecase.data.model_copy(update={"checks": unique})})
        rules = StoreRules.of(usecase, b"k" * 20)
        recorded = Recorded(header(SIGNATURE))
        recorded.add({"distance": 1}, keys=["12"])
        ingest(recorded.segment(), store, lambda _: rules, NOW)
        labels = [{"key": "12", "value": True}, {"key": "13", "value": True}]
        report = send(store, *labels, usecase=NAME, watched=lambda n: watched(n, usecase))
        assert (report.matched, report.pending_names) == (1, ["13"])


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            (b"", "not valid JSON"),
            (b"[]", "an object with a list"),
            (b'{"labels": {}}', "an object with a list"),
            (b'{"labels": []}', "empty"),
            (b'{"labels": [1], "more": 1}', 'unknown key "more"'),
            (b'{"labels": [1], "usecase": 1}', '"usecase" must be a text'),
            (b'{"labels": [{"key": "k", "value": 1}]}', 'need "usecase"'),
        ],
    )
    def test_what_is_no_batch_is_refused(self, body, detail):
        with pytest.raises(LabelsInvalid, match=detail):
            parse_batch(body)

    def test_too_many_labels_are_refused_with_the_limit(self):
        parse_batch(json.dumps({"labels": [1] * MOST_LABELS}).encode())
        with pytest.raises(LabelsTooMany, match=f"at most {MOST_LABELS} labels"):
            parse_batch(json.dumps({"labels": [1] * (MOST_LABELS + 1)}).encode())

    def test_so_are_too_many_bytes_before_they_are_read(self):
        with pytest.raises(LabelsTooMany, match=f"at most {LARGEST_BATCH} bytes"):
            parse_batch(b"{" * (LARGEST_BATCH + 1))

    def test_keys_of_a_use_case_that_is_not_known(self, store):
        with pytest.raises(UsecaseNotWatched, match="'other'"):
            send(store, {"key": "k", "value": True}, usecase="other")


def table(path, **columns):
    frame = pd.DataFrame(columns)
    writers = {".csv": frame.to_csv, ".parquet": frame.to_parquet}
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        writers[path.suffix](path, index=False)
    return path


class TestFiles:
    @pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
    def test_every_format_says_the_same(self, ending, tmp_path):
        path = table(tmp_path / f"labels{ending}", id=["a", "b", "c"], value=[True, False, None])
        batches = list(label_batches(path, "id", None, [False, True]))
        assert batches == [{"labels": [{"id": "a", "value": True}, {"id": "b", "value": False}]}]

    def test_a_table_of_the_use_case_needs_nothing_but_its_own_columns(self, tmp_path):
        checks = USECASE.data.checks.model_copy(update={"unique": ["when", "kind"]})
        usecase = USECASE.model_copy(update={"data": USECASE.data.model_copy(update={"checks": checks})})
        path = table(tmp_path / "rows.csv", when=["2026-01-01 10:00:00", "2026-01-01T12:00:00+01:00"], kind=["a", "b"],
                     big=["True", "False"])  # fmt: skip
        (batch,) = label_batches(path, "join-key", usecase, [False, True])
        assert batch["usecase"] == NAME
        assert batch["labels"] == [
            {"key": "2026-01-01T10:00:00Z|a", "value": True},
            {"key": "2026-01-01T11:00:00Z|b", "value": False},
        ]

    @pytest.mark.parametrize(
        ("cells", "classes", "expected"),
        [
            ([0, 1], [False, True], [0, 1]),
            (["true", "False"], [False, True], [True, False]),
            ([1.0, 2.0], [1, 2], [1, 2]),
            ([1, 2], ["1", "2"], ["1", "2"]),
            (["shirt", "hat"], ["shirt", "shoe"], ["shirt", "hat"]),
            ([1.5, 2.0], None, [1.5, 2.0]),
        ],
    )
    def test_a_cell_is_read_as_the_class_it_means(self, cells, classes, expected, tmp_path):
        path = table(tmp_path / "labels.csv", id=["a", "b"], value=cells)
        (batch,) = label_batches(path, "id", None, classes)
        values = [label["value"] for label in batch["labels"]]
        assert values == expected
        assert [type(value) for value in values] == [type(value) for value in expected]

    def test_long_files_come_in_batches(self, tmp_path):
        path = table(tmp_path / "labels.parquet", id=[str(n) for n in range(25_000)], value=[True] * 25_000)
        assert [len(batch["labels"]) for batch in label_batches(path, "id", None, None)] == [10_000, 10_000, 5_000]

    def test_times_of_observation_are_kept(self, tmp_path):
        path = table(tmp_path / "labels.csv", id=["a", "b"], value=[1, 2], observed_at=["2026-01-01 10:00:00", None])
        (batch,) = label_batches(path, "id", None, None)
        assert batch["labels"][0]["observed_at"] == "2026-01-01T10:00:00+00:00"
        assert "observed_at" not in batch["labels"][1]

    @pytest.mark.parametrize(
        ("name", "columns", "by", "detail"),
        [
            ("labels.xlsx", None, "id", "'.xlsx' is not known; allowed: .csv"),
            ("labels.parquet", None, "id", "cannot be read"),
            ("labels.csv", {"value": [1]}, "id", "no column id"),
            ("labels.csv", {"id": [1]}, "id", "no column value or big"),
            ("labels.csv", {"value": [1]}, "join-key", "no column key"),
            ("labels.csv", {"id": ["a"], "value": [1], "observed_at": ["noon"]}, "id", "no time"),
        ],
    )
    def test_what_is_wrong_with_a_file_is_named(self, name, columns, by, detail, tmp_path):
        path = tmp_path / name
        path.write_text("nothing") if columns is None else table(path, **columns)
        with pytest.raises(LabelFileInvalid, match=detail):
            list(label_batches(path, by, USECASE, None))

    def test_a_key_is_written_in_one_way(self):
        when = datetime(2013, 4, 1, 12, 5, tzinfo=UTC)
        assert compose_key([pd.Timestamp(when), "UA1545", 7.0, True]) == "2013-04-01T12:05:00Z|UA1545|7|true"


class TestCommand:
    @pytest.fixture
    def world(self, tmp_path):
        return Lab(tmp_path / "lab")

    def run(self, settings, *arguments, env=None):
        words = ["--root", str(settings.root), "--home", str(settings.home), "labels", "import", *map(str, arguments)]
        return CliRunner().invoke(main, words, env=env or {"MLOPS_MONITOR_URL": ""})

    def recorded(self, settings: Settings):
        store = Store.open(f"sqlite:///{settings.home / 'monitor.db'}")
        recorded = Recorded(header(SIGNATURE))
        recorded.add({"distance": 1}, {"distance": 2}, keys=["a", "b"])
        ingest(recorded.segment(), store, no_rules, NOW)
        return store, recorded.ids

    def test_by_id_straight_into_the_store(self, world, tmp_path):
        store, ids = self.recorded(world.settings)
        path = table(tmp_path / "labels.csv", id=[*ids, "tiny.7.01a1fd364b3dff6a37b60066bf"], value=[True, False, True])
        done = self.run(world.settings, path)
        assert done.exit_code == 0, done.output
        assert "taken 3, known before 0; predictions matched: 2" in done.output
        assert "1 wait for their prediction" in done.output
        assert truths(store) == [True, False]

    def test_by_key_and_for_programs(self, world, tmp_path):
        store, _ = self.recorded(world.settings)
        path = table(tmp_path / "labels.csv", key=["a", "b"], big=[True, "maybe"])
        done = self.run(world.settings, path, "--usecase", NAME, "--by", "join-key", "--json")
        report = json.loads(done.output)
        assert done.exit_code == 1
        assert (report["accepted"], report["invalid"], report["faults"][0]["name"]) == (1, 1, "b")
        assert truths(store) == [True]

    def test_keys_need_a_use_case(self, world, tmp_path):
        done = self.run(world.settings, table(tmp_path / "labels.csv", key=["a"], value=[1]), "--by", "join-key")
        assert done.exit_code == 2
        assert "--usecase" in done.output

    def test_a_monitor_that_is_away_is_an_error_that_says_what_to_do(self, world, tmp_path):
        path = table(tmp_path / "labels.csv", id=["a"], value=[1])
        env = {"MLOPS_ROOT": str(world.settings.root), "MLOPS_MONITOR_URL": "http://127.0.0.1:1"}
        with pytest.raises(LabelsNotTaken, match="ConnectError"):
            import_labels(Settings.load(env), path, "id", None)
