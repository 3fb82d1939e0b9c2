"""What the page says, on a real store with real evaluations: all models, one model, and what is wrong with them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.monitor.inventory.inventory import Health
from pipelines.monitor.page.queries import TrendReader, gather
from pipelines.monitor.page.view import look_at_all, look_at_model
from pipelines.monitor.run_cache import KnownRuns
from pipelines.predictions.errors import UsecaseNotWatched
from pipelines.retraining.triggers import RunOutcome
from tests.monitoring_cases import NOW, watched
from tests.page_cases import COMMIT, PRODUCTION, STAGING, Platform, a_busy_week, at_values, evaluated, model, report_of

RUN = "tiny-20261121-030002-1a2b"


@pytest.fixture
def platform(tmp_path):
    made = Platform(tmp_path, [model()])
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    """Read only."""
    made = a_busy_week(tmp_path_factory.mktemp("week"))
    yield made
    made.store.close()


def line(platform, name="tiny", environment=STAGING):
    found = look_at_all(platform.sources).models
    return next(one for one in found if (one.usecase, one.environment) == (name, environment))


class TestAllModels:
    def test_those_that_need_a_person_come_first(self, week):
        seen = look_at_all(week.sources)
        assert [(one.usecase, one.environment, one.mark) for one in seen.models] == [
            ("fashion-mnist", STAGING, "problem"),
            ("flight-delays", STAGING, "problem"),
            ("flight-delays", PRODUCTION, "fine"),
            ("churn", STAGING, "unreleased"),
        ]
        assert seen.commit == COMMIT
        assert seen.problems == []

    def test_a_line_says_what_the_last_evaluation_found(self, platform):
        platform.keep(evaluated())
        found = line(platform)
        quality, drift = found.quality, found.inputs
        told = {one.kind: one for one in evaluated()}
        assert (quality.subject, quality.value, quality.threshold) == ("roc_auc", told["quality"].value, 0.7)
        assert list(quality.interval) == told["quality"].detail["interval"]
        assert (quality.bound, drift.bound) == ("at_least", "at_most")
        assert drift.subject == told["inputs"].detail["columns"][0]["column"]
        assert (found.labels.value, found.labels.lag_median_seconds) == (1.0, 3600.0)
        assert (found.mark, found.why) == ("fine", [])

    def test_an_alert_is_a_problem_and_says_which(self, platform):
        platform.keep(evaluated(2.0, 0.45))
        found = line(platform)
        assert found.mark == "problem"
        assert found.why == [
            "requests have drifted from the training data",
            "answers have drifted from those on the training data",
            "live quality misses its limit",
        ]
        assert found.drift.kind == "inputs"

    def test_labels_that_stay_away_are_a_problem(self, platform):
        platform.keep(evaluated(labels=False))
        assert line(platform).why == ["no true values arrive"]

    def test_what_was_judged_of_an_older_version_is_no_problem_of_this_one(self, platform):
        platform.keep(evaluated(2.0, 0.45), version="6")
        found = line(platform)
        assert (found.mark, found.quality.current, found.quality.bento) == ("fine", False, "tiny:6")

    @pytest.mark.parametrize(
        ("health", "mark", "why"),
        [
            (Health("down"), "problem", "it is released, but does not run"),
            (Health("failed"), "problem", "nothing serves it"),
            (
                Health("serving", problem="tiny:8 was not rolled out: timeout"),
                "problem",
                "tiny:8 was not rolled out: timeout",
            ),
            (Health("starting"), "attention", "its first server is on its way"),
            (Health("restarting"), "attention", "its server crashed and starts again"),
        ],
    )
    def test_a_server_that_does_not_serve(self, platform, health, mark, why):
        platform.models = [model(health=health)]
        assert (line(platform).mark, line(platform).why) == (mark, [why])

    def test_a_health_that_nobody_knows_is_no_alarm(self, platform):
        platform.models = [model(health=Health("unknown"))]
        assert line(platform).mark == "fine"

    def test_an_evaluation_that_fails_or_does_not_come_is_worth_a_look(self, platform):
        failed = [one.model_copy(update={"status": "failed", "value": None}) for one in evaluated()]
        platform.keep(tuple(failed))
        assert line(platform).mark == "attention"
        platform.now = NOW + timedelta(hours=5)
        assert line(platform).why[-1] == "not judged for 5h"

    def test_a_version_that_is_released_for_too_long(self, platform):
        platform.models = [model(since=NOW - timedelta(days=91))]
        assert line(platform).why == ["released for longer than 90d"]

    def test_how_the_last_run_ended_and_what_waits(self, platform):
        psi = "size psi 3.10 > 0.2"
        platform.ask("tiny", "drift", psi, NOW - timedelta(hours=2), RunOutcome(outcome="rejected", run_id=RUN))
        platform.ask("tiny", "quality", "roc_auc 0.61 < 0.7", NOW - timedelta(minutes=1))
        found = line(platform)
        assert (found.last_run.state, found.last_run.reason, found.last_run.evidence) == ("rejected", "drift", psi)
        assert [(one.state, one.reason) for one in found.waiting] == [("waiting", "quality")]
        assert found.why == ["the gate rejected its last candidate"]

    def test_a_run_that_nobody_had_to_ask_for_counts_too(self, platform):
        platform.run(RUN, NOW - timedelta(hours=1), reason="manual")
        assert (line(platform).last_run.state, line(platform).last_run.bento) == ("released", "tiny:8")

    def test_the_run_that_ended_last_is_the_same_on_both_pages(self, platform):
        """The page of all models reads as little of the past as it can."""
        stories = [
            lambda: platform.run("tiny-20261101-000000-aaaa", NOW - timedelta(days=9)),
            lambda: platform.ask(
                "tiny", "drift", "psi", NOW - timedelta(days=8), RunOutcome(outcome="rejected", run_id="x")
            ),
            lambda: platform.run("tiny-20261121-000000-aaaa", NOW - timedelta(hours=5), until="gate"),
            lambda: platform.run(RUN, NOW - timedelta(hours=2), until="train"),
            lambda: platform.ask("tiny", "quality", "auc", NOW, RunOutcome(outcome="released", run_id=RUN)),
            lambda: platform.ask("tiny", "quality", "auc", NOW),
        ]
        ended = []
        for story in stories:
            story()
            on_its_page = look_at_model(platform.sources, "tiny", STAGING).line
            assert line(platform).last_run.run_id == on_its_page.last_run.run_id
            assert [one.at for one in line(platform).waiting] == [one.at for one in on_its_page.waiting]
            ended.append(on_its_page.last_run.state)
        assert ended == ["released", "rejected", "rejected", "interrupted", "released", "released"]

    def test_the_lines_of_all_models_share_their_time(self, week):
        seen = look_at_all(week.sources)
        assert seen.trends_until == NOW
        assert seen.trends_from == NOW - timedelta(days=7)
        falling = line(week, "flight-delays").trend("quality")
        assert len(falling) == 20
        assert falling[0] > 0.7 > falling[-1]
        assert line(week, "churn").trends == []

    def test_trends_of_minutes_are_drawn_over_these_minutes(self, platform):
        for minutes in (0, 1, 2):
            platform.keep(evaluated(), at=NOW - timedelta(minutes=minutes))
        seen = look_at_all(platform.sources)
        assert seen.trends_from == NOW - timedelta(minutes=2)
        assert [value is not None for value in line(platform).trend("quality")].count(True) == 3

    def test_trends_are_read_once_a_minute_and_the_values_beside_them_always(self, platform):
        kept = TrendReader()
        platform.keep(evaluated(), at=NOW - timedelta(minutes=5))
        look_at_all(platform.sources, kept)
        platform.keep(evaluated(2.0, 0.45))
        seen = look_at_all(platform.sources, kept)
        assert seen.models[0].mark == "problem"
        assert seen.trends_until == NOW - timedelta(minutes=5)
        platform.now += timedelta(seconds=61)
        assert look_at_all(platform.sources, kept).trends_until == NOW

    def test_nothing_is_watched(self, platform):
        platform.models = []
        seen = look_at_all(platform.sources)
        assert (seen.models, seen.problems) == ([], [])

    def test_what_cannot_be_read_is_told_beside_what_can(self, platform):
        platform.problems = ("apps/churn/usecase.yaml: owner is missing",)
        assert look_at_all(platform.sources).problems == ["apps/churn/usecase.yaml: owner is missing"]
        assert len(look_at_all(platform.sources).models) == 1

    def test_a_database_that_is_away_leaves_what_git_and_the_servers_say(self, tmp_path):
        platform = Platform(tmp_path, [model()])
        platform.keep(evaluated(2.0, 0.45))
        platform.store.close()
        (tmp_path / "monitor.db").rename(tmp_path / "gone.db")
        for leftover in tmp_path.glob("monitor.db*"):
            leftover.unlink()
        (tmp_path / "monitor.db").mkdir()
        seen = look_at_all(platform.sources)
        assert seen.models[0].released.bento == "tiny:7"
        assert seen.models[0].server.state == "serving"
        assert "The monitor's database does not answer" in seen.problems[0]
        assert look_at_model(platform.sources, "tiny", STAGING).problems == seen.problems

    def test_questions_do_not_grow_with_the_number_of_models(self, platform):
        """Counted at the database."""
        from sqlalchemy import event

        asked = []
        engine = platform.store.database._engine
        event.listen(engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
        platform.keep(evaluated())
        gather(platform.sources)
        of_one = len(asked)
        asked.clear()
        platform.models = [model(f"tiny-{number}") for number in range(30)]
        for number in range(30):
            platform.keep(evaluated(), f"tiny-{number}")
        asked.clear()
        gather(platform.sources)
        assert 0 < len(asked) < of_one


class TestOneModel:
    def test_everything_of_it(self, week):
        seen = look_at_model(week.sources, "flight-delays", STAGING)
        assert seen.contract.accountable == "Head of Operations"
        assert seen.environments == [STAGING, PRODUCTION]
        assert {point.kind for point in seen.points} == {"quality", "inputs", "predictions", "labels"}
        assert {point.bento for point in seen.points} == {"flight-delays:6", "flight-delays:7"}
        assert seen.points == sorted(seen.points, key=lambda point: point.time)
        assert [column.column for column in seen.columns] == ["size", "kind", "label", "confidence"]
        assert seen.slices == sorted(seen.slices, key=lambda part: part.score)
        assert seen.line.released.commit_url == f"https://git.example.com/team/models/commit/{COMMIT}"
        assert seen.line.released.mlflow_url == "http://mlflow.example.com/#/runs/ab07b575f35d4f1c9d6a5b5814d06f4f"
        assert seen.grafana_url == (
            "https://grafana.example.com/d/model-health?var-usecase=flight-delays&var-environment=staging"
        )

    def test_the_newest_value_is_the_last_point(self, week):
        seen = look_at_model(week.sources, "flight-delays", STAGING)
        assert seen.points_of("quality")[-1].value == seen.line.quality.value
        assert seen.points_of("quality")[-1].interval == seen.line.quality.interval

    def test_a_shorter_time_has_fewer_points(self, week):
        week_long, a_day = (look_at_model(week.sources, "flight-delays", STAGING, days) for days in (7, 1))
        assert len(a_day.points_of("quality")) == 13
        assert len(week_long.points_of("quality")) == 85

    def test_a_run_stands_with_what_asked_for_it(self, week):
        waiting, rejected, scheduled = look_at_model(week.sources, "flight-delays", STAGING).history
        assert (waiting.state, waiting.reason) == ("waiting", "quality")
        assert (rejected.state, rejected.run_id) == ("rejected", "flight-delays-20261121-030002-1a2b")
        assert rejected.verdict.startswith("Rejected: 1 of 2 rules failed")
        assert rejected.broken_rules == ["roc_auc at least 0.62: 0.5914 is below 0.62"]
        assert rejected.card_url == "/cards/flight-delays-20261121-030002-1a2b"
        assert (scheduled.reason, scheduled.evidence, scheduled.state) == ("schedule", "0 3 * * 1", "released")
        assert scheduled.mlflow_url.endswith("/#/runs/0123456789abcdef0123456789abcdef")

    def test_a_cluster_knows_no_runs_and_tells_its_triggers(self, platform):
        platform.ask(
            "tiny", "drift", "psi", NOW - timedelta(hours=2), RunOutcome(outcome="failed", note="train: no memory")
        )
        sources = replace(platform.sources, runs=lambda _: [])
        entry = look_at_model(sources, "tiny", STAGING).history[0]
        assert (entry.state, entry.note, entry.verdict) == ("waiting", "train: no memory", None)

    def test_links_lead_to_reports_that_are_still_kept(self, tmp_path):
        platform = Platform(tmp_path, [model()])
        kept = report_of(platform, "tiny")
        platform.store.save_assessments([kept])
        seen = look_at_model(platform.sources, "tiny", STAGING)
        name = Path(kept.report_path).name
        assert seen.line.inputs.report == f"/reports/staging/tiny/{name}"
        assert [(report.alert, report.url) for report in seen.reports] == [(True, seen.line.inputs.report)]
        Path(kept.report_path).unlink()
        gone = look_at_model(platform.sources, "tiny", STAGING)
        assert (gone.line.inputs.report, gone.reports) == (None, [])

    def test_a_model_before_its_first_evaluation(self, platform):
        seen = look_at_model(platform.sources, "tiny", STAGING)
        assert (seen.points, seen.columns, seen.slices, seen.history, seen.line.judged) == ([], [], [], [], [])

    def test_a_model_whose_quality_must_not_exceed_its_limit(self, platform):
        """Then the worst slices are the highest; those of a few predictions come after the others."""
        rule = {"metric": "brier", "at_most": 0.2, "labels_within": "3d", "min_labels": 200}
        platform.models = [replace(model(), usecase=watched(quality=rule))]
        detail = {
            "metric": "brier",
            "bound": "at_most",
            "slices": [
                {"column": "kind", "value": name, "rows": rows, "metrics": {"brier": score}}
                for name, score, rows in (("few", 0.9, 4), ("a", 0.1, 90), ("b", 0.3, 80), ("none", None, 70))
            ],
        }
        quality = next(one for one in evaluated() if one.kind == "quality")
        platform.keep((quality.model_copy(update={"detail": detail, "threshold": 0.2}),))
        seen = look_at_model(platform.sources, "tiny", STAGING)
        assert [part.value for part in seen.slices] == ["b", "a", "few", "none"]
        assert seen.line.quality.bound == "at_most"

    def test_nobody_watches_it(self, platform):
        with pytest.raises(UsecaseNotWatched, match="churn is not watched in staging; watched are: tiny/staging"):
            look_at_model(platform.sources, "churn", STAGING)

    def test_links_that_no_browser_should_follow_are_none(self, platform):
        platform.models = [model(health=Health("serving", url="javascript:alert(1)"))]
        platform.links = replace(
            platform.links, commit="javascript:{commit}", mlflow="data:text/html,", grafana="file:///"
        )
        seen = look_at_model(platform.sources, "tiny", STAGING)
        assert (seen.line.server.url, seen.line.released.commit_url, seen.grafana_url) == (None, None, None)
        assert seen.line.released.mlflow_url is None


class TestKnownRuns:
    def test_a_run_is_read_again_when_it_has_gone_on(self, platform):
        known = KnownRuns(platform.runs)
        assert known("tiny") == []
        platform.run(RUN, NOW, until="train")
        assert [run.outcome for run in known("tiny")] == ["interrupted"]
        platform.run(RUN, NOW, card=False)
        assert [run.outcome for run in known("tiny")] == ["released"]
        assert known("tiny")[0] is known("tiny")[0]

    def test_a_folder_that_cannot_be_read_is_a_problem_on_the_page(self, platform):
        platform.run(RUN, NOW, card=False)
        (platform.runs / RUN / "request.json").write_text("{")
        known = KnownRuns(platform.runs)
        sources = replace(platform.sources, runs=known, skipped_runs=known.unreadable)
        for seen in (look_at_all(sources), look_at_model(sources, "tiny", STAGING)):
            assert any(f"run {RUN} cannot be read" in problem for problem in seen.problems), seen.problems

    def test_only_runs_of_the_use_case_and_the_newest_first(self, platform):
        for name in ("tiny-20260101-000000-aaaa", "tiny-20260301-000000-aaaa", "tiny-two-20260201-000000-aaaa"):
            platform.run(name, NOW)
        (platform.runs / "tiny-20260401-000000-bbbb").mkdir()
        (platform.runs / ".tiny.lock").touch()
        found = [run.request.run_id for run in KnownRuns(platform.runs)("tiny")]
        assert found == ["tiny-20260301-000000-aaaa", "tiny-20260101-000000-aaaa"]


def test_an_evaluation_is_at_values_what_its_status_says():
    """The stories of these tests are told in values: a check of the teller."""
    quality = next(one for one in evaluated() if one.kind == "quality")
    assert (at_values(quality, 0.69).status, at_values(quality, 0.71).status) == ("alert", "ok")
