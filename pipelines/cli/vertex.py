"""Verbs about Vertex AI: reconcile."""

import sys
from typing import TYPE_CHECKING

import click

from pipelines.cli.context import Context
from pipelines.cli.environments import EnvironmentName
from pipelines.console import Timeline, fail, make_console
from pipelines.errors import MlopsError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.vertex.api import VertexApi
    from pipelines.vertex.config import VertexConfig
    from pipelines.vertex.schedules import WantedSchedule
    from pipelines.vertex.target import VertexTarget

NOT_YET = 4


@click.group()
def vertex() -> None:
    """Endpoints and schedules on Vertex AI, as Git has them."""


@vertex.command()
@click.argument("names", nargs=-1)
@click.option("--environment", type=EnvironmentName(), help="Default: the first that takes runs.")
@click.option("--check", is_flag=True, help="Change nothing; say what would be done.")
@click.option("--no-wait", is_flag=True, help="Do not wait for a canary to have been held; the next call goes on.")
@click.pass_obj
def reconcile(context: Context, names: tuple[str, ...], environment: str | None, check: bool, no_wait: bool) -> None:
    """Make Vertex AI what this checkout says: vertex/ENVIRONMENT.yaml, release.yaml and usecase.yaml.

    With NAMES, only the endpoints of those use cases. It may be stopped at any time; the next call goes on.

    Exit status: 0 Vertex AI is as Git says; 4 not yet: --check found something to do, or a canary is held; 1 failed.
    """
    from pipelines.vertex.api import VertexApi
    from pipelines.vertex.config import load_config

    settings = context.settings
    environment = environment or settings.environments.default.name
    config = load_config(settings.root, environment)
    api = VertexApi.of(config.project, config.region)
    timeline = Timeline(make_console())
    outcomes = [
        *(
            _endpoint(api, target, timeline, check, no_wait)
            for target in _targets(api, settings, environment, config, names)
        ),
        *([] if names else _schedules(api, settings, environment, config, timeline, check)),
    ]
    if "failed" in outcomes:
        sys.exit(1)
    if "not yet" in outcomes:
        sys.exit(NOT_YET)
    timeline.say(f"Vertex AI is as Git says: {config.project}, {config.region}")


def _targets(
    api: "VertexApi", settings: Settings, environment: str, config: "VertexConfig", names: tuple[str, ...]
) -> list["VertexTarget"]:
    """All are read before the first is changed: a mistake in one file stops nothing half-way."""
    from pipelines.vertex.reconcile import strays
    from pipelines.vertex.target import read_target

    listed = config.endpoints.usecases
    for name in names:
        if name not in listed:
            raise NotListed(
                f"{name} is not served by Vertex AI in {environment}",
                hint=f"vertex/{environment}.yaml lists those that are, under endpoints.usecases: {', '.join(listed)}",
            )
    targets = [read_target(settings.root, name, environment, config) for name in names or listed]
    return targets if names else [*targets, *strays(api, environment, listed)]


def _endpoint(api: "VertexApi", target: "VertexTarget", timeline: Timeline, check: bool, no_wait: bool) -> str:
    from pipelines.vertex.reconcile import reconcile as bring_about
    from pipelines.vertex.reconcile import work_out

    try:
        if check:
            steps = work_out(api, target)
            for position, step in enumerate(steps, start=1):
                timeline.say(f"plan {position}. {step}", target.usecase)
            return "not yet" if steps else "done"
        outcome = bring_about(api, target, lambda text: timeline.say(text, target.usecase), wait=not no_wait)
    except MlopsError as error:
        fail(error)
        return "failed"
    if outcome == "holding":
        return "not yet"
    released = target.release.bento if target.release else "nothing"
    timeline.say(f"[green]{outcome}[/]: {released} is served", target.usecase)
    return "done"


def _schedules(
    api: "VertexApi", settings: Settings, environment: str, config: "VertexConfig", timeline: Timeline, check: bool
) -> list[str]:
    from pipelines.vertex.schedules import apply, compare

    try:
        changes = compare(api, environment, _wanted_schedules(settings, environment, config))
        for change in changes:
            timeline.say(f"{'plan: ' if check else ''}{change}")
            if not check:
                apply(api, change)
    except MlopsError as error:
        fail(error)
        return ["failed"]
    return ["not yet"] if check and changes else []


def _wanted_schedules(settings: Settings, environment: str, config: "VertexConfig") -> list["WantedSchedule"]:
    from pipelines.runners.vertex import job_body
    from pipelines.runs.request import RunRequest
    from pipelines.usecase import load_usecase
    from pipelines.vertex.pipeline_job import SCHEDULED
    from pipelines.vertex.schedules import WantedSchedule

    wanted = []
    for name in config.pipelines.scheduled if config.pipelines else []:
        retrain = load_usecase(settings.root, name, environment).retrain
        if retrain.schedule and not retrain.suspended:
            request = RunRequest(usecase=name, run_id=SCHEDULED, environment=environment, reason="schedule")
            wanted.append(WantedSchedule(name, retrain.schedule, job_body(settings, request, config)))
    return wanted


class NotListed(MlopsError):
    """A use case was named that this environment does not serve on Vertex AI."""
