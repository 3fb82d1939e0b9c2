"""From segments to rows: every kind of request, whatever is wrong with it, and the privacy switches."""

import gzip
import json
import zlib
from datetime import timedelta

import pytest

from bento.recording import segments
from pipelines.predictions.errors import UsecaseNotWatched
from pipelines.predictions.ingest import LARGEST_SEGMENT, SegmentInvalid, SegmentTooLarge, ingest
from pipelines.predictions.privacy import PrivacyKeyUnusable, StoreRules, privacy_key, store_rules
from pipelines.predictions.store.store import Store
from pipelines.settings import Settings
from tests.monitoring_cases import watched
from tests.recording_cases import FLIGHT, NOW, SALE, Recorded, flights, header, no_rules, pictures

DAY = timedelta(days=1)
JSON = "application/json"
ANSWER = {"label": True, "probabilities": {"false": 0.2, "true": 0.8}}


@pytest.fixture
def store(tmp_path):
    opened = Store.open(f"sqlite:///{tmp_path / 'monitor.db'}")
    yield opened
    opened.close()


def stored(store, usecase="tiny-table", environment="staging"):
    return store.predictions(usecase, environment, NOW - 30 * DAY, NOW + DAY, 1000)


def test_a_request_becomes_a_row_an_instance(store):
    recorded = Recorded()
    recorded.add({"distance": 7, "origin": "EWR", "carrier": "UA"}, FLIGHT)
    report = ingest(recorded.segment(), store, no_rules, NOW)
    assert (report.usecase, report.environment) == ("tiny-table", "staging")
    assert (report.stored, report.duplicates, report.malformed) == (2, 0, 0)
    rows = stored(store)
    assert list(rows["id"]) == recorded.ids
    assert rows["inputs"][0] == {"distance": 7, "temperature": None, "origin": "EWR", "carrier": "UA"}
    assert rows["label"].tolist() == ["true", "true"]
    assert rows["confidence"].tolist() == [0.8, 0.8]
    assert rows["time"][0] == NOW - timedelta(hours=1)


def test_a_regression_has_a_value(store):
    recorded = Recorded(header(SALE))
    recorded.add({"x": 1}, {"x": 2})
    ingest(recorded.segment(), store, no_rules, NOW)
    rows = stored(store, "tiny-sale")
    assert rows["value"].tolist() == [0.0, 1.0]
    assert rows["label"].tolist() == [None, None]


def test_the_release_is_kept_with_every_prediction(store):
    ingest(flights(1).segment(), store, no_rules, NOW)
    with store.reading() as connection:
        row = connection.exec_driver_sql('SELECT bento, model, run, "commit" FROM predictions').one()
    assert tuple(row) == ("tiny-table:7", "tiny-table/7", "r" * 32, "a" * 40)
    assert store.signature("tiny-table")["classes"] == [False, True]


def test_a_server_that_was_told_no_environment_is_stored_as_such(store):
    unknown = Recorded(header(environment=None))
    unknown.add(FLIGHT)
    assert ingest(unknown.segment(), store, no_rules, NOW).environment == "unknown"
    assert len(stored(store, environment="unknown")) == 1


def test_a_segment_that_comes_twice_is_stored_once_and_so_are_its_losses(store):
    data = flights(3).segment()[:-5]
    first, again = ingest(data, store, no_rules, NOW), ingest(data, store, no_rules, NOW)
    assert (first.stored, first.duplicates, first.malformed) == (2, 0, 1)
    assert (again.stored, again.duplicates) == (0, 2)
    assert store.counts("tiny-table").losses == {"torn": 1}


def test_gzip_is_unpacked(store):
    data = gzip.compress(flights(2).segment())
    assert ingest(data, store, no_rules, NOW, is_gzipped=True).stored == 2


@pytest.mark.parametrize("data", [b"", b"no gzip", gzip.compress(b"x" * 1000, mtime=0)[:-4]])
def test_bad_gzip_is_refused(data, store):
    with pytest.raises(SegmentInvalid, match="gzip"):
        ingest(data, store, no_rules, NOW, is_gzipped=True)


def test_a_small_body_that_unpacks_to_a_huge_one_is_stopped_on_the_way(store):
    packing = zlib.compressobj(wbits=31)
    bomb = b"".join(packing.compress(bytes(1 << 20)) for _ in range((LARGEST_SEGMENT >> 20) + 8)) + packing.flush()
    assert len(bomb) < 200_000
    with pytest.raises(SegmentTooLarge, match=str(LARGEST_SEGMENT)):
        ingest(bomb, store, no_rules, NOW, is_gzipped=True)


def test_what_is_no_segment_is_refused(store):
    with pytest.raises(SegmentInvalid):
        ingest(b'{"instances": []}', store, no_rules, NOW)


def test_of_a_use_case_that_is_not_known_nothing_is_stored(store):
    def nothing_known(usecase):
        raise UsecaseNotWatched(f"use case {usecase} is not watched here")

    with pytest.raises(UsecaseNotWatched):
        ingest(flights(1).segment(), store, nothing_known, NOW)
    assert store.counts("tiny-table").predictions == 0


def add_answer(recorded, request, answer, count=1):
    parts = segments.pack(int(NOW.timestamp() * 1000), count, JSON, request, answer)
    recorded.exchanges.append(b"".join(parts))


def good_answer(recorded, **changes):
    ids = recorded._ids.make(1)
    return json.dumps({"predictions": [ANSWER], "ids": ids, "release": {}, **changes}).encode()


REQUEST = json.dumps({"instances": [FLIGHT]}).encode()


@pytest.mark.parametrize(
    ("request_", "changes"),
    [
        (b"{", {}),
        (b"[]", {}),
        (b'{"instances": 3}', {}),
        (b'{"instances": [3]}', {}),
        (b'{"instances": null}', {}),
        (b'{"instances": [{}, {}]}', {}),
        (b'{"instances": [{}], "keys": ["a", "b"]}', {}),
        (b'{"instances": [{}], "keys": [7]}', {}),
        (b'{"instances": [{}], "keys": "k"}', {}),
        (REQUEST, {"ids": ["somebody-else.7.01a1fd364b3dff6a37b60066bf"]}),
        (REQUEST, {"ids": ["'; DROP TABLE predictions; --"]}),
        (REQUEST, {"ids": [7]}),
        (REQUEST, {"ids": None}),
        (REQUEST, {"predictions": ["yes"]}),
        (REQUEST, {"predictions": []}),
    ],
)
def test_what_is_malformed_is_counted_and_the_rest_is_kept(request_, changes, store):
    recorded = flights(1)
    add_answer(recorded, request_, good_answer(recorded, **changes))
    recorded.add(FLIGHT)
    report = ingest(recorded.segment(), store, no_rules, NOW)
    assert (report.stored, report.malformed) == (2, 1)
    assert store.counts("tiny-table").losses == {"malformed": 1}


def test_raw_bytes_for_a_model_without_a_tensor_are_malformed(store):
    recorded = Recorded()
    recorded.add_raw("application/octet-stream", b"xyz", 1)
    assert ingest(recorded.segment(), store, no_rules, NOW).malformed == 1


def test_a_picture_of_another_shape_is_malformed(store):
    recorded, _ = pictures()
    recorded.add([[1, 2], [3, 4]])
    recorded.add([[300] * 28] * 28)
    recorded.add_raw("application/octet-stream", b"x" * 100, 1)
    report = ingest(recorded.segment(), store, no_rules, NOW)
    assert (report.stored, report.malformed) == (4, 3)


def test_a_server_whose_clock_is_ahead_is_stored_as_of_now(store):
    recorded = Recorded()
    recorded.add(FLIGHT, at=NOW + 400 * DAY)
    recorded.add(FLIGHT, at=NOW + timedelta(minutes=1))
    report = ingest(recorded.segment(), store, no_rules, NOW)
    assert report.clock_skewed == 1
    assert stored(store)["time"].tolist() == [NOW, NOW + timedelta(minutes=1)]


def test_a_time_before_there_were_models_is_malformed(store):
    recorded = Recorded()
    recorded.add(FLIGHT, at=NOW - 40 * 365 * DAY)
    assert ingest(recorded.segment(), store, no_rules, NOW).malformed == 1


def test_a_nul_in_a_text_becomes_what_every_database_can_hold(store):
    recorded = Recorded()
    recorded.add({**FLIGHT, "carrier": "U\0A"}, keys=["k\0"])
    assert ingest(recorded.segment(), store, no_rules, NOW).stored == 1
    assert stored(store)["inputs"][0]["carrier"] == "U\ufffdA"


class TestPrivacy:
    RULES = StoreRules("tiny-table", {"carrier": "hash", "origin": "drop", "temperature": "hash"}, ("carrier",), b"key")

    def test_what_is_dropped_is_nowhere_and_what_is_hashed_is_only_a_hash(self, store, tmp_path):
        recorded = Recorded()
        recorded.add({**FLIGHT, "carrier": "SECRETAIR", "origin": "SECRETPORT"}, keys=["SECRETAIR|1"])
        recorded.add({**FLIGHT, "carrier": "SECRETAIR"}, {**FLIGHT, "carrier": "OTHERAIR"})
        ingest(recorded.segment(), store, lambda _: self.RULES, NOW)
        rows = stored(store)["inputs"].tolist()
        assert set(rows[0]) == {"distance", "temperature", "carrier"}
        assert rows[0]["temperature"] is None
        assert rows[0]["carrier"] == rows[1]["carrier"] != rows[2]["carrier"]
        store.close()
        for path in tmp_path.iterdir():
            assert b"SECRET" not in path.read_bytes()

    def test_hashes_of_equal_values_differ_between_columns_use_cases_and_keys(self):
        value = {"carrier": 1}
        texts = {
            StoreRules("a", {"carrier": "hash"}, (), b"1").apply(value)["carrier"],
            StoreRules("b", {"carrier": "hash"}, (), b"1").apply(value)["carrier"],
            StoreRules("a", {"carrier": "hash"}, (), b"2").apply(value)["carrier"],
            StoreRules("a", {"other": "hash"}, (), b"1").apply({"other": 1})["other"],
        }
        assert len(texts) == 4

    @pytest.mark.parametrize(
        ("columns", "stored_as"), [({}, "same"), ({"flight": "hash"}, "hash"), ({"flight": "drop"}, None)]
    )
    def test_a_join_key_is_as_private_as_its_columns(self, columns, stored_as):
        key = StoreRules("a", columns, ("flight", "day"), b"k").join_key("UA1|2013")
        assert {"same": key == "UA1|2013", "hash": key not in (None, "UA1|2013"), None: key is None}[stored_as]

    def test_a_picture_can_be_hashed_too(self, store):
        recorded, _ = pictures()
        ingest(recorded.segment(), store, lambda _: StoreRules("tiny-picture", {"image": "hash"}, (), b"k"), NOW)
        assert len({row["image"] for row in stored(store, "tiny-picture")["inputs"]}) == 4

    def test_the_key_is_made_once_for_this_user_alone(self, tmp_path):
        settings = Settings.load({"MLOPS_ROOT": str(tmp_path), "MLOPS_HOME": str(tmp_path / "home")})
        assert privacy_key(settings) == privacy_key(settings)
        assert (tmp_path / "home" / "privacy.key").stat().st_mode & 0o777 == 0o600

    def test_a_key_from_outside_wins_and_must_be_long(self, tmp_path):
        env = {"MLOPS_ROOT": str(tmp_path), "MLOPS_PRIVACY_KEY": "a-long-enough-secret"}
        assert privacy_key(Settings.load(env)) == b"a-long-enough-secret"
        with pytest.raises(PrivacyKeyUnusable, match="16 characters"):
            privacy_key(Settings.load({**env, "MLOPS_PRIVACY_KEY": "short"}))

    def test_without_hashes_no_key_is_looked_for(self, tmp_path):
        (tmp_path / "home").write_text("not even a folder")
        settings = Settings.load({"MLOPS_ROOT": str(tmp_path), "MLOPS_HOME": str(tmp_path / "home")})
        assert store_rules(settings, watched()).apply({"size": 1}) == {"size": 1}
        with pytest.raises(PrivacyKeyUnusable, match="MLOPS_PRIVACY_KEY"):
            store_rules(settings, watched(store={"columns": {"size": "hash"}}, drift=None))
