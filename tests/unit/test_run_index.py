"""Run folders by the thousand: which are the newest, which have something to publish, and which cannot be read."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.monitor.run_cache import KnownRuns
from pipelines.runs import publisher as publishing
from pipelines.runs.index import OPEN_FOLDER, close_run, ensure_index, list_runs, newest_runs, open_run, open_runs
from pipelines.runs.journal import JOURNAL_FILE, Journal, JournalTail, Record
from pipelines.runs.publisher import Publisher
from pipelines.runs.request import RunRequest
from pipelines.runs.run import PID_FILE, REMOTE_FILE, REQUEST_FILE, RUN, read_run
from pipelines.runs.tracking import PUBLISHED_FILE, Published, TrackingUnavailable, has_unpublished
from pipelines.settings import Settings

NO_PROCESS = 2**22 + 1  # above the largest process id


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings.load({}, root=tmp_path)


@pytest.fixture
def taken(monkeypatch) -> list[str]:
    """What was published, by a tracking server that takes everything."""
    runs: list[str] = []

    def publish(folder: Path, *_: object) -> str:
        runs.append(folder.name)
        records = Journal(folder).records()
        Published(mlflow_run="1", records=len(records)).write(folder / PUBLISHED_FILE)
        return "1"

    monkeypatch.setattr(publishing, "publish", publish)
    return runs


def a_run(runs: Path, run_id: str, *, pid: int = NO_PROCESS, records: int = 1) -> Path:
    folder = open_run(runs, RunRequest(usecase=run_id.rsplit("-", 3)[0], run_id=run_id, environment="staging"))
    (folder / PID_FILE).write_text(str(pid))
    for number in range(records):
        Journal(folder).append(Record(step=RUN, event="started", time=float(number)))
    return folder


def close_all(runs: Path) -> None:
    for markers in open_runs(runs).values():
        close_run(markers)


def ids(runs: Path, *args, **kwargs) -> list[str]:
    return [run.request.run_id for run in list_runs(runs, *args, **kwargs)]


class TestNewest:
    def test_the_time_in_the_id_orders_runs_of_different_names(self, settings):
        for name in ("tiny-20260101-000000-aaaa", "a-20260301-000000-aaaa", "tiny-two-20260201-000000-aaaa"):
            a_run(settings.runs, name)
        close_all(settings.runs)
        assert ids(settings.runs) == [
            "a-20260301-000000-aaaa",
            "tiny-two-20260201-000000-aaaa",
            "tiny-20260101-000000-aaaa",
        ]
        assert ids(settings.runs, "tiny") == ["tiny-20260101-000000-aaaa"]
        assert ids(settings.runs, limit=1) == ["a-20260301-000000-aaaa"]

    def test_a_resumed_run_is_the_newest_while_it_is_open(self, settings):
        old = a_run(settings.runs, "tiny-20260101-000000-aaaa")
        new = a_run(settings.runs, "tiny-20260201-000000-aaaa")
        close_all(settings.runs)
        open_run(settings.runs, RunRequest.read(old / REQUEST_FILE))
        assert ids(settings.runs) == [old.name, new.name]

    def test_a_name_without_a_time_counts_from_its_request(self, settings):
        for name in ("tiny-20260101-000000-aaaa", "by-hand", "tiny-20280101-000000-aaaa"):
            a_run(settings.runs, name)
        close_all(settings.runs)
        requested = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
        os.utime(settings.runs / "by-hand" / REQUEST_FILE, (requested, requested))
        assert ids(settings.runs) == ["tiny-20280101-000000-aaaa", "by-hand", "tiny-20260101-000000-aaaa"]

    def test_only_as_many_runs_are_read_as_are_wanted(self, settings):
        for day in range(1, 6):
            a_run(settings.runs, f"tiny-2026010{day}-000000-aaaa")
        close_all(settings.runs)
        for day in range(1, 5):
            (settings.runs / f"tiny-2026010{day}-000000-aaaa" / REQUEST_FILE).write_text("unreadable")
        listing = newest_runs(settings.runs, limit=1)
        assert (len(listing.runs), listing.unreadable) == (1, [])

    def test_a_folder_that_cannot_be_read_is_skipped_and_named(self, settings):
        good = a_run(settings.runs, "tiny-20260101-000000-aaaa")
        no_request = a_run(settings.runs, "tiny-20260102-000000-aaaa")
        (no_request / REQUEST_FILE).write_text('{"usecase": "tiny"}')
        no_journal = a_run(settings.runs, "tiny-20260103-000000-aaaa")
        (no_journal / JOURNAL_FILE).write_text("{}\n")
        (settings.runs / "tiny-20260104-000000-aaaa").mkdir()
        listing = newest_runs(settings.runs)
        assert [run.folder for run in listing.runs] == [good]
        assert {one.run_id: one.why for one in listing.unreadable} == {
            no_request.name: "run_id: Field required",
            no_journal.name: "step: Field required",
        }

    def test_no_folder_is_no_run(self, tmp_path):
        assert list_runs(tmp_path / "nowhere") == []


class TestMarkers:
    def test_a_state_folder_of_an_earlier_version_is_looked_through_once(self, settings):
        for name in ("tiny-20260101-000000-aaaa", "tiny-20260102-000000-aaaa", "tiny-20260103-000000-aaaa"):
            a_run(settings.runs, name)
        close_all(settings.runs)
        (settings.runs / OPEN_FOLDER).rmdir()
        Published(mlflow_run="1", records=1).write(settings.runs / "tiny-20260101-000000-aaaa" / PUBLISHED_FILE)
        (settings.runs / "tiny-20260102-000000-aaaa" / REMOTE_FILE).write_text("{}")
        ensure_index(settings.runs)
        assert sorted(open_runs(settings.runs)) == ["tiny-20260103-000000-aaaa"]
        ensure_index(settings.runs)
        assert sorted(path.name for path in settings.runs.iterdir() if path.name.startswith(".")) == [OPEN_FOLDER]

    def test_a_run_whose_process_died_is_published_and_closed(self, settings, taken):
        a_run(settings.runs, "tiny-20260101-000000-aaaa")
        Publisher(settings).look()
        assert taken == ["tiny-20260101-000000-aaaa"]
        assert open_runs(settings.runs) == {}

    def test_a_run_under_way_stays_open_and_only_what_is_new_is_published(self, settings, taken):
        folder = a_run(settings.runs, "tiny-20260101-000000-aaaa", pid=os.getpid())
        looking = Publisher(settings)
        looking.look()
        looking.look()
        assert taken == [folder.name]
        Journal(folder).append(Record(step="train", event="started", time=1.0))
        looking.look()
        assert taken == [folder.name, folder.name]
        assert list(open_runs(settings.runs)) == [folder.name]

    def test_a_run_that_is_resumed_while_its_old_session_is_closed_stays_open(self, settings, taken, monkeypatch):
        folder = a_run(settings.runs, "tiny-20260101-000000-aaaa")
        publish = publishing.publish

        def resumed_meanwhile(*args: object) -> str:
            done = publish(*args)  # type: ignore[arg-type]
            open_run(settings.runs, RunRequest.read(folder / REQUEST_FILE))
            return done

        monkeypatch.setattr(publishing, "publish", resumed_meanwhile)
        Publisher(settings).look()
        assert len(open_runs(settings.runs)[folder.name]) == 1

    def test_a_run_is_under_way_from_the_moment_it_is_opened(self, settings):
        folder = open_run(settings.runs, RunRequest(usecase="tiny", run_id="tiny-1", environment="staging"))
        assert read_run(folder).outcome == "running"

    def test_a_folder_that_cannot_be_read_stops_no_other_and_is_named(self, settings, taken, caplog):
        bad = a_run(settings.runs, "tiny-20260101-000000-aaaa")
        good = a_run(settings.runs, "tiny-20260102-000000-aaaa")
        (bad / REQUEST_FILE).write_text("{")
        looking = Publisher(settings)
        looking.start()
        looking.finish()
        assert set(taken) == {good.name}
        assert f"run folder {bad.name} cannot be read" in caplog.text
        assert list(open_runs(settings.runs)) == [bad.name]

    def test_a_tracking_server_that_is_away_keeps_every_run_open(self, settings, monkeypatch):
        def away(*_: object) -> str:
            raise TrackingUnavailable("MLflow is away")

        monkeypatch.setattr(publishing, "publish", away)
        a_run(settings.runs, "tiny-20260101-000000-aaaa")
        looking = Publisher(settings)
        looking.look()
        assert looking.problem == "MLflow is away"
        assert len(open_runs(settings.runs)) == 1

    def test_the_marker_of_a_folder_that_is_gone_goes_too(self, settings, taken):
        folder = a_run(settings.runs, "tiny-20260101-000000-aaaa")
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        Publisher(settings).look()
        assert (taken, open_runs(settings.runs)) == ([], {})


class TestJournals:
    def test_a_tail_gives_each_record_once(self, tmp_path):
        journal, tail = Journal(tmp_path), JournalTail(tmp_path)
        assert tail.read() == []
        journal.append(Record(step="train", event="started", time=1.0))
        assert [record.event for record in tail.read()] == ["started"]
        with journal.path.open("a") as file:
            file.write('{"step": "train", "event": "fin')
        assert tail.read() == []

    def test_what_a_crash_cut_off_does_not_swallow_the_next_record(self, tmp_path):
        journal, tail = Journal(tmp_path), JournalTail(tmp_path)
        journal.append(Record(step="train", event="started", time=1.0))
        with journal.path.open("a") as file:
            file.write('{"step": "train", "event": "fin')
        tail.read()
        journal.append(Record(step="train", event="failed", time=2.0))
        assert [record.event for record in tail.read()] == ["failed"]
        assert [record.event for record in journal.records()] == ["started", "failed"]

    def test_processes_that_append_at_once_lose_nothing(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from pipelines.runs.journal import Journal, Record\n"
            "for n in range(60): Journal(Path(sys.argv[1])).append("
            "Record(step=sys.argv[2], event='started', time=n, summary='x' * 20000))"
        )
        started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in ("a", "b")]
        assert [process.wait() for process in started] == [0, 0]
        records = Journal(tmp_path).records()
        for name in ("a", "b"):
            assert [record.time for record in records if record.step == name] == list(range(60))

    def test_records_that_an_earlier_version_published_by_number_are_not_published_again(self, tmp_path):
        journal = Journal(tmp_path)
        for number in range(3):
            journal.append(Record(step=RUN, event="started", time=float(number)))
        (tmp_path / PUBLISHED_FILE).write_text('{"mlflow_run": "1", "records": 3}')
        assert not has_unpublished(tmp_path)
        journal.append(Record(step=RUN, event="run", time=time.time()))
        assert has_unpublished(tmp_path)


def test_the_monitor_names_the_folders_it_skips_and_reads_them_again_once_they_are_mended(settings):
    known = KnownRuns(settings.runs)
    folder = a_run(settings.runs, "tiny-20260101-000000-aaaa")
    request = (folder / REQUEST_FILE).read_text()
    (folder / REQUEST_FILE).write_text("{")
    assert known("tiny") == []
    assert [one.run_id for one in known.unreadable()] == [folder.name]
    (folder / REQUEST_FILE).write_text(request)
    assert [run.folder for run in known("tiny")] == [folder]
    assert known.unreadable() == []
