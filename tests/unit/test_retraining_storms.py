"""Whatever happens in whatever order, two runs of a use case never overlap, and never follow each other too soon."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipelines.retraining.triggers import MOST_ATTEMPTS, RunOutcome, TriggerRecord, pause_before
from tests.trigger_cases import RETRAIN, SetClock, by_hand, dispatcher, drift, open_table

USECASES = st.sampled_from(["tiny", "small"])
ENVIRONMENTS = st.sampled_from(["staging", "production"])
REASONS = st.sampled_from(["drift", "quality", "missing-labels", "new-data", "schedule"])
FINGERPRINTS = st.integers(0, 30).map("cause {}".format)
OUTCOMES = st.sampled_from(["released", "unchanged", "rejected", "failed", "failed", "busy"])
MONITORS = st.integers(0, 1)


class Storm(RuleBasedStateMachine):
    """Two monitors on one database: requests, beginnings, endings, deaths and hours pass in any order."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.table = open_table(Path(self.folder.name) / "monitor.db")
        self.clock = SetClock()
        self.monitors = [dispatcher(self.table, self.clock) for _ in range(2)]
        for number, monitor in enumerate(self.monitors):
            monitor.owner = f"host-{number}:1:abcd"
        self.under_way: dict[str, tuple[int, TriggerRecord]] = {}
        self.ended: dict[str, list[tuple[str, datetime]]] = {"tiny": [], "small": []}
        self.begun: dict[str, int] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(usecase=USECASES, environment=ENVIRONMENTS, reason=REASONS, fingerprint=FINGERPRINTS, monitor=MONITORS)
    def a_cause_asks(self, usecase, environment, reason, fingerprint, monitor):
        trigger = drift(fingerprint, usecase, reason=reason, environment=environment)
        self.monitors[monitor].request(trigger)

    @rule(usecase=USECASES, forced=st.booleans(), monitor=MONITORS)
    def a_person_asks(self, usecase, forced, monitor):
        self.monitors[monitor].request(by_hand(usecase, forced=forced))

    @rule(usecase=USECASES, environment=ENVIRONMENTS, fingerprint=FINGERPRINTS, monitor=MONITORS)
    def a_cause_is_gone(self, usecase, environment, fingerprint, monitor):
        self.monitors[monitor].withdraw(usecase, environment, fingerprint)

    @rule(minutes=st.sampled_from([1, 5, 30, 120, 359, 361]))
    def time_passes(self, minutes):
        self.clock.pass_(minutes=minutes)

    @rule(monitor=MONITORS)
    def a_run_begins_if_it_may(self, monitor):
        record = self.monitors[monitor].begin()
        if record is None:
            return
        assert record.usecase not in self.under_way, "two runs of a use case at once"
        for other, end in self.ended[record.usecase]:
            if other != record.id and not record.forced:
                assert self.clock.now - end >= RETRAIN.cooldown, "two runs within the cool-down"
            if other == record.id:
                assert self.clock.now - end >= pause_before(1), "a failed run again without a pause"
        self.under_way[record.usecase] = (monitor, record)

    @rule(usecase=USECASES, outcome=OUTCOMES)
    def a_run_ends(self, usecase, outcome):
        if usecase not in self.under_way:
            return
        monitor, record = self.under_way.pop(usecase)
        assert self.monitors[monitor].finish(record, RunOutcome(outcome=outcome))
        if outcome != "busy":
            self.begun[record.id] = self.begun.get(record.id, 0) + 1
            self.ended[usecase].append((record.id, self.clock.now))

    @rule(monitor=MONITORS, times=st.integers(1, 5))
    def everything_fails_for_a_while(self, monitor, times):
        for _ in range(times):
            self.a_run_begins_if_it_may(monitor)
            for usecase in ("tiny", "small"):
                self.a_run_ends(usecase, "failed")
            self.clock.pass_(minutes=30)

    @rule(monitor=MONITORS)
    def a_monitor_dies_and_the_other_follows_its_runs(self, monitor):
        other = 1 - monitor
        orphans = [usecase for usecase, (owner, _) in self.under_way.items() if owner == monitor]
        for owner, record in self.under_way.values():
            if owner == other:
                assert self.table.beat(record, self.clock.now + timedelta(minutes=2))
        self.clock.pass_(minutes=2)
        taken = self.monitors[other].adopt()
        assert sorted(record.usecase for record in taken) == sorted(orphans)
        for record in taken:
            self.under_way[record.usecase] = (other, record)

    @invariant()
    def attempts_are_bounded(self):
        assert all(count <= MOST_ATTEMPTS for count in getattr(self, "begun", {}).values())

    @invariant()
    def the_table_agrees(self):
        if hasattr(self, "table"):
            running = {record.usecase for record, _ in self.table.running()}
            assert running == set(self.under_way)
            pending = [(one.usecase, one.environment) for one in self.table.pending()]
            assert len(pending) == len(set(pending))


TestStorm = Storm.TestCase
TestStorm.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_an_alert_that_fires_for_a_week_starts_no_more_runs_than_cooldowns_pass(tmp_path):
    table, clock = open_table(tmp_path / "monitor.db"), SetClock()
    monitor = dispatcher(table, clock)
    began, runs = clock.now, 0
    while clock.now < began + timedelta(days=7):
        for number in range(5):
            monitor.request(drift(f"alert:{number}"))
        record = monitor.begin()
        if record:
            runs += 1
            clock.pass_(minutes=10)
            monitor.finish(record, RunOutcome(outcome="rejected"))
        clock.pass_(minutes=20)

    assert 20 <= runs <= timedelta(days=7) / RETRAIN.cooldown
    assert len(table.newest(limit=1000)) <= runs + 1
