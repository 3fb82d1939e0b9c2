"""Second act: the flights of the next months. The model is watched, found wanting, and replaced by itself."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.assessment.assess import Assessment
from pipelines.console import outcome_line
from pipelines.demo.stage import FLIGHTS, DemoFailed, Story, require, under_load
from pipelines.predictions.store.store import Store
from pipelines.retraining.queue import TriggerTable
from pipelines.retraining.triggers import PENDING, TriggerRecord
from pipelines.runs.journal import Journal
from pipelines.runs.replay import set_replay_day
from pipelines.runs.run import Run, read_run

if TYPE_CHECKING:
    import pandas as pd

LATE_APRIL = (datetime(2013, 4, 16, tzinfo=UTC), datetime(2013, 5, 1, tzinfo=UTC))
MAY_AND_JUNE = (datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 7, 1, tzinfo=UTC))
ASKED = 3000
BATCH = 500
PATIENCE = timedelta(seconds=60)
LONGEST_RUN = timedelta(minutes=5)


@dataclass(frozen=True)
class Season:
    """Real flights of some weeks: what is asked about them, and what turned out."""

    instances: list[dict[str, Any]]
    keys: list[str]
    late: list[bool]

    def batches(self) -> Iterator[dict[str, Any]]:
        for begin in range(0, len(self.keys), BATCH):
            part = slice(begin, begin + BATCH)
            yield {"instances": self.instances[part], "keys": self.keys[part]}

    def one_by_one(self) -> list[dict[str, Any]]:
        """Requests about single flights, as a website asks."""
        return [{"instances": [instance]} for instance in self.instances]


class Watcher:
    """The monitor as its clients see it, and the data of the year."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.store = Store.open(story.settings.store)
        self.triggers = TriggerTable(self.store.database)

    @cached_property
    def flights(self) -> "pd.DataFrame":
        """The whole year's."""
        from pipelines.data.sources.load import load_table
        from pipelines.usecase import load_usecase

        root = self.story.settings.root
        source = load_usecase(root, FLIGHTS, self.story.first).data.source
        table: pd.DataFrame = load_table(source, root / "apps" / FLIGHTS, None).to_pandas()
        return table

    def season(self, since: datetime, until: datetime) -> Season:
        """Flights drawn evenly from these weeks, the same ones every time."""
        import pandas as pd

        from pipelines.usecase import load_usecase

        features = list(load_usecase(self.story.settings.root, FLIGHTS, self.story.first).data.features)
        when = pd.to_datetime(self.flights["scheduled_departure"], utc=True)
        drawn = self.flights[(when >= since) & (when < until)].sample(ASKED, random_state=1)
        asked = drawn[features]
        return Season(
            instances=[{str(name): _plain(value) for name, value in row.items()} for row in asked.to_dict("records")],
            keys=[f"{row.scheduled_departure:%Y-%m-%dT%H:%MZ}|{row.flight}" for row in drawn.itertuples()],
            late=[bool(value) for value in drawn["late"]],
        )

    def ask(self, season: Season, environment: str) -> None:
        """Ask the model about every flight, and wait until the monitor has all of it."""
        import httpx

        expected = self.store.counts(FLIGHTS).predictions + len(season.keys)
        with httpx.Client(timeout=30) as client:
            for body in season.batches():
                client.post(f"{self._url(environment)}/predict", json=body).raise_for_status()
        end = time.monotonic() + PATIENCE.total_seconds()
        while (there := self.store.counts(FLIGHTS).predictions) < expected:
            require(time.monotonic() < end, f"the monitor has {there} of {expected} predictions after {PATIENCE}")
            time.sleep(0.1)

    def tell(self, season: Season) -> dict[str, Any]:
        """Send the true values, by each flight's own key."""
        labels = [{"key": key, "value": late} for key, late in zip(season.keys, season.late, strict=True)]
        return self._post("labels", {"usecase": FLIGHTS, "labels": labels})

    def judge(self) -> dict[tuple[str, str], Assessment]:
        """A round of evaluations: what it found by environment and kind."""
        told = self._post("evaluations", {})
        found = [Assessment.model_validate(one) for one in told["assessments"]]
        return {(one.environment, one.kind): one for one in found if one.usecase == FLIGHTS}

    def follow_run(self, reason: str) -> tuple[TriggerRecord, Run]:
        """The run that the monitor begins by itself, step by step until its end."""
        settings, timeline = self.story.settings, self.story.timeline
        end = time.monotonic() + LONGEST_RUN.total_seconds()
        while (record := self._asked_for(reason)) is None or record.run_id is None:
            require(time.monotonic() < end, "the monitor began no run")
            time.sleep(0.1)
        timeline.say(f"by itself: run {record.run_id}", FLIGHTS)
        journal, seen = Journal(settings.runs / record.run_id), 0
        while True:
            state = self.triggers.get(record.id).state
            for told in journal.records(seen):
                seen += 1
                timeline.record(FLIGHTS, told)
            if state not in (*PENDING, "running"):
                return self.triggers.get(record.id), read_run(settings.runs / record.run_id)
            require(time.monotonic() < end, f"{record.run_id} was not over within {LONGEST_RUN}")
            time.sleep(0.1)

    def _asked_for(self, reason: str) -> TriggerRecord | None:
        newest = self.triggers.newest(FLIGHTS, limit=1)
        return newest[0] if newest and newest[0].reason == reason else None

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        import httpx

        from pipelines.embedded.monitor_process import read_token
        from pipelines.embedded.platform import status

        settings = self.story.settings
        url = status(settings).monitor
        require(url is not None, "the monitor does not run")
        headers = {"authorization": f"Bearer {read_token(settings.home)}"}
        answer = httpx.post(f"{url}/{path}", json=body, headers=headers, timeout=LONGEST_RUN.total_seconds())
        if not answer.is_success:
            raise DemoFailed(f"the monitor answered {answer.status_code}: {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told

    def _url(self, environment: str) -> str:
        from pipelines.embedded.platform import status

        models = status(self.story.settings).models
        found = next((m.url for m in models if (m.usecase, m.environment) == (FLIGHTS, environment)), None)
        require(found is not None, f"{FLIGHTS} is not served in {environment}")
        return str(found)


def _plain(value: Any) -> Any:
    """A cell as JSON has it; what is missing is null."""
    import pandas as pd

    if pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)


def meet_late_april(story: Story, watcher: Watcher, season: Season) -> None:
    """Other weather than in winter: the inputs drift at once; that the answers are worse shows when labels come."""
    timeline = story.timeline
    timeline.heading("Weeks later: 3,000 flights of late April. The model has seen January to March")
    watcher.ask(season, story.first)
    found = watcher.judge()
    inputs, labels = found[story.first, "inputs"], found[story.first, "labels"]
    timeline.say(f"[yellow]drift[/] {inputs.summary}", FLIGHTS)
    timeline.say(f"labels: {labels.summary}", FLIGHTS)
    require(inputs.status == "alert", f"no drift was seen: {inputs.summary}")
    story.facts.append(f"drift, before any label: {inputs.summary}")


def replace_by_itself(story: Story, watcher: Watcher, season: Season, url: str) -> None:
    """Labels come, quality is below its limit, and the rest happens without anybody."""
    timeline = story.timeline
    timeline.heading("The flights have landed: labels arrive, by each flight's own key")
    set_replay_day(story.settings.home, LATE_APRIL[1])
    told = watcher.tell(season)
    timeline.say(f"{told['accepted']:,} labels taken; {told['matched']:,} predictions have their true value", FLIGHTS)
    with under_load(story, url, season.one_by_one(), "automatic replacement"):
        quality = watcher.judge()[story.first, "quality"]
        require(quality.status == "alert", f"quality is not below its limit: {quality.summary}")
        timeline.say(f"[yellow]quality[/] {quality.summary}", FLIGHTS)
        record, run = watcher.follow_run("quality")
        timeline.say(outcome_line(run), FLIGHTS)
        require(run.outcome == "released", f"the model of newer data was {run.outcome}: {run.error}")
        story.await_live(FLIGHTS, story.first, run.commit)
    timeline.say(f"its commit says why: [bold]{record.sentence}[/]", FLIGHTS)
    scores = run.results["evaluate"]
    before, after = (scores[who]["metrics"]["roc_auc"] for who in ("champion", "candidate"))
    story.facts.append(f"retrained by itself because of {record.sentence}")
    story.facts.append(f"the gate let it through: roc_auc {before:.3f} → {after:.3f} on the same fresh flights")


def compare_in_summer(story: Story, watcher: Watcher, season: Season) -> None:
    """One environment runs the new version, the next still the old: the same flights tell them apart."""
    timeline = story.timeline
    timeline.heading(
        f"May and June: the same 3,000 flights for {story.first}'s new version and for {story.second}'s old one"
    )
    for environment in (story.first, story.second):
        watcher.ask(season, environment)
    watcher.tell(season)
    found = watcher.judge()
    new, old = found[story.first, "quality"], found[story.second, "quality"]
    for one in (new, old):
        timeline.say(f"{one.environment:<10} {one.bento}: {one.summary}", FLIGHTS)
    require(new.status == "ok", f"quality did not recover: {new.summary}")
    require(None not in (new.value, old.value), "quality was not judged")
    story.facts.append(f"live quality in May and June: roc_auc {new.value:.3f}, the old version {old.value:.3f}")
