"""Verbs about pipeline runs: run, show."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pipelines.cli.completion import complete_runs, complete_usecases
from pipelines.cli.context import Context
from pipelines.cli.environments import EnvironmentName
from pipelines.cli.following import await_rollout
from pipelines.cli.json_output import json_option, print_document
from pipelines.console import Timeline, make_console, outcome_line, table
from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.errors import MlopsError
from pipelines.runners.runner import RUNNERS

REJECTED = 3


@click.command()
@click.argument("name", shell_complete=complete_usecases)
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Train on what was known then (UTC)."
)
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="Set one of training.params; repeatable.")
@click.option("--seed", type=int, help="Instead of training.seed.")
@click.option("--reason", default="manual", show_default=True, help="Goes into the release commit.")
@click.option(
    "--environment",
    type=EnvironmentName(takes_runs=True),
    help="Where to release to, see `mlops environments`. Default: MLOPS_ENVIRONMENT, or the first that takes runs.",
)
@click.option("--resume", metavar="RUN", help="Go on with an interrupted or failed run after its last finished step.")
@click.option(
    "--replace-champion", is_flag=True, help="Do not compare with the released model, which the data no longer fits."
)
@click.option("--force", is_flag=True, help="Release again what was rolled back.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.option(
    "--runner",
    type=click.Choice(RUNNERS),
    default="local",
    envvar="MLOPS_RUNNER",
    show_default=True,
    show_envvar=True,
    help="Who schedules the steps: this machine, Kubeflow Pipelines with what Flux has delivered there, or Vertex AI.",
)
@click.option("--detach", is_flag=True, help="Start the run and leave it to Kubeflow or Vertex AI.")
@click.option("--pipeline", default=TRAIN_AND_RELEASE.name, show_default=True, help="Another pipeline, of a package.")
@click.option("--run-id", metavar="RUN", help="Made by the caller, for programs that must know it beforehand.")
@click.pass_obj
def run(  # noqa: PLR0913, PLR0917 - one parameter an option
    context: Context,
    name: str,
    as_of: datetime | None,
    params: tuple[str, ...],
    seed: int | None,
    reason: str,
    environment: str | None,
    resume: str | None,
    replace_champion: bool,
    force: bool,
    no_wait: bool,
    runner: str,
    detach: bool,
    pipeline: str,
    run_id: str | None,
) -> None:
    """Run NAME's pipeline: train, judge and, if it passes, release.

    Exit status: 0 released or unchanged, 3 rejected by the gate, 1 failed.
    """
    from pipelines.runners import launch
    from pipelines.runners.runner import open_runner
    from pipelines.runs.request import RunRequest

    settings = context.settings
    if environment:
        settings = replace(settings, environment=environment)
    settings.environments.require_runs(settings.environment)
    scheduler = open_runner(runner, settings)
    able = scheduler.capabilities
    if detach and not able.detaches:
        raise click.UsageError(
            f"--detach: a run on {able.title} ends with the command that started it; add --runner kubeflow"
        )
    code = launch.prepare(settings, name, scheduler)
    timeline = Timeline(make_console())
    if resume:
        _refuse_other_options()
        request = launch.resume_request(settings, resume, name, code, scheduler)
    else:
        request = RunRequest(
            usecase=name,
            run_id=launch.usable_run_id(settings, name, run_id),
            environment=settings.environment,
            pipeline=pipeline,
            code=code,
            as_of=as_of,
            params=_parse_params(params),
            seed=seed,
            reason=reason,
            replace_champion=replace_champion,
            force=force,
        )
    launch.require_startable(settings, request, scheduler)
    known = f" as of {request.as_of:%Y-%m-%d}" if request.as_of else ""
    timeline.say(f"run {request.run_id}{known}")
    again = f"mlops run {name} --resume {request.run_id}" + ("" if able.on_this_machine else f" --runner {runner}")
    if detach:
        remote = launch.start_detached(settings, request, scheduler)
        timeline.say(f"started {remote.pipeline}; `{again}` follows it")
        timeline.console.print(f"  {remote.page}")
        return
    try:
        finished = (launch.resume if resume else launch.start)(settings, request, timeline, scheduler)
    except KeyboardInterrupt:
        goes_on = "goes on after the last finished step" if able.resumes else "follows it if it was left to run"
        timeline.say(f"stopped; `{again}` {goes_on}")
        raise
    timeline.say(outcome_line(finished))
    if finished.outcome == "released" and not no_wait and able.on_this_machine:
        await_rollout(settings, timeline, name, finished.request.environment, finished.commit or "")
    if finished.outcome == "failed":
        raise StepFailed(
            finished.error or "", finished.failed_step or "", finished.folder, name, again if able.resumes else ""
        )
    if not finished.accepted:
        timeline.console.print(f"  why: `mlops show {request.run_id}`")
        sys.exit(REJECTED)


def _refuse_other_options() -> None:
    """A run is gone on with as it was asked: what would ask for another one is not silently left out."""
    context = click.get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name not in ("name", "resume", "no_wait", "runner")
        and context.get_parameter_source(option.name or "") == ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"--resume goes on with the run as it was asked; it takes no {', '.join(given)}")


class StepFailed(MlopsError):
    """A step of the run failed. `again`: the command that goes on with it, where the runner can."""

    def __init__(self, error: str, step: str, folder: Path, name: str, again: str) -> None:
        super().__init__(
            f"{step}: {error}",
            hint=f"log: {folder / 'log.txt'}; "
            + (f"`{again}` goes on with the failed step, " if again else "")
            + f"`mlops run {name}` begins anew with changed code",
        )


@click.command()
@click.argument("run_id", shell_complete=complete_runs)
@json_option
@click.pass_obj
def show(context: Context, run_id: str, as_json: bool) -> None:
    """Show a run: its steps, its verdict, its model card and log."""
    from pipelines.runs.run import read_run

    found = read_run(context.settings.runs / run_id)
    if as_json:
        print_document(1, found)
        return
    console = make_console()
    console.print(outcome_line(found))
    if found.outcome == "interrupted":
        console.print(f"  `mlops run {found.request.usecase} --resume {run_id}` goes on after the last finished step")
    rows = [[step, f"{seconds:.1f}", "finished"] for step, seconds in found.steps.items()]
    if last := found.current_step or found.failed_step:
        rows.append([last, "-", found.outcome])
    console.print(table("steps", ["step", "seconds", ""], rows) if rows else "no step began")
    if found.error:
        console.print(f"\n{found.failed_step}: {found.error}", markup=False)
    verdict = found.folder / "evaluation" / "verdict.md"
    if verdict.exists():
        console.print("\n" + verdict.read_text(encoding="utf-8"), markup=False)
        console.print(f"model card  {verdict.with_name('model-card.html')}")
    console.print(f"log         {found.folder / 'log.txt'}")


def _parse_params(pairs: tuple[str, ...]) -> dict[str, Any]:
    from pipelines.usecase import yaml12

    params = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--param")
        params[key], _ = yaml12.read(value)
    return params
