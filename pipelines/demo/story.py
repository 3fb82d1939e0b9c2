"""The demo: two real use cases go the whole way, one of them through rejection, replacement and rollback.

Everything happens in a state folder of its own, so that it can be told again and again.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bento.signature import GOLDEN_FILE, Golden
from pipelines.console import Timeline, outcome_line
from pipelines.demo.load import Load
from pipelines.errors import MlopsError
from pipelines.launch import merge, prepare, propose, roll_back, start
from pipelines.request import RunRequest, new_run_id
from pipelines.runs import Run
from pipelines.settings import Settings

FLIGHTS = "flight-delays"
PICTURES = "fashion-mnist"
SPRING = datetime(2013, 4, 1, tzinfo=UTC)
SUMMER = datetime(2013, 7, 1, tzinfo=UTC)
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

    def run(self, usecase: str, **asked: Any) -> Run:
        request = RunRequest(
            usecase=usecase, run_id=new_run_id(usecase), environment="staging", code=self.code, **asked
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


def tell(settings: Settings, timeline: Timeline, stop_at_end: bool = False) -> None:
    """Tell the whole story; a part that cannot be told here is left out, and said at the end."""
    from pipelines.embedded.platform import down

    story = Story(settings, timeline)
    began = time.monotonic()
    _begin(story)
    try:
        pictures = _two_models_are_trained(story)
        url, body = _a_prediction_is_asked(story, pictures)
        _a_worse_model_is_rejected(story)
        _newer_data_makes_a_better_model(story, url, body)
        _the_release_is_taken_back(story, url, body)
        if pictures:
            _staging_is_promoted(story)
        _a_prediction_is_traced(story, url, body)
    except BaseException:
        down(settings)
        raise
    if stop_at_end:
        down(settings)
    _end(story, time.monotonic() - began, stopped=stop_at_end)


def _begin(story: Story) -> None:
    from pipelines.embedded.platform import down, up

    timeline, settings = story.timeline, story.settings
    timeline.heading("The platform: a bare Git origin, a reconciler that looks at nothing else, MLflow on SQLite")
    if settings.home.exists():
        down(settings)
        shutil.rmtree(settings.home)
        timeline.say("the last demo's state is removed")
    story.code = prepare(settings, FLIGHTS)
    status = up(settings)
    timeline.say(f"up, pid {status.pid}; code {story.code[:12]}")


def _two_models_are_trained(story: Story) -> Run | None:
    timeline = story.timeline
    timeline.heading("Two use cases: load, check, train, judge, register, pack, commit")
    timeline.say("flights as they were known on 2013-04-01; 70,000 pictures of clothing")
    runs: dict[str, Run | BaseException] = {}

    def train_pictures() -> None:
        try:
            runs[PICTURES] = story.run(PICTURES)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            runs[PICTURES] = error

    beside = threading.Thread(target=train_pictures)
    beside.start()
    try:
        flights = story.run(FLIGHTS, as_of=SPRING)
    finally:
        beside.join()
    _require(flights.outcome == "released", f"the first flights model was {flights.outcome}: {flights.error}")
    story.await_live(FLIGHTS, "staging", flights.commit)
    story.facts.append(f"first model released in {flights.seconds:.0f} s: {_metrics(flights)}")
    pictures = runs[PICTURES]
    if isinstance(pictures, BaseException):
        raise pictures
    if pictures.outcome != "released":
        _require(pictures.failed_step == "snapshot", f"the pictures model was {pictures.outcome}: {pictures.error}")
        story.left_out.append(f"{PICTURES}: {pictures.error}")
        return None
    story.await_live(PICTURES, "staging", pictures.commit)
    story.facts.append(f"pictures model released in {pictures.seconds:.0f} s: {_metrics(pictures)}")
    return pictures


def _a_prediction_is_asked(story: Story, pictures: Run | None) -> tuple[str, dict[str, Any]]:
    import httpx

    story.timeline.heading("A prediction")
    url, body = _address(story, FLIGHTS)
    flight = body["instances"][0]
    answer = httpx.post(url, json=body, timeout=10).raise_for_status().json()
    late = answer["predictions"][0]["probabilities"]["true"]
    story.timeline.say(
        f"{flight['carrier']} from {flight['origin']} to {flight['destination']}, {flight['distance']:.0f} miles, "
        f"{flight['hour']:.2f} h: late with probability [bold]{late:.2f}[/]",
        FLIGHTS,
    )
    story.timeline.say(f"its id: {answer['ids'][0]}", FLIGHTS)
    if pictures:
        picture_url, picture_body = _address(story, PICTURES)
        answer = httpx.post(picture_url, json=picture_body, timeout=10).raise_for_status().json()
        labels = ", ".join(prediction["label"] for prediction in answer["predictions"])
        story.timeline.say(f"three test pictures: [bold]{labels}[/]", PICTURES)
    return url, body


def _a_worse_model_is_rejected(story: Story) -> None:
    story.timeline.heading(
        "A worse model: two trees instead of eighty. The gate scores it and the champion on the same flights"
    )
    run = story.run(FLIGHTS, as_of=SPRING, params={"trees": 2}, reason="demo: a hurried training")
    _require(run.outcome == "rejected", f"the worse model was {run.outcome}: {run.error}")
    story.facts.append("a worse candidate was rejected, the released model stayed up")


def _newer_data_makes_a_better_model(story: Story, url: str, body: dict[str, Any]) -> None:
    story.timeline.heading("Three months later: newer flights, a new version replaces the old under load")
    with _under_load(story, url, body, "replacement"):
        run = story.run(FLIGHTS, as_of=SUMMER, reason="demo: data until 2013-07-01")
        _require(run.outcome == "released", f"the newer model was {run.outcome}: {run.error}")
        story.await_live(FLIGHTS, "staging", run.commit)
    champion = run.results["evaluate"]["champion"]["metrics"]["roc_auc"]
    candidate = run.results["evaluate"]["candidate"]["metrics"]["roc_auc"]
    story.timeline.say(f"on June's flights: roc_auc {candidate:.3f}, the old model {champion:.3f}", FLIGHTS)
    story.facts.append(f"retraining on newer data: roc_auc {champion:.3f} → {candidate:.3f} on the same fresh flights")


def _the_release_is_taken_back(story: Story, url: str, body: dict[str, Any]) -> None:
    story.timeline.heading("Rollback: a commit that restores the release before")
    with _under_load(story, url, body, "rollback"):
        done = roll_back(story.settings, FLIGHTS, "staging", "demo: suppose it misbehaves")
        story.timeline.say(f"{done.withdrawn.bento} → {done.restored.bento} in commit {done.commit[:9]}", FLIGHTS)
        story.await_live(FLIGHTS, "staging", done.commit)


def _staging_is_promoted(story: Story) -> None:
    story.timeline.heading("Promotion: staging's release, as a one-file branch for production")
    promotion = propose(story.settings, PICTURES, force=True)
    for line in promotion.diff.splitlines():
        if line.startswith(("+ ", "- ", "+++")):
            story.timeline.say(f"  [dim]{line[:110]}[/]", PICTURES)
    commit = merge(story.settings, promotion)
    story.timeline.say(f"merged {promotion.branch} in commit {commit[:9]}", PICTURES)
    story.await_live(PICTURES, "production", commit)


def _a_prediction_is_traced(story: Story, url: str, body: dict[str, Any]) -> None:
    import httpx

    from pipelines.trace import render, trace_lineage

    story.timeline.heading("Trace: from one prediction back to the commit, the run, the data")
    identity = httpx.post(url, json=body, timeout=10).raise_for_status().json()["ids"][0]
    lineage = trace_lineage(story.settings, identity)
    story.timeline.console.print(render(lineage))


def _end(story: Story, seconds: float, stopped: bool) -> None:
    timeline, console = story.timeline, story.timeline.console
    timeline.heading(f"Done in {seconds:.0f} s")
    for fact in story.facts:
        timeline.say(f"[green]•[/] {fact}")
    for what in story.left_out:
        timeline.say(f"[yellow]left out[/] {what}")
    url, _ = _address(story, FLIGHTS) if not stopped else ("", {})
    console.print()
    if stopped:
        console.print("The platform is stopped. `make demo` tells the story again.")
        return
    console.print("The platform is still up. To look around:")
    home = (
        story.settings.home.relative_to(story.settings.root)
        if story.settings.home.is_relative_to(story.settings.root)
        else story.settings.home
    )
    for command, why in (
        (f"source .venv/bin/activate; export MLOPS_HOME={home}", "speak to this platform"),
        ("mlops status", "what is released and running"),
        (f"curl -s {url.removesuffix('/predict')}/openapi.json", "what the model takes and answers"),
        (f"mlops run {FLIGHTS} --as-of 2013-10-01", "train on nine months"),
        (f"git -C {home}/origin.git log --stat -3", "the deployments, as commits"),
        ("mlops new my-usecase --template tabular", "your own, in one folder"),
        ("make down", "stop it"),
    ):
        console.print(f"  {command:<62} [dim]# {why}[/]")


@contextmanager
def _under_load(story: Story, url: str, body: dict[str, Any], what: str) -> Iterator[Load]:
    with Load(url, body) as load:
        load.wait_for_answers(LOAD_BEFORE_CHANGE)
        yield load
        load.wait_for_answers(sum(load.answered.values()) + LOAD_BEFORE_CHANGE)
    by_version = ", ".join(f"{count} by {bento}" for bento, count in sorted(load.answered.items()))
    story.timeline.say(f"{load.requests} requests meanwhile: {by_version}; [bold]{load.failures} failed[/]", FLIGHTS)
    story.facts.append(f"{what} under load: {load.requests} requests, {load.failures} failed")
    _require(load.failures == 0, f"{load.failures} requests failed during the {what}: {dict(load.failed)}")


def _address(story: Story, usecase: str) -> tuple[str, dict[str, Any]]:
    """The model's URL, and real instances to ask it about: those its Bento was checked with."""
    from pipelines.embedded.platform import status
    from pipelines.release.package import fetch_bento
    from pipelines.release.releases import open_releases

    release = open_releases(story.settings).current(usecase, "staging")
    model = next(m for m in status(story.settings).models if (m.usecase, m.environment) == (usecase, "staging"))
    _require(release is not None and model.url is not None, f"{usecase} is not served")
    folder = fetch_bento(story.settings.bentos, release.image) / "src" / "model"  # type: ignore[union-attr]
    return f"{model.url}/predict", {"instances": Golden.read(folder / GOLDEN_FILE).instances}


def _metrics(run: Run) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in list(run.results["release"]["metrics"].items())[:2])


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)
