"""`mlops`: the one command. Thin: every verb parses its words, calls the room that does it, prints what came of it."""

import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pipelines.console import Timeline, fail, is_interactive, make_console, outcome_line, table
from pipelines.errors import MlopsError
from pipelines.settings import ENVIRONMENTS, Settings

REJECTED = 3


class _Group(click.Group):
    """Tells an MlopsError as one message with a hint, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MlopsError as error:
            fail(error)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            sys.exit(130)


class _Context:
    """Settings are read when a verb needs them, so that --help works anywhere."""

    def __init__(self, root: Path | None, home: Path | None) -> None:
        self._root, self._home = root, home

    @property
    def settings(self) -> Settings:
        return Settings.load(root=self._root, home=self._home)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--root", type=click.Path(path_type=Path), help="The checkout with apps/ (default: found upwards from here)."
)
@click.option("--home", type=click.Path(path_type=Path), help="The state folder (default: .mlops in the checkout).")
@click.version_option(package_name="mlops-blueprint", message="%(package)s %(version)s")
@click.pass_context
def main(ctx: click.Context, root: Path | None, home: Path | None) -> None:
    """Train, gate, register, package, commit, reconcile: machine learning in production by Git alone.

    Start with `mlops demo`, or with `mlops new my-usecase --template tabular` and `mlops run my-usecase`.
    """
    ctx.obj = _Context(root, home)


# --- a use case -------------------------------------------------------------------------------------------


@main.command()
@click.argument("name")
@click.option("--template", type=click.Choice(["tabular", "image"]), required=True, help="What the data is like.")
@click.pass_obj
def new(context: _Context, name: str, template: str) -> None:
    """Make the folder apps/NAME, which runs at once; then change it into what you need."""
    from pipelines.usecase.new import new_usecase

    folder = new_usecase(context.settings.root, name, template)  # type: ignore[arg-type]
    console = make_console()
    console.print(f"made {folder.relative_to(context.settings.root)}/: usecase.yaml, model.py, README.md")
    console.print(f"  next: `mlops run {name}`, then make it yours (docs/add-a-use-case.md)")


@main.command()
@click.argument("names", nargs=-1)
@click.pass_obj
def check(context: _Context, names: tuple[str, ...]) -> None:
    """Validate use cases: usecase.yaml, its overrides, and the functions it names. All of them without NAMES."""
    from pipelines.usecase import usecase_names
    from pipelines.usecase.check import check_usecase

    settings = context.settings
    problems: list[str] = []
    wanted = names or tuple(usecase_names(settings.root))
    for name in wanted:
        problems += check_usecase(settings.root, name)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
    make_console().print(f"{len(wanted)} use case{'s' if len(wanted) != 1 else ''} valid: {', '.join(wanted)}")


# --- a run ------------------------------------------------------------------------------------------------


@main.command()
@click.argument("name")
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Train on what was known then (UTC)."
)
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="Set one of training.params; repeatable.")
@click.option("--seed", type=int, help="Instead of training.seed.")
@click.option("--reason", default="manual", show_default=True, help="Goes into the release commit.")
@click.option(
    "--environment", type=click.Choice([e for e in ENVIRONMENTS if e != "production"]), help="Where to release to."
)
@click.option("--resume", metavar="RUN", help="Go on with an interrupted or failed run after its last finished step.")
@click.option(
    "--replace-champion", is_flag=True, help="Do not compare with the released model, which the data no longer fits."
)
@click.option("--force", is_flag=True, help="Release again what was rolled back.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.pass_obj
def run(  # noqa: PLR0913, PLR0917 - one parameter an option
    context: _Context,
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
) -> None:
    """Run NAME's pipeline: train, judge and, if it is good enough, release.

    Exit status: 0 released or unchanged, 3 rejected by the gate, 1 failed.
    """
    from pipelines.launch import prepare, resume_request, start
    from pipelines.request import RunRequest, new_run_id

    settings = context.settings
    if environment:
        settings = replace(settings, environment=environment)
    code = prepare(settings, name)
    if resume:
        if params or as_of or seed is not None:
            raise click.UsageError(
                "--resume goes on with the run as it was asked; it takes no --param, --as-of or --seed"
            )
        request = resume_request(settings, resume, name, code)
    else:
        request = RunRequest(
            usecase=name,
            run_id=new_run_id(name),
            environment=settings.environment,
            code=code,
            as_of=as_of,
            params=_parse_params(params),
            seed=seed,
            reason=reason,
            replace_champion=replace_champion,
            force=force,
        )
    timeline = Timeline(make_console())
    known = f" as of {request.as_of:%Y-%m-%d}" if request.as_of else ""
    timeline.say(f"run {request.run_id}{known}")
    try:
        finished = start(settings, request, timeline)
    except KeyboardInterrupt:
        timeline.say(f"stopped; `mlops run {name} --resume {request.run_id}` goes on after the last finished step")
        raise
    timeline.say(outcome_line(finished))
    if finished.outcome == "released" and not no_wait:
        _await_rollout(settings, timeline, name, finished.request.environment, finished.commit or "")
    if finished.outcome == "failed":
        raise StepFailed(finished.error or "", finished.failed_step or "", finished.folder, name, request.run_id)
    if finished.outcome == "rejected":
        timeline.console.print(f"  why: `mlops show {request.run_id}`")
        sys.exit(REJECTED)


class StepFailed(MlopsError):
    """A step of the run failed."""

    def __init__(self, error: str, step: str, folder: Path, name: str, run_id: str) -> None:
        super().__init__(
            f"{step}: {error}",
            hint=f"the whole log is {folder / 'log.txt'}; when it is mended: `mlops run {name} --resume {run_id}`",
        )


@main.command()
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def show(context: _Context, run_id: str, as_json: bool) -> None:
    """Show one run: its steps, its verdict, where its model card and log are."""
    from pipelines.runs import read_run

    found = read_run(context.settings.runs / run_id)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    console = make_console()
    console.print(outcome_line(found))
    console.print(
        table("steps", ["step", "seconds"], [[step, f"{seconds:.1f}"] for step, seconds in found.steps.items()])
    )
    if found.error:
        console.print(f"\n{found.failed_step}: {found.error}", markup=False)
    verdict = found.folder / "evaluation" / "verdict.md"
    if verdict.exists():
        console.print("\n" + verdict.read_text(encoding="utf-8"), markup=False)
        console.print(f"model card  {verdict.with_name('model-card.html')}")
    console.print(f"log         {found.folder / 'log.txt'}")


# --- releases ---------------------------------------------------------------------------------------------


@main.command()
@click.argument("name")
@click.option("--environment", type=click.Choice(ENVIRONMENTS), default="staging", show_default=True)
@click.option("--reason", default="rolled back by hand", show_default=True)
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.pass_obj
def rollback(context: _Context, name: str, environment: str, reason: str, no_wait: bool) -> None:
    """Take back NAME's release by a commit; the version taken back is not released again unless forced."""
    from pipelines.launch import roll_back

    settings = context.settings
    done = roll_back(settings, name, environment, reason)
    timeline = Timeline(make_console())
    step = f"{done.withdrawn.bento} → {done.restored.bento}"
    timeline.say(f"[green]rolled back[/] {environment}: {step} in commit {done.commit[:9]}")
    if not no_wait:
        _await_rollout(settings, timeline, name, environment, done.commit)


@main.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Merge without asking.")
@click.option("--force", is_flag=True, help="Also if staging was released from uncommitted code.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the rollout.")
@click.pass_obj
def promote(context: _Context, name: str, yes: bool, force: bool, no_wait: bool) -> None:
    """Propose NAME's staging release for production on a branch, show the diff, and merge it."""
    from pipelines.launch import merge, propose

    settings = context.settings
    promotion = propose(settings, name, force)
    console = make_console()
    console.print(f"branch [bold]{promotion.branch}[/], commit {promotion.commit[:9]}")
    console.print(promotion.diff, markup=False)
    if not yes:
        if not is_interactive():
            console.print("not merged: run it again with --yes, or on a terminal")
            return
        if not click.confirm("merge into the main branch?"):
            return
    commit = merge(settings, promotion)
    timeline = Timeline(console)
    timeline.say(f"[green]merged[/] {promotion.release.bento} into production, commit {commit[:9]}")
    if not no_wait:
        _await_rollout(settings, timeline, name, "production", commit)


@main.command()
@click.argument("what")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def trace(context: _Context, what: str, as_json: bool) -> None:
    """Where does it come from, and where did it go?

    WHAT is a prediction's id, a commit, a Bento (flight-delays:7), a model version (flight-delays/7), a run, or a use
    case's name.
    """
    from pipelines.trace import render, trace_lineage

    lineage = trace_lineage(context.settings, what)
    if as_json:
        click.echo(lineage.model_dump_json(indent=2))
    else:
        make_console().print(render(lineage))


# --- the embedded platform --------------------------------------------------------------------------------


@main.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="First port of the model servers (default 8600, or the next free)."
)
@click.option("--mlflow", is_flag=True, help="Also start MLflow's web page.")
@click.pass_obj
def up(context: _Context, port: int | None, mlflow: bool) -> None:
    """Start the embedded platform: a bare Git origin, the reconciler, one server per released model."""
    from pipelines.embedded.platform import up as start_platform

    status = start_platform(context.settings, port=port, mlflow_ui=mlflow)
    _print_status(context.settings, status)


@main.command()
@click.pass_obj
def down(context: _Context) -> None:
    """Stop the embedded platform; what is released, trained and logged stays."""
    from pipelines.embedded.platform import down as stop_platform

    was_up = stop_platform(context.settings)
    make_console().print("stopped" if was_up else f"nothing runs for {context.settings.home}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(context: _Context, as_json: bool) -> None:
    """What is released, what runs, and how the last pipeline runs ended."""
    from pipelines.embedded.platform import status as platform_status
    from pipelines.runs import list_runs

    settings = context.settings
    found = platform_status(settings)
    if as_json:
        runs = [run.model_dump(mode="json") for run in list_runs(settings.runs)]
        click.echo(json.dumps({"platform": found.model_dump(mode="json"), "runs": runs}, indent=2))
        return
    _print_status(settings, found)


@main.command()
@click.option("--stop", is_flag=True, help="Stop the platform at the end.")
@click.pass_obj
def demo(context: _Context, stop: bool) -> None:
    """The whole loop with two real use cases, in about two minutes. Has a state folder of its own; can be run again."""
    from pipelines.demo.story import tell

    settings = context.settings
    home = settings.home if settings.home.name == "demo" else settings.home / "demo"
    tell(Settings.load(root=settings.root, home=home), Timeline(make_console()), stop_at_end=stop)


def _print_status(settings: Settings, status: Any) -> None:
    from pipelines.runs import list_runs

    console = make_console()
    if status.running:
        console.print(f"platform up, pid {status.pid}, state in {settings.home}")
    else:
        console.print(f"platform down (`mlops up` starts it), state in {settings.home}")
    rows = [[m.usecase, m.environment, m.bento, m.state, (m.commit or "")[:9], m.url, m.problem] for m in status.models]
    if rows:
        console.print(table("models", ["use case", "environment", "bento", "state", "commit", "url", "problem"], rows))
    elif status.running:
        console.print("no model is released yet: `mlops run NAME` trains and releases one")
    if status.mlflow:
        console.print(f"MLflow at {status.mlflow}")
    for problem in status.problems:
        console.print(f"[yellow]problem[/] {problem}")
    runs = [
        [run.request.run_id, run.outcome, f"{run.started:%Y-%m-%d %H:%M}", f"{run.seconds:.0f}", run.request.reason]
        for run in list_runs(settings.runs, limit=8)
    ]
    if runs:
        console.print(table("last runs", ["run", "outcome", "started (UTC)", "seconds", "reason"], runs))


def _await_rollout(settings: Settings, timeline: Timeline, name: str, environment: str, commit: str) -> None:
    """Follow the commit until its model answers, when a platform of this machine serves it."""
    from pipelines.embedded.platform import status as platform_status
    from pipelines.embedded.platform import wait_for

    if not platform_status(settings).running:
        timeline.console.print("  the platform is down: `mlops up` starts it and serves what is released")
        return
    result = wait_for(settings, name, environment, commit, timeout=120)
    timeline.say(f"[green]✓[/] live after {result.seconds:.1f} s at {result.url}")


def _parse_params(pairs: tuple[str, ...]) -> dict[str, Any]:
    from pipelines.usecase import yaml12

    params = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--param")
        params[key], _ = yaml12.read(value)
    return params


if __name__ == "__main__":
    main()
