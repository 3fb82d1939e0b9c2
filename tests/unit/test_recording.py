"""Recording without a server around it: frames, spool, queue, shipping to a monitor on loopback."""

import contextlib
import os
import random
import secrets
import threading
import time
import zlib

import httpx
import pytest
from prometheus_client import REGISTRY

from bento.recording import recorder as recorder_module
from bento.recording import segments, shipper
from bento.recording.losses import Losses
from bento.recording.metrics import REASONS, RecordingMetrics
from bento.recording.recorder import Recorder, RecordingOptions
from bento.recording.segments import NotASegment, count_predictions, read_segment
from bento.recording.shipper import Address, ShipOutcome, Shipper
from bento.recording.spool import Spool
from tests.recording_cases import LoopbackMonitor, Recorded, flights, header
from tests.serving import free_port, wait_until

JSON = "application/json"


@pytest.fixture
def monitor():
    made = LoopbackMonitor()
    yield made
    made.close()


@pytest.fixture
def quick(monkeypatch):
    """The same, with pauses that a test can wait for."""
    monkeypatch.setattr(recorder_module, "SEGMENT_SECONDS", 0.05)
    monkeypatch.setattr(recorder_module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(recorder_module, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(shipper, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(shipper, "LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(shipper, "IDLE_SECONDS", 0.05)


def count(name, **labels) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Counted:
    """How much a counter has grown: the registry is the process's own, and other tests count, too."""

    def __init__(self):
        self.before = {}

    def __call__(self, name, **labels):
        key = (name, *labels.items())
        return count(name, **labels) - self.before.get(key, 0.0)

    def note(self, name, **labels):
        self.before[(name, *labels.items())] = count(name, **labels)


@pytest.fixture
def grown():
    counted = Counted()
    for name in ("model_predictions_recorded_total", "model_predictions_shipped_total"):
        counted.note(name)
    for reason in REASONS:
        counted.note("model_predictions_dropped_total", reason=reason)
    return counted


def recorder_to(monitor_url, home, **options) -> Recorder:
    return Recorder(RecordingOptions(monitor=monitor_url, spool=home / "spool", **options), header())


def mounted(folder, url, token) -> None:
    """As the kubelet fills a volume with a Secret."""
    folder.mkdir(exist_ok=True)
    (folder / "url").write_text(url)
    (folder / "token").write_text(token)


@contextlib.contextmanager
def dead_server(root):
    """The spool of one that ends with the block."""
    spool = Spool(root, 10**9)
    spool.claim()
    yield spool
    spool.leave()


def put(spool, data, age=0.0):
    """A closed segment that was begun so many seconds ago."""
    path = spool.folder / f"{time.time_ns() - int(age * 1e9):020d}-{secrets.token_hex(4)}.segment"
    path.write_bytes(data)
    spool.grew(len(data))
    return path


def exchange() -> tuple[bytes, bytes]:
    read = read_segment(flights(1).segment()).exchanges[0]
    return bytes(read.request), bytes(read.answer)


class TestFrames:
    def test_a_segment_gives_back_what_went_in(self):
        recorded = Recorded()
        recorded.add({"distance": 1}, {"distance": 2})
        recorded.add_raw("application/octet-stream", bytes(range(256)), 3)
        segment = read_segment(recorded.segment())
        assert segment.header == header()
        assert segment.header.usecase == "tiny-table"
        assert [one.predictions for one in segment.exchanges] == [2, 3]
        assert bytes(segment.exchanges[1].request) == bytes(range(256))
        assert segment.exchanges[1].content_type == "application/octet-stream"
        assert (segment.damaged, segment.torn) == (0, False)
        assert count_predictions(recorded.segment()) == 5

    def test_a_torn_end_costs_no_more_than_its_last_frame_wherever_it_is_torn(self):
        recorded = flights(3)
        whole = recorded.segment()
        beginning = len(segments.begin(recorded.header))
        ends = [beginning + sum(map(len, recorded.exchanges[:number])) for number in range(4)]
        for length in range(beginning, len(whole)):
            segment = read_segment(whole[:length])
            kept = sum(end <= length for end in ends[1:])
            assert len(segment.exchanges) == kept == count_predictions(whole[:length])
            assert segment.torn == (length not in ends)

    def test_a_damaged_frame_is_counted_and_the_rest_is_read(self):
        recorded = flights(3)
        data = bytearray(recorded.segment())
        data[len(segments.begin(recorded.header)) + len(recorded.exchanges[0]) + 60] ^= 0xFF
        segment = read_segment(bytes(data))
        assert (len(segment.exchanges), segment.damaged, segment.torn) == (2, 1, False)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"GET / HTTP/1.1",
            segments.MAGIC,
            segments.MAGIC + b"\xff" * 100,
            segments.begin(header())[:-1],
            b"\0" * 5000,
        ],
    )
    def test_what_is_no_segment_is_said_to_be_none(self, data):
        with pytest.raises(NotASegment):
            read_segment(data)
        assert count_predictions(data) == 0

    def test_a_header_of_another_kind_is_named(self):
        text = b'{"bento": "x:1"}'
        with pytest.raises(NotASegment, match="header: model"):
            read_segment(segments.MAGIC + segments.FRAME.pack(len(text), zlib.crc32(text)) + text)

    def test_no_bytes_however_random_make_it_fail_in_another_way(self):
        rng = random.Random(1)
        whole = flights(4).segment()
        for _ in range(500):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                segment = read_segment(bytes(data))
            except NotASegment:
                continue
            assert len(segment.exchanges) <= 4
            assert count_predictions(bytes(data)) >= 0


class TestSpool:
    def write(self, spool, data=b"x"):
        path = spool.begin_segment()
        path.write_bytes(data)
        spool.grew(len(data))
        spool.close_segment(path)
        return path

    def test_several_servers_share_a_root_and_leave_each_other_alone(self, tmp_path):
        one, other = Spool(tmp_path, 1000), Spool(tmp_path, 1000)
        one.claim()
        other.claim()
        self.write(one)
        assert other.adopt() == 0
        assert (len(one.waiting()), len(other.waiting())) == (1, 0)

    def test_the_folder_of_a_dead_server_is_adopted_with_its_open_segment(self, tmp_path):
        dead, living = Spool(tmp_path, 1000), Spool(tmp_path, 1000)
        dead.claim()
        self.write(dead, b"closed")
        dead.begin_segment().write_bytes(b"open")
        dead.leave()
        assert living.adopt() == 2
        assert sorted(path.read_bytes() for path in living.waiting()) == [b"closed", b"open"]
        assert living.bytes == 10
        assert not dead.folder.exists()

    def test_only_folders_of_servers_are_touched(self, tmp_path):
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "thesis.segment").write_text("mine")
        strange = tmp_path / "server-1-00000000"
        strange.mkdir()
        (strange / "notes.txt").write_text("mine, too")
        assert Spool(tmp_path, 1000).adopt() == 0
        assert (tmp_path / "precious" / "thesis.segment").read_text() == "mine"
        assert (strange / "notes.txt").read_text() == "mine, too"

    def test_one_that_was_cleared_away_is_made_again(self, tmp_path):
        spool = Spool(tmp_path / "spool", 1000)
        spool.claim()
        (spool.folder / "lock").unlink()
        spool.folder.rmdir()
        spool.claim()
        self.write(spool)
        assert len(spool.waiting()) == 1

    def test_a_folder_of_another_user_is_not_used(self, tmp_path, monkeypatch):
        owner = tmp_path.stat().st_uid + 1
        os.chown(tmp_path, owner, -1) if os.getuid() == 0 else monkeypatch.setattr(os, "getuid", lambda: owner)
        with pytest.raises(PermissionError, match="another user"):
            Spool(tmp_path, 1000).claim()

    def test_of_refused_segments_the_last_few_are_kept(self, tmp_path):
        spool = Spool(tmp_path, 1000)
        spool.claim()
        for _ in range(8):
            self.write(spool)
        for path in spool.waiting():
            spool.refuse(path)
        assert len(list((tmp_path / "refused").iterdir())) == 5
        assert (spool.waiting(), spool.bytes) == ([], 0)

    def test_servers_that_start_and_look_at_the_same_time_adopt_each_segment_once(self, tmp_path):
        for _ in range(5):
            dead = Spool(tmp_path, 1000)
            dead.claim()
            self.write(dead)
            dead.leave()
        spools = [Spool(tmp_path, 1000) for _ in range(6)]
        found = []
        threads = [threading.Thread(target=lambda spool=spool: found.append(spool.adopt())) for spool in spools]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(found) == 5 == sum(len(spool.waiting()) for spool in spools)


class TestOptions:
    def test_without_a_monitor_nothing_is_recorded(self):
        assert RecordingOptions.load({}) is None
        assert RecordingOptions.load({"MLOPS_MONITOR_URL": ""}) is None

    def test_everything_comes_from_the_environment(self, tmp_path):
        env = {"MLOPS_MONITOR_URL": "http://monitor/", "MLOPS_MONITOR_TOKEN": "t", "MLOPS_SPOOL": str(tmp_path)}
        options = RecordingOptions.load({**env, "MLOPS_SPOOL_BYTES": "1000", "MLOPS_SPOOL_HOURS": "2"})
        given = RecordingOptions(monitor="http://monitor", token="t", spool=tmp_path, spool_bytes=1000, spool_hours=2)
        assert options == given
        assert options.address() == Address("http://monitor", "t")

    def test_a_folder_says_where_the_monitor_is_when_it_has_both_files(self, tmp_path):
        options = RecordingOptions.load({"MLOPS_MONITOR_FOLDER": str(tmp_path / "monitor")})
        assert options.address() is None
        mounted(tmp_path / "monitor", "http://monitor/\n", "t\n")
        assert options.address() == Address("http://monitor", "t")
        (tmp_path / "monitor" / "token").unlink()
        assert options.address() is None

    def test_an_address_wins_over_a_folder(self, tmp_path):
        options = RecordingOptions.load({"MLOPS_MONITOR_URL": "http://m", "MLOPS_MONITOR_FOLDER": str(tmp_path)})
        assert options.address() == Address("http://m")

    @pytest.mark.parametrize("variable", ["MLOPS_SPOOL_BYTES", "MLOPS_SPOOL_HOURS"])
    def test_a_limit_that_is_none_is_told_and_left(self, variable, caplog):
        options = RecordingOptions.load({"MLOPS_MONITOR_URL": "http://m", variable: "plenty"})
        assert options == RecordingOptions(monitor="http://m")
        assert variable in caplog.text
        assert "'plenty'" in caplog.text


@pytest.mark.usefixtures("quick")
class TestRecorder:
    def test_what_is_recorded_arrives_once_and_is_counted(self, tmp_path, monitor, grown):
        recorder = recorder_to(monitor.url, tmp_path, token="secret")
        recorder.start()
        request, answer = exchange()
        for _ in range(20):
            recorder.record(JSON, request, answer, 1)
        wait_until(lambda: grown("model_predictions_shipped_total") == 20, "shipped")
        recorder.close()
        assert len(monitor.ids()) == 20
        assert set(monitor.tokens) == {"Bearer secret"}
        assert grown("model_predictions_recorded_total") == 20
        assert not list((tmp_path / "spool").glob("server-*"))

    def test_a_secret_that_comes_after_the_server_starts_the_recording(self, tmp_path, monitor, grown, monkeypatch):
        monkeypatch.setattr(recorder_module, "LOOK_SECONDS", 0.01)
        recorder = recorder_to("", tmp_path, folder=tmp_path / "monitor")
        recorder.start()
        recorder.record(JSON, *exchange(), 1)
        mounted(tmp_path / "monitor", monitor.url, "secret")

        def is_shipped() -> bool:
            recorder.record(JSON, *exchange(), 1)
            return grown("model_predictions_shipped_total") > 0

        wait_until(is_shipped, "shipped")
        recorder.close()
        assert set(monitor.tokens) == {"Bearer secret"}
        assert grown("model_predictions_dropped_total", reason="queue-full") == 0

    def test_a_token_that_is_changed_is_used_without_a_restart(self, tmp_path, monitor, grown):
        mounted(tmp_path / "monitor", monitor.url, "old")
        recorder = recorder_to("", tmp_path, folder=tmp_path / "monitor")
        recorder.start()
        monitor.status = 401
        recorder.record(JSON, *exchange(), 1)
        wait_until(lambda: monitor.tokens, "refused")
        mounted(tmp_path / "monitor", monitor.url, "new")
        monitor.status = 200
        wait_until(lambda: grown("model_predictions_shipped_total") == 1, "shipped")
        recorder.close()
        assert monitor.tokens[0] == "Bearer old"
        assert monitor.tokens[-1] == "Bearer new"

    def test_a_token_that_no_header_can_carry_is_told_and_nothing_is_lost(self, tmp_path, monitor, grown, caplog):
        mounted(tmp_path / "monitor", monitor.url, "geheim ✈")
        recorder = recorder_to("", tmp_path, folder=tmp_path / "monitor")
        recorder.start()
        recorder.record(JSON, *exchange(), 1)
        wait_until(lambda: "takes no predictions now" in caplog.text, "told")
        mounted(tmp_path / "monitor", monitor.url, "secret")
        wait_until(lambda: grown("model_predictions_shipped_total") == 1, "shipped")
        recorder.close()

    def test_closing_ships_what_is_still_in_memory(self, tmp_path, monitor, grown, monkeypatch):
        monkeypatch.setattr(recorder_module, "SEGMENT_SECONDS", 60)
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        request, answer = exchange()
        recorder.record(JSON, request, answer, 1)
        recorder.close()
        assert len(monitor.ids()) == 1

    def test_while_the_monitor_is_away_they_wait_and_then_come_the_oldest_first(self, tmp_path, grown):
        port = free_port()
        recorder = recorder_to(f"http://127.0.0.1:{port}", tmp_path)
        recorder.start()
        request, _ = exchange()
        for number in range(3):
            recorder.record(JSON, request, b'{"ids": ["%d"]}' % number, 1)
            wait_until(lambda number=number: len(recorder.spool.waiting()) == number + 1, "a segment each")
        assert grown("model_predictions_shipped_total") == 0
        assert count("model_predictions_spooled_bytes") > 0
        monitor = LoopbackMonitor(port)
        try:
            wait_until(lambda: grown("model_predictions_shipped_total") == 3, "shipped")
            assert monitor.ids() == ["0", "1", "2"]
        finally:
            recorder.close()
            monitor.close()

    @pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 408, 425, 429, 501, 502, 503, 504, 507])
    def test_a_monitor_that_takes_nothing_now_is_asked_again(self, status, tmp_path, monitor, grown):
        monitor.statuses.extend([status] * 3)
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        recorder.record(JSON, *exchange(), 1)
        wait_until(lambda: grown("model_predictions_shipped_total") == 1, "shipped")
        recorder.close()
        assert len(monitor.tokens) == 4
        assert grown("model_predictions_dropped_total", reason="refused") == 0

    @pytest.mark.parametrize("status", [400, 413, 415, 422])
    def test_what_it_refuses_is_put_aside_counted_and_not_sent_again(self, status, tmp_path, monitor, grown):
        monitor.statuses.append(status)
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        recorder.record(JSON, *exchange(), 7)
        wait_until(lambda: grown("model_predictions_dropped_total", reason="refused") == 7, "refused")
        recorder.record(JSON, *exchange(), 1)
        wait_until(lambda: grown("model_predictions_shipped_total") == 1, "the next one is shipped")
        recorder.close()
        assert len(monitor.tokens) == 2
        assert len(list((tmp_path / "spool" / "refused").iterdir())) == 1

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_what_a_proxy_refuses_without_saying_why_is_tried_again(self, status, tmp_path, monitor, grown):
        monitor.says_why = False
        monitor.statuses.extend([status] * 2)
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        recorder.record(JSON, *exchange(), 3)
        wait_until(lambda: grown("model_predictions_shipped_total") == 3, "shipped")
        recorder.close()
        assert grown("model_predictions_dropped_total", reason="refused") == 0

    @pytest.mark.parametrize("status", [409, 500])
    def test_one_that_is_not_taken_lets_the_others_by_and_is_never_given_up(self, status, tmp_path, monitor, grown):
        monitor.status, monitor.refuses = status, {"poison"}
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        recorder.record(JSON, b"poison", b'{"ids": ["poison"]}', 5)
        wait_until(lambda: len(monitor.tokens) >= 3, "tried again")
        recorder.record(JSON, *exchange(), 1)
        wait_until(lambda: grown("model_predictions_shipped_total") == 1, "the other one is shipped")
        wait_until(lambda: len(monitor.tokens) >= 15, "tried more often than any limit that there was")
        monitor.refuses, monitor.status = set(), 200
        wait_until(lambda: grown("model_predictions_shipped_total") == 6, "shipped")
        recorder.close()
        assert "poison" in monitor.ids()
        assert sum(grown("model_predictions_dropped_total", reason=reason) for reason in REASONS) == 0

    def test_a_monitor_that_fails_at_everything_is_not_asked_for_each_of_them(
        self, tmp_path, monitor, grown, monkeypatch
    ):
        monkeypatch.setattr(shipper, "FIRST_PAUSE_SECONDS", 60.0)
        monkeypatch.setattr(shipper, "LONGEST_PAUSE_SECONDS", 60.0)
        monitor.status = 500
        with dead_server(tmp_path / "spool") as spool:
            for _ in range(20):
                put(spool, flights(1).segment())
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        wait_until(lambda: len(monitor.tokens) == shipper.MOST_IN_A_ROW, "some of them are tried")
        recorder.close(0.1)
        assert len(monitor.tokens) <= 2 * shipper.MOST_IN_A_ROW
        assert len(list((tmp_path / "spool").glob("server-*/*.segment"))) == 20

    def test_it_waits_as_long_as_the_monitor_asks(self, tmp_path, monitor, grown):
        spool = Spool(tmp_path, 1000)
        metrics = RecordingMetrics(spool)
        one = Shipper(spool, lambda: Address(monitor.url), metrics, Losses(metrics), 3600)
        monitor.status, monitor.retry_after = 503, "7"
        with httpx.Client() as client:
            answer = one._post(client, b"")
        assert (answer.outcome, answer.retry_after) == (ShipOutcome.AWAY, 7)
        monitor.retry_after = "Sat, 21 Nov 2026 12:00:00 GMT"
        with httpx.Client() as client:
            assert one._post(client, b"").retry_after == 0

    def test_a_full_queue_drops_and_counts(self, tmp_path, monitor, grown, monkeypatch):
        monkeypatch.setattr(recorder_module, "QUEUE_LENGTH", 10)
        recorder = recorder_to(monitor.url, tmp_path)  # not started: nobody empties the queue
        for _ in range(13):
            recorder.record(JSON, b"request", b"answer", 2)
        assert grown("model_predictions_dropped_total", reason="queue-full") == 6

    def test_so_does_one_that_holds_too_many_bytes_and_there_is_room_again_later(
        self, tmp_path, monitor, grown, monkeypatch
    ):
        monkeypatch.setattr(recorder_module, "QUEUE_BYTES", 1000)
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.record(JSON, b"r" * 900, b"answer", 1)
        recorder.record(JSON, b"r" * 900, b"answer", 1)
        assert grown("model_predictions_dropped_total", reason="queue-full") == 1
        recorder.start()
        wait_until(lambda: grown("model_predictions_recorded_total") == 1, "written")
        wait_until(lambda: recorder._taken == recorder._put, "the queue is empty")
        recorder.record(JSON, b"r" * 900, b"answer", 1)
        recorder.close()
        assert grown("model_predictions_recorded_total") == 2

    def test_a_full_spool_drops_the_oldest_counts_them_and_says_so_once(self, tmp_path, grown, monkeypatch, caplog):
        monkeypatch.setattr(recorder_module, "SEGMENT_SECONDS", 0.0)  # each batch is a segment
        port = free_port()
        request, _ = exchange()
        recorder = recorder_to(f"http://127.0.0.1:{port}", tmp_path, spool_bytes=6000)
        recorder.start()
        for number in range(50):
            recorder.record(JSON, request, b'{"ids": ["%d"]}' % number, 1)
            wait_until(lambda: recorder._taken == recorder._put, "written")
        wait_until(lambda: not list(recorder.spool.folder.glob("*.open")), "closed")
        assert recorder.spool.bytes <= 6000
        monitor = LoopbackMonitor(port)
        try:
            wait_until(lambda: recorder.spool.bytes == 0, "shipped")
            recorder.close()
        finally:
            monitor.close()
        dropped = grown("model_predictions_dropped_total", reason="spool-full")
        assert dropped > 0
        assert monitor.ids() == [str(number) for number in range(int(dropped), 50)]  # none of the newest is missing
        assert grown("model_predictions_recorded_total") == 50
        assert caplog.text.count("the oldest predictions are dropped") == 1
        assert caplog.text.count(f"will not see: {int(dropped)} (spool-full)") == 1

    def test_what_other_servers_left_counts_against_the_limit(self, tmp_path, grown):
        segment = flights(2).segment()
        for _ in range(3):
            with dead_server(tmp_path / "spool") as spool:
                put(spool, segment)
        recorder = recorder_to(f"http://127.0.0.1:{free_port()}", tmp_path, spool_bytes=int(2.5 * len(segment)))
        recorder.start()
        wait_until(lambda: grown("model_predictions_dropped_total", reason="spool-full") == 2, "dropped")
        assert recorder.spool.bytes == 2 * len(segment)
        recorder.close(0.1)

    def test_what_has_waited_for_too_long_is_dropped_when_it_cannot_be_sent(
        self, tmp_path, monitor, grown, monkeypatch, caplog
    ):
        monkeypatch.setattr(shipper, "PATIENCE_SECONDS", 0.0)
        monitor.status = 503
        with dead_server(tmp_path / "spool") as spool:
            put(spool, flights(3).segment(), age=2 * 3600)
            put(spool, flights(1).segment(), age=60)
        recorder = recorder_to(monitor.url, tmp_path, spool_hours=1)
        recorder.start()
        wait_until(lambda: grown("model_predictions_dropped_total", reason="too-old") == 3, "dropped")
        monitor.status = 200
        wait_until(lambda: grown("model_predictions_shipped_total") == 1, "the younger one is shipped")
        recorder.close()
        assert caplog.text.count("have waited for 1 hours") == 1

    def test_so_is_one_that_is_not_taken_while_the_others_are(self, tmp_path, monitor, grown, monkeypatch):
        monkeypatch.setattr(shipper, "PATIENCE_SECONDS", 0.0)
        monitor.status, monitor.refuses = 409, {"poison"}
        poison = b"".join(segments.pack(1, 4, JSON, b"poison", b'{"ids": []}'))
        with dead_server(tmp_path / "spool") as spool:
            put(spool, segments.begin(header()) + poison, age=2 * 3600)
            put(spool, flights(1).segment(), age=2 * 3600)
        recorder = recorder_to(monitor.url, tmp_path, spool_hours=1)
        recorder.start()
        wait_until(lambda: grown("model_predictions_dropped_total", reason="too-old") == 4, "dropped")
        recorder.close()
        assert grown("model_predictions_shipped_total") == 1

    def test_a_server_that_was_off_for_longer_sends_what_it_has_and_is_patient(self, tmp_path, monitor, grown):
        monitor.statuses.extend([503] * 3)
        with dead_server(tmp_path / "spool") as spool:
            put(spool, flights(3).segment(), age=400 * 24 * 3600)
        recorder = recorder_to(monitor.url, tmp_path, spool_hours=1)
        recorder.start()
        wait_until(lambda: grown("model_predictions_shipped_total") == 3, "shipped")
        recorder.close()
        assert grown("model_predictions_dropped_total", reason="too-old") == 0

    def test_the_beginning_of_a_segment_counts_as_well(self, tmp_path, grown, monkeypatch):
        monkeypatch.setattr(recorder_module, "SEGMENT_SECONDS", 0.0)  # each batch is a segment
        request, answer = exchange()
        beginning, one = len(segments.begin(header())), len(request) + len(answer) + segments.OVERHEAD
        recorder = recorder_to("http://127.0.0.1:1", tmp_path, spool_bytes=3 * (beginning + one) - 1)
        recorder.start()
        for number in (1, 2):
            recorder.record(JSON, request, answer, 1)
            wait_until(lambda number=number: len(recorder.spool.waiting()) == number, "a segment each")
        recorder.record(JSON, request, answer, 1)
        wait_until(lambda: grown("model_predictions_dropped_total", reason="spool-full") == 1, "the third")
        assert recorder.spool.bytes == 2 * (beginning + one)
        recorder.close(0.1)

    def test_a_folder_that_cannot_be_used_costs_the_predictions_and_is_told_once(
        self, tmp_path, monitor, grown, caplog
    ):
        (tmp_path / "spool").write_text("a file where a folder should be")
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        for number in range(5):
            recorder.record(JSON, *exchange(), 1)
            wait_until(
                lambda n=number: grown("model_predictions_dropped_total", reason="spool-broken") == n + 1, "dropped"
            )
        assert caplog.text.count("they are dropped") == 1
        (tmp_path / "spool").unlink()
        wait_until(lambda: _records(recorder, grown), "recorded again")
        recorder.close()
        assert "again" in caplog.text

    def test_what_a_dead_server_left_is_shipped_by_the_next(self, tmp_path, monitor, grown):
        dead = Spool(tmp_path / "spool", 10_000)
        dead.claim()
        whole = flights(3).segment()
        dead.begin_segment().write_bytes(whole[:-10])
        dead.leave()
        recorder = recorder_to(monitor.url, tmp_path)
        recorder.start()
        wait_until(lambda: grown("model_predictions_shipped_total") == 2, "the whole ones are shipped")
        recorder.close()
        assert read_segment(monitor.bodies[0]).torn

    def test_a_large_batch_makes_several_segments(self, tmp_path, monitor, grown, monkeypatch):
        monkeypatch.setattr(recorder_module, "SEGMENT_BYTES", 10_000)
        recorder = recorder_to(monitor.url, tmp_path)
        for _ in range(10):
            recorder.record(JSON, b"r" * 4000, b'{"ids": ["x"]}', 1)
        recorder.start()
        wait_until(lambda: grown("model_predictions_shipped_total") == 10, "shipped")
        recorder.close()
        assert len(monitor.bodies) >= 3
        assert len(monitor.ids()) == 10

    def test_closing_takes_no_longer_than_it_may_when_nobody_listens(self, tmp_path):
        recorder = recorder_to(f"http://127.0.0.1:{free_port()}", tmp_path)
        recorder.start()
        recorder.record(JSON, *exchange(), 1)
        began = time.monotonic()
        recorder.close(seconds=2)
        assert time.monotonic() - began < 4
        assert len(list((tmp_path / "spool").glob("server-*/*.segment"))) == 1


def _records(recorder, grown) -> bool:
    recorder.record(JSON, *exchange(), 1)
    return grown("model_predictions_recorded_total") > 0
