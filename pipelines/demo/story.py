"""The demo: two real use cases go the whole way, one of them through rejection, drift, replacement and rollback.

Everything happens in a state folder of its own, so that it can be told again and again.
"""

import os
import shutil
import time

from pipelines.console import Timeline
from pipelines.demo.releasing import (
    ask_for_a_prediction,
    promote_staging,
    reject_a_worse_model,
    take_the_release_back,
    trace_a_prediction,
    train_two_models,
)
from pipelines.demo.stage import FLIGHTS, SPRING, Story, address
from pipelines.demo.watching import (
    LATE_APRIL,
    MAY_AND_JUNE,
    Watcher,
    compare_in_summer,
    meet_late_april,
    replace_by_itself,
)
from pipelines.runners.launch import prepare
from pipelines.runs.replay import set_replay_day
from pipelines.settings import Settings

# Months pass in minutes here: the monitor waits for no cool-down, and judges when the story asks it to.
MONITOR = {"MLOPS_LONGEST_COOLDOWN": "0s", "MLOPS_EVALUATE_EVERY": "1h", "MLOPS_ACT_ON": "assessments"}


def tell(settings: Settings, timeline: Timeline, stop_at_end: bool = False) -> None:
    """Tell the whole story; a part that cannot be told here is left out, and said at the end."""
    from pipelines.embedded.platform import down

    story = Story(settings, timeline)
    began = time.monotonic()
    _begin(story)
    try:
        pictures = train_two_models(story)
        url, body = ask_for_a_prediction(story, pictures)
        reject_a_worse_model(story)
        promote_staging(story)
        watcher = Watcher(story)
        april, summer = watcher.season(*LATE_APRIL), watcher.season(*MAY_AND_JUNE)
        meet_late_april(story, watcher, april)
        replace_by_itself(story, watcher, april, url)
        compare_in_summer(story, watcher, summer)
        take_the_release_back(story, url, summer.one_by_one())
        trace_a_prediction(story, url, body)
    except BaseException:
        down(settings)
        raise
    if stop_at_end:
        down(settings)
    _end(story, time.monotonic() - began, stopped=stop_at_end)


def _begin(story: Story) -> None:
    from pipelines.embedded.platform import down, up

    timeline, settings = story.timeline, story.settings
    timeline.heading("The platform: a bare Git origin, a reconciler that looks at nothing else, MLflow, a monitor")
    if settings.home.exists():
        down(settings)
        shutil.rmtree(settings.home)
        timeline.say("the last demo's state is removed")
    story.code = prepare(settings, FLIGHTS)
    set_replay_day(settings.home, SPRING)
    os.environ.update(MONITOR)
    status = up(settings, monitor=True)
    timeline.say(f"up, pid {status.pid}; code {story.code[:12]}; to watch: {status.monitor}")


def _end(story: Story, seconds: float, stopped: bool) -> None:
    from pipelines.embedded.platform import status

    timeline, console = story.timeline, story.timeline.console
    timeline.heading(f"Done in {seconds:.0f} s")
    for fact in story.facts:
        timeline.say(f"[green]•[/] {fact}")
    for what in story.left_out:
        timeline.say(f"[yellow]left out[/] {what}")
    url, _ = address(story, FLIGHTS) if not stopped else ("", {})
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
        (f"open {status(story.settings).monitor}", "the models in a browser: releases, drift, quality, runs"),
        ("mlops status", "what is released and running"),
        (f"curl -s {url.removesuffix('/predict')}/openapi.json", "what the model takes and answers"),
        (f"mlops run {FLIGHTS} --as-of 2013-10-01", "train on nine months"),
        (f"git -C {home}/origin.git log --stat -3", "the deployments, as commits"),
        ("mlops new my-usecase --template tabular", "your own, in one folder"),
        ("make down", "stop it"),
    ):
        console.print(f"  {command:<62} [dim]# {why}[/]")
