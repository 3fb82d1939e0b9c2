"""Everything that a monitor is made of, put together once, and what it does by itself beside answering requests."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from pipelines.assessment.assess import Assessment
from pipelines.assessment.worker import WorkFolders, evaluate
from pipelines.errors import MlopsError
from pipelines.logs import about
from pipelines.monitor.data_probe import fingerprint_of
from pipelines.monitor.inventory.cache import InventoryCache
from pipelines.monitor.inventory.inventory import DeployedModelState, Sight, Watching
from pipelines.monitor.metrics.assessments import AssessmentMetrics
from pipelines.monitor.metrics.inventory import RunMetrics, WatchedMetrics
from pipelines.monitor.metrics.triggers import TriggerMetrics
from pipelines.monitor.options import Options
from pipelines.monitor.rounds import Evaluate, Rounds
from pipelines.monitor.run_cache import KnownRuns
from pipelines.predictions.errors import UsecaseNotWatched
from pipelines.predictions.expiry import let_go
from pipelines.predictions.labels import LabelRules as Labelled
from pipelines.predictions.privacy import StoreRules, store_rules
from pipelines.predictions.store.store import Store
from pipelines.retention.clean import clean, is_due
from pipelines.retention.rules import RetentionRules
from pipelines.retraining.attempts import Attempts, last_local_run
from pipelines.retraining.causes import act_on, act_on_new_data, act_on_schedule
from pipelines.retraining.dispatcher import Dispatcher
from pipelines.retraining.queue import TriggerTable
from pipelines.retraining.triggers import RunAttempt, Trigger, TriggerRecord
from pipelines.settings import Settings
from pipelines.usecase import UseCase
from pipelines.usecase.model import Retrain

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# A process of its own: what trains is never imported by what watches.
START_A_RUN = (sys.executable, "-m", "pipelines.runners.start")
LOOK_SECONDS = {"git": 1.0, "cluster": 10.0}
TICK_SECONDS = 0.5
SCHEDULE_SECONDS = 20.0
NEW_DATA_SECONDS = 900.0
LET_GO_SECONDS = 3600.0
CLEAN_SECONDS = 1800.0
LEAVE_SECONDS = 5.0


log = logging.getLogger(__name__)


class Monitor:
    """The monitor of one platform. `start` begins what it does by itself, `stop` ends that.

    A run that is under way when it stops goes on, and is followed by the next monitor.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        watching: Watching,
        *,
        attempt: RunAttempt | None = None,
        judge: Evaluate = evaluate,
    ) -> None:
        from prometheus_client import CollectorRegistry

        self.settings = settings
        self.options = options
        self.watching = watching
        self.store = Store.open(settings.store)
        self.triggers = TriggerTable(self.store.database)
        self.reports = settings.home / "reports"
        self.registry: CollectorRegistry = CollectorRegistry()
        self.dispatcher = Dispatcher(
            self.triggers,
            self._rules_of_retraining,
            attempt or Attempts(settings, START_A_RUN, self.triggers.told_run),
            last_run=partial(last_local_run, settings),
            at_once=options.runs_at_once,
        )
        self._assessed = AssessmentMetrics(self.registry)
        self._shown = WatchedMetrics(self.registry)
        TriggerMetrics(self.triggers, self.registry)
        self.runs = KnownRuns(settings.runs)
        RunMetrics(self.triggers, self.registry, self.runs.step_seconds)
        self.watch = InventoryCache(watching, self._see)
        place = WorkFolders(store=settings.store, reports=self.reports)
        self.rounds = Rounds(self.store, place, watching, self._assessed, self._act_on, judge=judge)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._is_prepared = False

    # --- what requests ask of it ------------------------------------------------------------------------------

    def store_rules(self, usecase: str) -> StoreRules:
        """Raises UsecaseNotWatched."""
        found = self.watch.sight.usecase(usecase)
        if found is None:
            raise UsecaseNotWatched(f"use case {usecase!r} is not watched here, so its privacy rules are not known")
        return store_rules(self.settings, found)

    def request(self, trigger: Trigger) -> TriggerRecord:
        """Ask for a run; refused where none is started."""
        if self.options.starts_runs:
            return self.dispatcher.request(trigger)
        return self.triggers.refuse(trigger, "this monitor starts no runs (MLOPS_START_RUNS)", utc_now())

    def labelled(self, usecase: str) -> Labelled | None:
        found = self.watch.sight.usecase(usecase)
        return Labelled(found, store_rules(self.settings, found)) if found else None

    def why_not_ready(self) -> str | None:
        """Why requests should not come here now."""
        if self.watch.sight.seen_at is None:
            return "what is watched has not been seen yet: " + "; ".join(self.watch.sight.problems)
        try:
            self.triggers.counts()
        except MlopsError as error:
            return error.line
        return None

    # --- what it does by itself -------------------------------------------------------------------------------

    def start(self) -> None:
        self.watch.look()
        for name, act, seconds, waits in (
            ("look", self.watch.look, LOOK_SECONDS[self.options.watch], False),
            ("evaluate", self._evaluate, self.options.evaluate_every.total_seconds(), True),
            ("dispatch", self._dispatch, TICK_SECONDS, False),
            ("schedules", self._ask_schedules, SCHEDULE_SECONDS, False),
            ("new data", self._ask_data, NEW_DATA_SECONDS, True),
            ("let go", self._let_go, LET_GO_SECONDS, True),
            ("clean", self._clean, CLEAN_SECONDS, True),
        ):
            thread = threading.Thread(target=self._again_and_again, args=(act, seconds, waits), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Does not wait for evaluations: what is half judged is given up, and nothing of it is kept."""
        self._stopping.set()
        end = time.monotonic() + LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self.store.close()

    def _again_and_again(self, act: Callable[[], object], seconds: float, waits: bool) -> None:
        """`waits`: what costs much is not done while everything starts."""
        told = ""
        if waits:
            self._stopping.wait(seconds)
        while not self._stopping.is_set():
            try:
                act()
                told = ""
            except MlopsError as error:
                if error.line != told:  # what lasts is told once
                    told = error.line
                    log.warning("%s: %s", threading.current_thread().name, told)
            except Exception:  # a fault in one duty must not end it, nor the others
                log.exception("%s", threading.current_thread().name)
            self._stopping.wait(seconds)

    def _prepare(self) -> None:
        """Once the database answers, and is upgraded: that may take minutes, so no start waits for it."""
        if not self._is_prepared:
            self.rounds.show_last(self.watch.sight)
            self._is_prepared = True

    def _see(self, sight: Sight) -> None:
        self._shown.show([model.watched for model in sight.models])
        self._assessed.keep_only(model.place for model in sight.models if model.release)

    def _evaluate(self) -> None:
        problems = self.rounds.hold(self.watch.sight, utc_now()).problems
        if not self._stopping.is_set():  # a round that was stopped with the monitor is none
            for problem in problems:
                log.warning("evaluate: %s", problem)

    def _dispatch(self) -> None:
        self._prepare()
        for record in self.dispatcher.tick():
            with about(usecase=record.usecase, environment=record.environment, trigger=record.id):
                log.info("run: %s", record.sentence)

    def _act_on(self, model: DeployedModelState, assessments: list[Assessment]) -> None:
        if self.options.acts_on("assessments"):
            act_on(self.dispatcher, model.usecase, assessments)

    def _ask_schedules(self) -> None:
        if self.options.acts_on("schedule"):
            for model in self._trained_for():
                act_on_schedule(self.dispatcher, self.triggers, model.usecase, model.environment, utc_now())

    def _ask_data(self) -> None:
        if self.options.acts_on("new-data"):
            for model in self._trained_for():
                act_on_new_data(self.dispatcher, self.triggers, model.usecase, model.environment, self._fingerprint)

    def _trained_for(self) -> list[DeployedModelState]:
        """Models that runs release to by themselves; others take what another environment has run."""
        takes_runs = self.settings.environments.takes_runs
        return [model for model in self.watch.sight.models if model.release and takes_runs(model.environment)]

    def _fingerprint(self, usecase: UseCase) -> str:
        return fingerprint_of(self.settings.root, usecase)

    def _let_go(self) -> None:
        for usecase in {model.usecase.name: model.usecase for model in self.watch.sight.models}.values():
            while not self._stopping.is_set() and not let_go(self.store, usecase, utc_now()).is_complete:
                pass

    def _clean(self) -> None:
        """Once a day, also where the monitor is started anew each day; in a cluster a CronJob does it."""
        if self.options.watch != "git" or not is_due(self.settings, utc_now()):
            return
        report = clean(self.settings, RetentionRules.load())
        log.info("clean: %.1f MB removed", report.removed_bytes / 1e6)
        for problem in report.problems:
            log.warning("clean: %s", problem)

    def _rules_of_retraining(self, usecase: str, environment: str) -> Retrain | None:
        model = self.watch.sight.model(usecase, environment)
        if model is None:
            return None
        rules, longest = model.usecase.retrain, self.options.longest_cooldown
        return rules if longest is None else rules.model_copy(update={"cooldown": min(rules.cooldown, longest)})


def utc_now() -> datetime:
    return datetime.now(UTC)
