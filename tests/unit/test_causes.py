"""The causes that the monitor is told of, and those that it finds by itself."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.assessment.assess import assess
from pipelines.retraining.alertmanager import AlertsInvalid, read_alerts
from pipelines.retraining.causes import act_on, act_on_new_data, act_on_schedule
from pipelines.retraining.triggers import RunOutcome
from pipelines.usecase import UseCase
from tests.monitoring_cases import NOW, FrameSource, predictions, reference, sizes, watched
from tests.trigger_cases import SetClock, dispatcher, open_table

REFERENCE = reference()


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def table(tmp_path):
    return open_table(tmp_path / "monitor.db")


@pytest.fixture
def monitor(table, clock):
    return dispatcher(table, clock)


def retrained(**retrain) -> UseCase:
    values = watched().model_dump(mode="json", exclude_unset=True)
    return UseCase.model_validate({**values, "retrain": retrain})


def alert(name="ModelDrift", status="firing", fingerprint="c0ffee", **labels):
    known = {"alertname": name, "usecase": "tiny", "environment": "staging", "retrain": "drift", **labels}
    return {
        "status": status,
        "labels": {key: value for key, value in known.items() if value is not None},
        "annotations": {"summary": "temperature has drifted"},
        "startsAt": "2026-11-21T11:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": fingerprint,
    }


def webhook(*alerts, **more) -> bytes:
    told = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "monitor", "alerts": list(alerts)}
    return json.dumps({**told, "groupLabels": {}, "commonLabels": {}, "externalURL": "", **more}).encode()


# --- Alertmanager --------------------------------------------------------------------------------------------


def test_a_firing_alert_asks_and_a_resolved_one_takes_back():
    found = read_alerts(webhook(alert(), alert(status="resolved", fingerprint="beef")))

    assert [(one.reason, one.evidence, one.fingerprint) for one in found.triggers] == [
        ("drift", "temperature has drifted", "alert:c0ffee")
    ]
    assert [(one.usecase, one.fingerprint) for one in found.gone] == [("tiny", "alert:beef")]


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"retrain": None}, "ModelDrift: has no label retrain"),
        ({"retrain": "manual"}, "its label retrain is manual; allowed: new-data, drift, quality, missing-labels"),
        ({"usecase": None}, "has no label usecase"),
        ({"environment": ""}, "has no label environment"),
    ],
)
def test_alerts_that_ask_for_no_run_are_ignored_with_the_reason(labels, why):
    found = read_alerts(webhook(alert(**labels)))

    assert (found.triggers, found.gone) == ([], [])
    assert why in found.ignored[0]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the body"),
        (b"not json", "the body"),
        (b'{"version": "3", "alerts": []}', "version"),
        (webhook({"status": "firing"}), r"alerts\.0\.labels"),
        (webhook(*[alert()] * 1001), "alerts"),
        (webhook({**alert(), "fingerprint": ""}), r"alerts\.0\.fingerprint"),
    ],
)
def test_a_body_that_is_no_webhook_is_refused_and_the_key_is_named(body, why):
    with pytest.raises(AlertsInvalid, match=why):
        read_alerts(body)


def test_an_alert_for_an_unknown_use_case_is_refused_on_record(monitor, table):
    [trigger] = read_alerts(webhook(alert(usecase="unknown"))).triggers

    assert monitor.request(trigger).state == "refused"
    assert table.newest()[0].note == "there is no use case 'unknown'"


def test_a_replayed_webhook_joins_what_it_asked_for_already(monitor, table):
    for _ in range(10):
        for trigger in read_alerts(webhook(alert())).triggers:
            monitor.request(trigger)

    assert [one.joined for one in table.newest()] == [9]


# --- the monitor's own assessments -----------------------------------------------------------------------------


def judged(frame):
    return assess(watched(quality=None), "staging", FrameSource(frame), REFERENCE, NOW)


def test_drift_asks_for_a_run_with_the_evidence_of_the_worst_column(monitor):
    [asked, _] = act_on(monitor, retrained(on=["drift"]), judged(predictions(sizes(1000, shift=3.0))))

    assert asked.sentence.startswith("drift: size psi ")
    assert " > 0.2 on 1,000 predictions since 2026-11-20 12:00" in asked.sentence


def test_drift_asks_for_nothing_where_usecase_yaml_does_not_want_it(monitor, table):
    assert act_on(monitor, retrained(on=["quality"]), judged(predictions(sizes(1000, shift=3.0)))) == []
    assert table.newest() == []


def test_inputs_that_are_well_again_take_the_request_back(monitor, table):
    usecase = retrained(on=["drift"])
    bad, good = judged(predictions(sizes(1000, shift=3.0))), judged(predictions(sizes(1000)))

    act_on(monitor, usecase, bad)
    act_on(monitor, usecase, good)

    assert [one.state for one in table.newest()] == ["refused"]
    assert monitor.begin() is None


def test_too_few_predictions_are_no_recovery(monitor, table):
    usecase = retrained(on=["drift"])

    act_on(monitor, usecase, judged(predictions(sizes(1000, shift=3.0))))
    act_on(monitor, usecase, judged(predictions(sizes(5))))

    assert [one.state for one in table.newest()] == ["waiting"]


# --- the clock -------------------------------------------------------------------------------------------------

MONDAY = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def test_a_schedule_asks_once_for_each_of_its_times(monitor, table):
    usecase = retrained(schedule="0 3 * * 1")

    def at(time):
        return act_on_schedule(monitor, table, usecase, "staging", time)

    assert at(MONDAY - timedelta(days=2)) is None
    assert at(MONDAY - timedelta(seconds=1)) is None
    asked = at(MONDAY + timedelta(seconds=3))
    assert asked.sentence == "schedule: 0 3 * * 1 at 2026-11-23 03:00 UTC"
    assert at(MONDAY + timedelta(minutes=1)) is None
    assert at(MONDAY + timedelta(days=7)) is not None


def test_a_new_or_changed_schedule_counts_from_now_on(monitor, table):
    first, other = retrained(schedule="0 3 * * 1"), retrained(schedule="*/5 * * * *")

    assert act_on_schedule(monitor, table, first, "staging", MONDAY) is None
    assert act_on_schedule(monitor, table, other, "staging", MONDAY) is None
    assert act_on_schedule(monitor, table, other, "staging", MONDAY + timedelta(minutes=5)) is not None


def test_a_monitor_that_was_away_asks_once_for_all_that_it_missed(monitor, table):
    usecase = retrained(schedule="0 * * * *")
    act_on_schedule(monitor, table, usecase, "staging", MONDAY)

    asked = act_on_schedule(monitor, table, usecase, "staging", MONDAY + timedelta(hours=50, minutes=1))

    assert "2026-11-25 05:00" in asked.sentence
    assert len(table.newest()) == 1


def test_two_monitors_ask_for_one_run(monitor, table, clock):
    other, usecase = dispatcher(table, clock), retrained(schedule="0 3 * * 1")
    act_on_schedule(monitor, table, usecase, "staging", MONDAY - timedelta(hours=1))
    for one in (monitor, other):
        act_on_schedule(one, table, usecase, "staging", MONDAY)

    assert len(table.newest()) == 1


def test_without_a_schedule_nothing_is_asked_and_a_leap_day_is_waited_for(monitor, table):
    assert act_on_schedule(monitor, table, retrained(on=[]), "staging", MONDAY) is None

    leap = retrained(schedule="0 3 29 2 *")
    act_on_schedule(monitor, table, leap, "staging", MONDAY)
    asked = act_on_schedule(monitor, table, leap, "staging", datetime(2028, 3, 1, tzinfo=UTC))

    assert asked.sentence == "schedule: 0 3 29 2 * at 2028-02-29 03:00 UTC"


# --- new data --------------------------------------------------------------------------------------------------


def test_a_source_that_changed_asks_for_a_run_and_what_it_was_at_first_does_not(monitor, table):
    usecase = retrained(on=["new-data"])
    found = iter(["a" * 64, "a" * 64, "b" * 64, "b" * 64])

    made = [act_on_new_data(monitor, table, usecase, "staging", lambda _: next(found)) for _ in range(4)]

    assert [bool(one) for one in made] == [False, False, True, False]
    assert made[2].sentence == "new-data: python source changed from aaaaaaaaaaaa to bbbbbbbbbbbb"


def test_a_source_is_not_looked_at_where_nobody_wants_it(monitor, table):
    def forbidden(usecase):
        raise AssertionError("looking at a source may cost minutes")

    assert act_on_new_data(monitor, table, retrained(on=[]), "staging", forbidden) is None


def test_data_that_keeps_changing_starts_one_run_a_cooldown(monitor, table, clock):
    usecase, runs = retrained(on=["new-data"]), 0
    for minute in range(600):
        act_on_new_data(monitor, table, usecase, "staging", lambda _, minute=minute: f"{minute:064d}")
        record = monitor.begin()
        if record:
            runs += 1
            monitor.finish(record, RunOutcome(outcome="released"))
        clock.pass_(minutes=1)

    assert runs == 2
