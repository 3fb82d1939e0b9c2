"""First act: models are trained, judged, released, asked, promoted, taken back."""

import threading
from typing import Any

from pipelines.demo.stage import FLIGHTS, PICTURES, SPRING, Story, address, require, under_load
from pipelines.release.operations import merge, propose, roll_back
from pipelines.runs.run import Run


def train_two_models(story: Story) -> Run | None:
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
    require(flights.outcome == "released", f"the first flights model was {flights.outcome}: {flights.error}")
    story.await_live(FLIGHTS, story.first, flights.commit)
    story.facts.append(f"first model released in {flights.seconds:.0f} s: {_metrics(flights)}")
    pictures = runs[PICTURES]
    if isinstance(pictures, BaseException):
        raise pictures
    if pictures.outcome != "released":
        require(pictures.failed_step == "snapshot", f"the pictures model was {pictures.outcome}: {pictures.error}")
        story.left_out.append(f"{PICTURES}: {pictures.error}")
        return None
    story.await_live(PICTURES, story.first, pictures.commit)
    story.facts.append(f"pictures model released in {pictures.seconds:.0f} s: {_metrics(pictures)}")
    return pictures


def ask_for_a_prediction(story: Story, pictures: Run | None) -> tuple[str, dict[str, Any]]:
    import httpx

    story.timeline.heading("A prediction")
    url, body = address(story, FLIGHTS)
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
        picture_url, picture_body = address(story, PICTURES)
        answer = httpx.post(picture_url, json=picture_body, timeout=10).raise_for_status().json()
        labels = ", ".join(prediction["label"] for prediction in answer["predictions"])
        story.timeline.say(f"three test pictures: [bold]{labels}[/]", PICTURES)
    return url, body


def reject_a_worse_model(story: Story) -> None:
    story.timeline.heading(
        "A worse model: two trees instead of eighty. The gate scores it and the champion on the same flights"
    )
    run = story.run(FLIGHTS, as_of=SPRING, params={"trees": 2}, reason="demo: a hurried training")
    require(run.outcome == "rejected", f"the worse model was {run.outcome}: {run.error}")
    story.facts.append("a worse candidate was rejected, the released model stayed up")


def promote_staging(story: Story) -> None:
    story.timeline.heading(f"Promotion: {story.first}'s release, as a one-file branch for {story.second}")
    to = story.settings.environments.get(story.second)
    promotion = propose(story.settings, FLIGHTS, to, force=True)
    for line in promotion.diff.splitlines():
        if line.startswith(("+ ", "- ", "+++")):
            story.timeline.say(f"  [dim]{line[:110]}[/]", FLIGHTS)
    commit = merge(story.settings, promotion)
    story.timeline.say(f"merged {promotion.branch} in commit {commit[:9]}", FLIGHTS)
    story.await_live(FLIGHTS, story.second, commit)


def take_the_release_back(story: Story, url: str, bodies: list[dict[str, Any]]) -> None:
    story.timeline.heading("Rollback: a commit that restores the release before")
    with under_load(story, url, bodies, "rollback"):
        done = roll_back(story.settings, FLIGHTS, story.first, "demo: suppose it misbehaves")
        story.timeline.say(f"{done.withdrawn.bento} → {done.restored.bento} in commit {done.commit[:9]}", FLIGHTS)
        story.await_live(FLIGHTS, story.first, done.commit)


def trace_a_prediction(story: Story, url: str, body: dict[str, Any]) -> None:
    import httpx

    from pipelines.release.lineage import render, trace_lineage

    story.timeline.heading("Trace: from one prediction back to the commit, the run, the data")
    identity = httpx.post(url, json=body, timeout=10).raise_for_status().json()["ids"][0]
    lineage = trace_lineage(story.settings, identity)
    story.timeline.console.print(render(lineage))


def _metrics(run: Run) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in list(run.results["release"]["metrics"].items())[:2])
