"""What sets off a run: who may ask, what joins, what waits, what runs, and what a killed monitor leaves."""

import os
import socket
import threading
from datetime import UTC, timedelta

import pytest

from pipelines.retraining.dispatcher import LEASE
from pipelines.retraining.queue import TriggerTable
from pipelines.retraining.triggers import LONGEST_EVIDENCE, RunOutcome
from tests.databases import postgres
from tests.trigger_cases import SetClock, by_hand, dispatcher, drift, open_table

RELEASED = RunOutcome(outcome="released", run_id="tiny-20261121-120001-abcd")
FAILED = RunOutcome(outcome="failed", note="train: out of memory")


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def table(tmp_path):
    return open_table(tmp_path / "monitor.db")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def shared_table(request, tmp_path):
    """On each kind of database that two monitors may share."""
    if request.param == "sqlite":
        yield open_table(tmp_path / "monitor.db")
        return
    with postgres() as server:
        yield open_table(server.url)


def test_a_request_becomes_a_run_and_its_record_says_how_it_ended(table, clock):
    monitor = dispatcher(table, clock)
    asked = monitor.request(drift())
    begun = monitor.begin()
    clock.pass_(minutes=3)

    assert monitor.finish(begun, RELEASED)

    found = table.get(asked.id)
    assert (found.state, found.attempts, found.run_id) == ("released", 1, RELEASED.run_id)
    assert found.ended_at - found.started_at == timedelta(minutes=3)
    assert found.sentence == "drift: temperature psi 3.10 > 0.2 on 4,210 predictions since 2013-04-01"


def test_two_hundred_alerts_at_once_start_one_run(shared_table, clock):
    """From many threads and two monitors, each alert with a fingerprint of its own."""
    table = shared_table
    monitors = [dispatcher(table, clock) for _ in range(2)]
    start = threading.Barrier(8)
    begun = []

    def alert(worker: int) -> None:
        start.wait()
        for number in range(25):
            monitors[worker % 2].request(drift(f"alert:{worker}-{number}"))
            begun.extend(filter(None, [monitors[worker % 2].begin()]))

    threads = [threading.Thread(target=alert, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(begun) == 1
    assert len(table.newest()) == 1
    assert table.newest()[0].joined == 199
    monitors[0].finish(table.get(begun[0].id).model_copy(update={"owner": begun[0].owner}), RELEASED)
    assert monitors[0].begin() is None
    assert monitors[1].begin() is None


def test_a_request_that_is_slow_to_wait_does_not_miss_the_run_that_another_has_begun(shared_table, clock, monkeypatch):
    slow, quick = (dispatcher(shared_table, clock) for _ in range(2))
    found_nothing, may_go_on = threading.Event(), threading.Event()
    add = TriggerTable._add

    def late_add(*args):
        if threading.current_thread() is first:
            found_nothing.set()
            may_go_on.wait(10)
        return add(*args)

    def ask_and_begin():
        quick.request(drift("alert:quick"))
        quick.begin()

    monkeypatch.setattr(TriggerTable, "_add", late_add)
    first = threading.Thread(target=slow.request, args=[drift("alert:slow")])
    second = threading.Thread(target=ask_and_begin)
    first.start()
    assert found_nothing.wait(10)
    second.start()
    second.join(0.5)  # it waits for its turn
    may_go_on.set()
    first.join(10)
    second.join(10)
    assert [(one.state, one.joined) for one in shared_table.newest()] == [("running", 1)]


def test_a_request_within_the_cooldown_waits_until_it_ends(table, clock):
    monitor = dispatcher(table, clock)
    monitor.request(drift())
    monitor.finish(monitor.begin(), RELEASED)
    clock.pass_(hours=1)
    monitor.request(drift())

    assert monitor.begin() is None
    assert [(one.state, one.next_attempt) for one in table.pending()] == [("cooling", clock.now + timedelta(hours=5))]

    clock.pass_(hours=5)
    assert monitor.begin().attempts == 1


def test_a_person_may_force_a_run_within_the_cooldown_but_never_beside_another(table, clock):
    monitor = dispatcher(table, clock)
    monitor.request(drift())
    under_way = monitor.begin()
    forced = monitor.request(by_hand(forced=True))

    assert forced.id != under_way.id
    assert monitor.begin() is None

    monitor.finish(under_way, RELEASED)
    assert monitor.begin().id == forced.id


def test_forcing_takes_the_request_that_cools_along(table, clock):
    monitor = dispatcher(table, clock)
    monitor.request(drift())
    monitor.finish(monitor.begin(), RELEASED)
    cooling = monitor.request(drift())
    assert monitor.begin() is None

    assert monitor.request(by_hand(forced=True)).id == cooling.id
    assert monitor.begin().id == cooling.id


def test_a_run_by_hand_counts_for_the_cooldown(table, clock):
    monitor = dispatcher(table, clock, last_run=lambda usecase: clock.now - timedelta(hours=2))
    monitor.request(drift())

    assert monitor.begin() is None
    assert table.pending()[0].state == "cooling"


def test_other_use_cases_do_not_wait_for_each_other(table, clock):
    monitor = dispatcher(table, clock)
    for usecase in ("tiny", "small"):
        monitor.request(drift(usecase=usecase))

    assert {monitor.begin().usecase, monitor.begin().usecase} == {"tiny", "small"}


def test_of_two_environments_one_runs_at_a_time(table, clock):
    monitor = dispatcher(table, clock)
    monitor.request(drift())
    monitor.request(drift(environment="production"))
    first = monitor.begin()

    assert monitor.begin() is None
    monitor.finish(first, RELEASED)
    assert monitor.begin() is None
    clock.pass_(hours=6)
    assert monitor.begin().environment != first.environment


def test_a_failed_run_is_tried_three_times_ever_later(table, clock):
    monitor = dispatcher(table, clock)
    asked = monitor.request(drift())
    pauses = []
    for _ in range(3):
        monitor.finish(monitor.begin(), FAILED)
        pauses.append(table.get(asked.id).next_attempt - clock.now)
        assert monitor.begin() is None
        clock.pass_(minutes=30)

    assert pauses[:2] == [timedelta(minutes=1), timedelta(minutes=5)]
    found = table.get(asked.id)
    assert (found.state, found.attempts, found.note) == ("failed", 3, "train: out of memory")
    assert monitor.begin() is None


def test_a_rejected_candidate_is_no_failure_and_is_not_tried_again(table, clock):
    monitor = dispatcher(table, clock)
    asked = monitor.request(drift())
    monitor.finish(monitor.begin(), RunOutcome(outcome="rejected"))
    clock.pass_(days=2)

    assert table.get(asked.id).state == "rejected"
    assert monitor.begin() is None


def test_a_run_that_a_person_began_is_waited_for_without_counting_an_attempt(table, clock):
    monitor = dispatcher(table, clock)
    asked = monitor.request(drift())
    monitor.finish(monitor.begin(), RunOutcome(outcome="busy", note="a run by hand"))

    found = table.get(asked.id)
    assert (found.state, found.attempts) == ("waiting", 0)
    assert monitor.begin() is None
    clock.pass_(minutes=1)
    assert monitor.begin().attempts == 1


def test_a_failed_run_makes_way_for_a_newer_request(table, clock):
    monitor = dispatcher(table, clock)
    first = monitor.request(drift())
    begun = monitor.begin()
    newer = monitor.request(by_hand())

    monitor.finish(begun, FAILED)

    assert table.get(first.id).state == "failed"
    assert [one.id for one in table.pending()] == [newer.id]


@pytest.mark.parametrize(
    ("trigger", "why"),
    [
        (drift(usecase="unknown"), "there is no use case 'unknown'"),
        (drift(usecase="quiet"), "retrain.on in usecase.yaml does not name drift"),
        (drift(usecase="quiet", reason="schedule"), "retrain.schedule is not set"),
    ],
)
def test_what_may_not_be_asked_for_is_refused_with_the_reason_and_counted(table, clock, trigger, why):
    monitor = dispatcher(table, clock)

    first, again = monitor.request(trigger), monitor.request(trigger)

    assert first.state == "refused"
    assert why in first.note
    assert (again.id, again.joined) == (first.id, 1)
    assert monitor.begin() is None


def test_a_person_may_always_ask(table, clock):
    assert dispatcher(table, clock).request(by_hand("quiet")).state == "waiting"


def test_a_cause_that_is_gone_takes_its_request_back_unless_there_is_another_cause(table, clock):
    monitor = dispatcher(table, clock)
    asked = monitor.request(drift("temperature"))
    monitor.request(drift("humidity"))

    assert not monitor.withdraw("tiny", "staging", "temperature")
    assert table.get(asked.id).state == "waiting"
    assert monitor.withdraw("tiny", "staging", "humidity")
    assert (table.get(asked.id).state, table.get(asked.id).note) == ("refused", "the cause was gone before a run began")
    assert monitor.begin() is None


def test_a_run_that_has_begun_is_not_taken_back(table, clock):
    monitor = dispatcher(table, clock)
    monitor.request(drift("temperature"))
    begun = monitor.begin()

    assert not monitor.withdraw("tiny", "staging", "temperature")
    assert table.get(begun.id).state == "running"


def test_a_signal_while_its_run_is_under_way_is_answered_by_that_run(table, clock):
    monitor = dispatcher(table, clock)
    monitor.request(drift())
    begun = monitor.begin()

    assert monitor.request(drift("another", reason="quality")).id == begun.id
    assert monitor.request(drift("data", reason="new-data")).id != begun.id


def test_evidence_from_outside_is_one_printable_line_of_bounded_length(table, clock):
    nasty = "psi\n\nReleased-By: someone\x1b[31m " + "x" * 1000

    record = dispatcher(table, clock).request(drift(evidence=nasty))

    assert "\n" not in record.sentence
    assert "\x1b" not in record.sentence
    assert len(record.evidence) == LONGEST_EVIDENCE


def test_a_monitor_that_died_leaves_its_run_to_the_next_one(table, clock):
    dead = dispatcher(table, clock)
    dead.owner = f"{socket.gethostname()}:{_ended_process()}:dead"
    dead.request(drift())
    begun = dead.begin()
    followed = []
    alive = dispatcher(table, clock, lambda record: followed.append(record) or RELEASED)

    taken = alive.tick()

    assert [one.id for one in taken] == [begun.id]
    assert alive.wait(10)
    assert followed[0].attempts == 1
    assert table.get(begun.id).state == "released"


def test_a_monitor_on_another_machine_is_given_its_lease(table, clock):
    away = dispatcher(table, clock)
    away.owner = "another-host:1:abcd"
    away.request(drift())
    begun = away.begin()
    here = dispatcher(table, clock)

    clock.pass_(seconds=LEASE.total_seconds() - 1)
    assert here.adopt() == []
    assert table.beat(begun, clock.now)
    clock.pass_(seconds=LEASE.total_seconds() - 1)
    assert here.adopt() == []
    clock.pass_(seconds=2)
    assert [one.id for one in here.adopt()] == [begun.id]


def test_a_monitor_whose_run_was_taken_over_has_no_say_any_more(table, clock):
    late = dispatcher(table, clock)
    late.owner = "another-host:1:abcd"
    late.request(drift())
    begun = late.begin()
    clock.pass_(minutes=5)
    [taken] = dispatcher(table, clock).adopt()

    assert not late.finish(begun, FAILED)
    assert not table.beat(begun, clock.now)
    assert table.get(taken.id).state == "running"


def test_a_request_goes_its_whole_way_on_either_database(shared_table, clock):
    monitor = dispatcher(shared_table, clock)
    asked = monitor.request(drift())
    assert monitor.request(drift("another")).id == asked.id
    monitor.finish(monitor.begin(), FAILED)
    clock.pass_(minutes=1)
    again = monitor.begin()
    monitor.request(by_hand())
    assert not monitor.finish(again.model_copy(update={"owner": "somebody else"}), RELEASED)
    assert monitor.finish(again, FAILED)
    assert [one.reason for one in shared_table.pending()] == ["manual"]
    assert monitor.begin() is None
    assert shared_table.pending()[0].next_attempt == clock.now + timedelta(hours=6)
    assert not monitor.withdraw("tiny", "staging", "no such cause")
    assert monitor.withdraw("tiny", "staging", "by hand")
    assert ("tiny", "drift", "failed", 1) in shared_table.counts()
    shared_table.set_mark("tiny", "staging", "source", "a")
    shared_table.set_mark("tiny", "staging", "source", "b")
    assert shared_table.mark("tiny", "staging", "source") == "b"


def test_a_runner_that_breaks_is_a_failed_run(table, clock):
    def broken(record):
        raise OSError("no more processes")

    monitor = dispatcher(table, clock, broken)
    asked = monitor.request(drift())
    monitor.tick()

    assert monitor.wait(10)
    assert table.get(asked.id).note == "OSError: no more processes"
    assert table.get(asked.id).state == "waiting"


def test_tick_begins_no_more_runs_than_it_may(table, clock):
    go = threading.Event()

    def runner(record):
        go.wait(20)
        return RELEASED

    monitor = dispatcher(table, clock, runner, at_once=1)
    for usecase in ("tiny", "small"):
        monitor.request(drift(usecase=usecase))

    assert len(monitor.tick()) == 1
    assert monitor.tick() == []
    go.set()
    assert monitor.wait(10)
    assert len(monitor.tick()) == 1
    assert monitor.wait(10)


def test_records_survive_a_restart_with_their_times(table, clock, tmp_path):
    asked = dispatcher(table, clock).request(drift())

    assert open_table(tmp_path / "monitor.db").newest() == [asked]
    assert asked.requested_at.tzinfo == UTC


def _ended_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child
