"""Limits, owners, releases and last runs, as Prometheus reads them."""

from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.monitor.metrics.inventory import ReleasedVersion, RunMetrics, WatchedMetrics, WatchedModels
from pipelines.monitor.run_cache import KnownRuns
from pipelines.retraining.triggers import RunOutcome
from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import RunRequest
from pipelines.usecase import load_usecase
from tests.monitoring.rules import ROOT
from tests.trigger_cases import SetClock, by_hand, dispatcher, drift, open_table

FLIGHTS = {"usecase": "flight-delays", "environment": "staging"}
TINY = {"usecase": "tiny", "environment": "staging"}


def told(registry: CollectorRegistry) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


@pytest.fixture
def flights():
    return load_usecase(ROOT, "flight-delays", "staging")


def test_what_usecase_yaml_says_is_told(flights):
    registry = CollectorRegistry()
    WatchedMetrics(registry).show([WatchedModels(flights, "staging")])
    contact = {"owner": "operations-analytics", "contact": "ops-analytics@example.com"}
    assert told(registry) == [
        ("model_usecase_info", FLIGHTS | contact, 1),
        ("model_availability_objective_ratio", FLIGHTS, 0.999),
        ("model_latency_limit_seconds", FLIGHTS, 0.05),
        ("model_stale_after_seconds", FLIGHTS, 90 * 86_400),
    ]


def test_a_release_and_its_time(flights):
    registry = CollectorRegistry()
    since = datetime(2026, 4, 1, tzinfo=UTC)
    release = ReleasedVersion("flight-delays:7", "flight-delays/7", "abc", since)
    WatchedMetrics(registry).show([WatchedModels(flights, "staging", release)])
    version = {"bento": "flight-delays:7", "model": "flight-delays/7", "commit": "abc"}
    assert ("model_release_info", FLIGHTS | version, 1) in told(registry)
    assert ("model_release_timestamp_seconds", FLIGHTS, since.timestamp()) in told(registry)


def test_a_limit_that_is_null_is_not_told(flights):
    forever = flights.model_copy(update={"monitoring": flights.monitoring.model_copy(update={"stale_after": None})})
    registry = CollectorRegistry()
    WatchedMetrics(registry).show([WatchedModels(forever, "staging")])
    assert "model_stale_after_seconds" not in [name for name, _, _ in told(registry)]


def test_a_use_case_that_is_gone_is_not_told_any_more(flights):
    registry = CollectorRegistry()
    metrics = WatchedMetrics(registry)
    metrics.show([WatchedModels(flights, "staging")])
    metrics.show([])
    assert told(registry) == []


@pytest.mark.parametrize("outcome", ["released", "unchanged", "rejected"])
def test_how_the_last_run_ended(tmp_path, outcome):
    table, clock, registry = open_table(tmp_path / "monitor.db"), SetClock(), CollectorRegistry()
    RunMetrics(table, registry)
    work = dispatcher(table, clock)
    work.request(drift())
    assert told(registry) == []  # it waits
    work.finish(work.begin(), RunOutcome(outcome=outcome, run_id="tiny-1"))
    assert told(registry) == [
        ("pipeline_run_info", TINY | {"run": "tiny-1", "reason": "drift", "outcome": outcome}, 1),
        ("pipeline_run_timestamp_seconds", TINY, clock.now.timestamp()),
    ]


def test_how_long_the_steps_of_the_last_run_took(tmp_path):
    table, clock, registry = open_table(tmp_path / "monitor.db"), SetClock(), CollectorRegistry()
    asked = RunRequest(usecase="tiny", run_id="tiny-1", environment="staging")
    asked.write(tmp_path / "runs" / asked.run_id / "request.json")
    journal = Journal(tmp_path / "runs" / asked.run_id)
    journal.append(Record(step="snapshot", event="finished", time=1.0, seconds=2.5))
    RunMetrics(table, registry, KnownRuns(tmp_path / "runs").step_seconds)
    work = dispatcher(table, clock)
    work.request(drift())
    work.finish(work.begin(), RunOutcome(outcome="released", run_id=asked.run_id))

    def steps() -> dict[str, float]:
        return {labels["step"]: value for name, labels, value in told(registry) if name == "pipeline_step_seconds"}

    assert steps() == {"snapshot": 2.5}
    journal.append(Record(step="train", event="finished", time=9.0, seconds=6.5))
    assert steps() == {"snapshot": 2.5, "train": 6.5}


def test_a_run_that_is_on_no_machine_of_ours_has_no_steps_to_tell(tmp_path):
    assert KnownRuns(tmp_path).step_seconds("tiny-1") == {}


def test_a_run_whose_folder_cannot_be_read_ends_no_scrape(tmp_path):
    (tmp_path / "tiny-1").mkdir()
    (tmp_path / "tiny-1" / "request.json").write_text('{"usecase": "tiny"}')
    assert KnownRuns(tmp_path).step_seconds("tiny-1") == {}


def test_a_run_that_fails_is_failing_until_it_is_given_up(tmp_path):
    table, clock, registry = open_table(tmp_path / "monitor.db"), SetClock(), CollectorRegistry()
    RunMetrics(table, registry)
    work = dispatcher(table, clock)
    work.request(by_hand(forced=True))
    seen = []
    for attempt in (1, 2, 3):
        work.finish(work.begin(), RunOutcome(outcome="failed", run_id=f"tiny-{attempt}"))
        seen += [(labels["run"], labels["outcome"]) for name, labels, _ in told(registry) if "info" in name]
        clock.pass_(hours=1)
    assert seen == [("tiny-1", "failing"), ("tiny-2", "failing"), ("tiny-3", "failed")]


def test_what_was_refused_is_no_run(tmp_path):
    table, registry = open_table(tmp_path / "monitor.db"), CollectorRegistry()
    RunMetrics(table, registry)
    dispatcher(table, SetClock()).request(drift(usecase="unknown"))
    assert told(registry) == []
