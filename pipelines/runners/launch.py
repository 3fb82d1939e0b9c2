"""What `mlops run` does with any runner: prepare, start or resume, show the steps. The demo does the same."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.console import Timeline
from pipelines.definitions.find import find_pipeline
from pipelines.errors import MlopsError
from pipelines.runners.runner import Runner, open_runner, run_to_end
from pipelines.runs.index import RUN_ID
from pipelines.runs.journal import Record
from pipelines.runs.remote import read_remote
from pipelines.runs.request import RunRequest, new_run_id
from pipelines.runs.run import REQUEST_FILE, Run, read_run
from pipelines.settings import Settings, require_writable
from pipelines.usecase import load_usecase

if TYPE_CHECKING:
    from pipelines.runs.remote import Remote


log = logging.getLogger(__name__)


class AsOfWithoutTime(MlopsError):
    """A run as of a date was asked for, of data that does not say when its rows are from."""


class NotResumable(MlopsError):
    """This run cannot be gone on with here and now."""


class RunIdUnusable(MlopsError):
    """A run was to have an id that another one has, or that is none."""


class UnknownParam(MlopsError):
    """--param names a key that the use case's training.params does not have."""


def prepare(settings: Settings, name: str, runner: Runner | None = None) -> str:
    """Refuse what cannot work before anything starts, bring the origin up to the checkout; gives the code's version.

    A run on another machine needs no checkout: its image says which code it is.
    """
    from pipelines.embedded.origin import code_version, ensure_origin
    from pipelines.packaging.oci.reference import require_image_names
    from pipelines.release.releases import open_releases

    require_image_names(settings.images, settings.base_image)
    load_usecase(settings.root, name, settings.environment)
    require_writable(settings.home)
    if runner and not runner.capabilities.on_this_machine:
        return settings.code or "unknown"
    if settings.remote == str(settings.home / "origin.git"):
        ensure_origin(Path(settings.remote), settings.root, settings.branch)
    else:
        open_releases(settings).repository.require_writable()
    return code_version(settings.root)


def start(settings: Settings, request: RunRequest, timeline: Timeline, runner: Runner | None = None) -> Run:
    """Run a pipeline and show its steps; at the end the result is the same, whoever schedules them."""
    return _run(settings, request, timeline, runner or open_runner("local", settings), resume=False)


def resume(settings: Settings, request: RunRequest, timeline: Timeline, runner: Runner) -> Run:
    """Follow a run that is under way elsewhere; one that was interrupted or has failed goes on."""
    return _run(settings, request, timeline, runner, resume=True)


def start_detached(settings: Settings, request: RunRequest, runner: Runner) -> "Remote":
    """Start a pipeline and leave it to a runner that detaches."""
    require_startable(settings, request, runner)
    handle = runner.start(request)
    assert handle.remote  # noqa: S101 - what goes on elsewhere has a place there
    return handle.remote


def _run(settings: Settings, request: RunRequest, timeline: Timeline, runner: Runner, *, resume: bool) -> Run:
    require_startable(settings, request, runner)

    def tell(record: Record) -> None:
        timeline.record(request.usecase, record)

    def may_stop() -> bool:
        return _stop_there_too(runner.capabilities.title)

    try:
        return run_to_end(runner, request, tell, resume=resume, may_stop=may_stop)
    except MlopsError:
        remote = read_remote(settings.runs / request.run_id) if runner.capabilities.detaches else None
        if remote:
            again = f"mlops run {request.usecase} --resume {request.run_id} --runner {runner.name}"
            log.warning("the run may go on: %s; `%s` follows it again", remote.page, again)
        raise


def _stop_there_too(title: str) -> bool:
    """On Ctrl-C a person is asked; a program that interrupts means it."""
    from pipelines.console import is_interactive

    if not is_interactive():
        return True
    return input(f"\nstop the run in {title} too? [y/N] ").strip().lower() in ("y", "yes")


def require_startable(settings: Settings, request: RunRequest, runner: Runner) -> None:
    """Refuse a request that this use case cannot fulfil, and a second run beside one that is under way."""
    from pipelines.data.sources.load import honours_as_of

    find_pipeline(request.pipeline)
    usecase = load_usecase(settings.root, request.usecase, request.environment)
    if request.as_of and not honours_as_of(usecase.data, settings.root / "apps" / usecase.name):
        raise AsOfWithoutTime(
            f"{usecase.name} cannot be trained as of a date: its usecase.yaml has no data.time",
            hint="name the column with each row's time as data.time, or use :as_of in the query of an SQL source",
        )
    known = usecase.training.params
    strangers = [key for key in request.params if key not in known]
    if strangers:
        raise UnknownParam(
            f"{strangers[0]!r} is no training parameter of {request.usecase}; it has: {', '.join(known) or 'none'}",
            hint=f"they stand under training.params in apps/{request.usecase}/usecase.yaml",
        )
    runner.check(request)


def usable_run_id(settings: Settings, usecase: str, wanted: str | None) -> str:
    """The id that the caller has made for a run, or a new one. Raises RunIdUnusable."""
    if wanted is None:
        return new_run_id(usecase)
    known = RUN_ID.fullmatch(wanted)
    if not known or known["usecase"] != usecase:
        raise RunIdUnusable(
            f"{wanted!r} is no id for a run of {usecase}", hint=f"an id looks like this: {new_run_id(usecase)}"
        )
    if (settings.runs / wanted / REQUEST_FILE).exists():
        raise RunIdUnusable(f"there is a run {wanted}", hint=f"`mlops run {usecase} --resume {wanted}` goes on with it")
    return wanted


def resume_request(settings: Settings, run_id: str, usecase: str, code: str, runner: Runner) -> RunRequest:
    """The request of an earlier run, to go on with it; refused where its record would no longer be true."""
    runner.find(run_id)
    run = read_run(settings.runs / run_id)
    request = run.request
    again = f"start a new run: `mlops run {usecase}`"
    if request.usecase != usecase:
        raise NotResumable(
            f"{run_id} is a run of {request.usecase}, not of {usecase}",
            hint=f"`mlops run {request.usecase} --resume {run_id}`",
        )
    if run.accepted:
        raise NotResumable(f"{run_id} is finished ({run.outcome}); there is nothing to resume", hint=again)
    if run.outcome in find_pipeline(request.pipeline).outcomes:
        raise NotResumable(
            f"{run_id} was judged and {run.outcome}; resumed, it would come to the same verdict",
            hint=f"`mlops show {run_id}` says why; change what it takes, then {again}",
        )
    elsewhere = read_remote(settings.runs / run_id)
    if elsewhere and elsewhere.runner != runner.name:
        raise NotResumable(
            f"{run_id} is not of this machine: {elsewhere.runner} runs it", hint=f"add `--runner {elsewhere.runner}`"
        )
    if runner.capabilities.on_this_machine and request.code != code:
        raise NotResumable(
            f"the code has changed since {run_id} began: it was {request.code}, now it is {code}",
            hint=f"a release must name the code it came from; {again}",
        )
    return request
