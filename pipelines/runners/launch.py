"""The acts of the command line on this machine: start a run, take a release back, promote one.

Each is a few calls into the rooms that know how; the demo and, later, the monitor's triggers use the same ones.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.console import Timeline
from pipelines.errors import MlopsError
from pipelines.runs.journal import Record
from pipelines.runs.remote import read_remote
from pipelines.runs.request import Runner, RunRequest
from pipelines.runs.run import Run, read_run
from pipelines.settings import Settings
from pipelines.usecase import load_usecase

if TYPE_CHECKING:
    from pipelines.runs.remote import Remote


class StateNotWritable(MlopsError):
    """The state folder cannot be written to."""


class AsOfWithoutTime(MlopsError):
    """A run as of a date was asked for, of data that does not say when its rows are from."""


class NotResumable(MlopsError):
    """This run cannot be gone on with here and now."""


class UnknownParam(MlopsError):
    """--param names a key that the use case's training.params does not have."""


def prepare(settings: Settings, name: str) -> str:
    """Refuse what cannot work before anything starts, bring the origin up to the checkout; gives the code's version."""
    from pipelines.embedded.origin import code_version, ensure_origin
    from pipelines.packaging.oci.reference import require_image_names
    from pipelines.release.releases import open_releases

    require_image_names(settings.images, settings.base_image)
    load_usecase(settings.root, name, settings.environment)
    _require_writable(settings.home)
    if settings.remote == str(settings.home / "origin.git"):
        ensure_origin(Path(settings.remote), settings.root, settings.branch)
    else:
        open_releases(settings).repository.require_writable()
    return code_version(settings.root)


def prepare_elsewhere(settings: Settings, name: str) -> str:
    """Like `prepare` for a run on another machine, whose image says which code it is; this one needs no checkout."""
    from pipelines.packaging.oci.reference import require_image_names

    require_image_names(settings.images, settings.base_image)
    load_usecase(settings.root, name, settings.environment)
    _require_writable(settings.home)
    return settings.code or "unknown"


def start(settings: Settings, request: RunRequest, timeline: Timeline, runner: Runner = "local") -> Run:
    """Run the pipeline and show its steps; at the end the result is the same, whoever schedules them."""
    require_startable(settings, request, runner)

    def tell(record: Record) -> None:
        timeline.record(request.usecase, record)

    if runner == "kubeflow":
        from pipelines.runners import kubeflow

        return kubeflow.run(settings, request, tell, may_stop=_stop_there_too)
    if runner == "vertex":
        from pipelines.runners import vertex

        return vertex.run(settings, request, tell)
    from pipelines.runners import local

    return local.run(settings, request, tell)


def start_detached(settings: Settings, request: RunRequest) -> "Remote":
    """Start the pipeline in Kubeflow and leave it there."""
    from pipelines.runners import kubeflow

    require_startable(settings, request, "kubeflow")
    return kubeflow.start(settings, request)


def go_on(settings: Settings, request: RunRequest, timeline: Timeline, runner: Runner = "local") -> Run:
    """Follow a run that is under way elsewhere; one that was interrupted or has failed is gone on with."""
    if runner != "kubeflow":
        return start(settings, request, timeline, runner)
    from pipelines.runners import kubeflow

    return kubeflow.resume(
        settings, request, lambda record: timeline.record(request.usecase, record), may_stop=_stop_there_too
    )


def _stop_there_too() -> bool:
    """On Ctrl-C a person is asked; a program that interrupts means it."""
    from pipelines.console import is_interactive

    if not is_interactive():
        return True
    return input("\nstop the run in Kubeflow too? [y/N] ").strip().lower() in ("y", "yes")


def require_startable(settings: Settings, request: RunRequest, runner: Runner = "local") -> None:
    """Refuse a request that this use case cannot fulfil, and a second run beside one that is under way."""
    from pipelines.data.sources.load import honours_as_of
    from pipelines.runners.local import require_free

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
    if runner == "local":
        require_free(settings, request.usecase)


def resume_request(settings: Settings, run_id: str, usecase: str, code: str, runner: Runner = "local") -> RunRequest:
    """The request of an earlier run, to go on with it; refused where its record would no longer be true."""
    if runner == "kubeflow":
        from pipelines.runners.kubeflow import known_request

        known_request(settings, run_id)
    run = read_run(settings.runs / run_id)
    request = run.request
    again = f"start a new run: `mlops run {usecase}`"
    if request.usecase != usecase:
        raise NotResumable(
            f"{run_id} is a run of {request.usecase}, not of {usecase}",
            hint=f"`mlops run {request.usecase} --resume {run_id}`",
        )
    if run.outcome in ("released", "unchanged"):
        raise NotResumable(f"{run_id} is finished ({run.outcome}); there is nothing to resume", hint=again)
    if run.outcome == "rejected":
        raise NotResumable(
            f"{run_id} was judged and rejected; resumed, it would come to the same verdict",
            hint=f"`mlops show {run_id}` says why; change what it takes, then {again}",
        )
    elsewhere = read_remote(settings.runs / run_id)
    if elsewhere and elsewhere.runner != runner:
        raise NotResumable(
            f"{run_id} is not of this machine: {elsewhere.runner} runs it", hint=f"add `--runner {elsewhere.runner}`"
        )
    if runner == "local" and request.code != code:
        raise NotResumable(
            f"the code has changed since {run_id} began: it was {request.code}, now it is {code}",
            hint=f"a release must name the code it came from; {again}",
        )
    return request


def _require_writable(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StateNotWritable(
            f"the state folder {home} cannot be written to: {error.strerror}",
            hint="choose another with --home or MLOPS_HOME",
        ) from error
