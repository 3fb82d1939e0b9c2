"""What the acts of the demo share: the platform they play on, and how they ask, wait and insist."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bento.signature import GOLDEN_FILE, Golden
from pipelines.console import Timeline, outcome_line
from pipelines.demo.load import Load
from pipelines.errors import MlopsError
from pipelines.runners.launch import start
from pipelines.runs.request import RunRequest, new_run_id
from pipelines.runs.run import Run
from pipelines.settings import Settings

FLIGHTS = "flight-delays"
PICTURES = "fashion-mnist"
SPRING = datetime(2013, 4, 1, tzinfo=UTC)
LOAD_BEFORE_CHANGE = 100


class DemoFailed(MlopsError):
    """Something in the story did not happen as it must."""


@dataclass
class Story:
    """What the acts hand to each other, and what was left out."""

    settings: Settings
    timeline: Timeline
    code: str = "unknown"
    left_out: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The environment that runs release to."""
        return self.settings.environments.default.name

    @property
    def second(self) -> str:
        """The one that takes its releases."""
        return self.settings.environments.promotion(source=self.first).name

    def run(self, usecase: str, **asked: Any) -> Run:
        request = RunRequest(
            usecase=usecase, run_id=new_run_id(usecase), environment=self.first, code=self.code, **asked
        )
        run = start(self.settings, request, self.timeline)
        self.timeline.say(outcome_line(run), usecase)
        return run

    def await_live(self, usecase: str, environment: str, commit: str | None) -> str:
        from pipelines.embedded.platform import wait_for

        result = wait_for(self.settings, usecase, environment, commit or "", timeout=90)
        self.timeline.say(
            f"[green]✓[/] rollout  {result.seconds:>6.1f} s  {environment} answers at {result.url}", usecase
        )
        return str(result.url)


@contextmanager
def under_load(story: Story, url: str, bodies: Sequence[dict[str, Any]], what: str) -> Iterator[Load]:
    with Load(url, bodies) as load:
        load.wait_for_answers(LOAD_BEFORE_CHANGE)
        yield load
        load.wait_for_answers(sum(load.answered.values()) + LOAD_BEFORE_CHANGE)
    by_version = ", ".join(f"{count} by {bento}" for bento, count in sorted(load.answered.items()))
    story.timeline.say(f"{load.requests} requests meanwhile: {by_version}; [bold]{load.failures} failed[/]", FLIGHTS)
    story.facts.append(f"{what} under load: {load.requests} requests, {load.failures} failed")
    require(load.failures == 0, f"{load.failures} requests failed during the {what}: {dict(load.failed)}")


def address(story: Story, usecase: str) -> tuple[str, dict[str, Any]]:
    """The model's URL, and real instances to ask it about: those its Bento was checked with."""
    from pipelines.embedded.platform import status
    from pipelines.packaging.bentos import fetch_bento
    from pipelines.release.releases import open_releases

    release = open_releases(story.settings).current(usecase, story.first)
    model = next(m for m in status(story.settings).models if (m.usecase, m.environment) == (usecase, story.first))
    require(release is not None and model.url is not None, f"{usecase} is not served")
    folder = fetch_bento(story.settings.bentos, release.image) / "src" / "model"  # type: ignore[union-attr]
    return f"{model.url}/predict", {"instances": Golden.read(folder / GOLDEN_FILE).instances}


def require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)
