"""The acts of the command line on this machine: start a run, take a release back, promote one.

Each is a few calls into the rooms that know how; the demo and, later, the monitor's triggers use the same ones.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.console import Timeline
from pipelines.errors import MlopsError
from pipelines.request import RunRequest
from pipelines.runs import Run, read_run
from pipelines.settings import Settings
from pipelines.usecase import UseCase, load_usecase
from pipelines.usecase.model import SqlSource

if TYPE_CHECKING:
    from pipelines.release.releases import Promotion, Rollback


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

    load_usecase(settings.root, name, settings.environment)
    _require_writable(settings.home)
    if settings.remote == str(settings.home / "origin.git"):
        ensure_origin(Path(settings.remote), settings.root, settings.branch)
    return code_version(settings.root)


def start(settings: Settings, request: RunRequest, timeline: Timeline) -> Run:
    """Run the pipeline on this machine and show its steps."""
    from pipelines.runners import local

    require_startable(settings, request)
    return local.run(settings, request, lambda record: timeline.record(request.usecase, record))


def require_startable(settings: Settings, request: RunRequest) -> None:
    """Refuse a request that this use case cannot fulfil, and a second run beside one that is under way."""
    from pipelines.runners.local import require_free

    usecase = load_usecase(settings.root, request.usecase, request.environment)
    if request.as_of and not _knows_time(usecase):
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
    require_free(settings, request.usecase)


def resume_request(settings: Settings, run_id: str, usecase: str, code: str) -> RunRequest:
    """The request of an earlier run, to go on with it; refused where its record would no longer be true."""
    request = read_run(settings.runs / run_id).request
    if request.usecase != usecase:
        raise NotResumable(f"{run_id} is a run of {request.usecase}, not of {usecase}")
    if request.code != code:
        raise NotResumable(
            f"the code has changed since {run_id} began: it was {request.code}, now it is {code}",
            hint=f"a release must name the code it came from; start a new run: `mlops run {usecase}`",
        )
    return request


def roll_back(settings: Settings, name: str, environment: str, reason: str) -> "Rollback":
    """Commit the release before this one, and let the registry's alias follow."""
    from pipelines.release.registry import set_alias
    from pipelines.release.releases import open_releases

    done = open_releases(settings).rollback(name, environment, reason)
    alias = "production" if environment == "production" else "champion"
    set_alias(settings.tracking_uri, name, alias, done.restored.version)  # type: ignore[arg-type]
    return done


def propose(settings: Settings, name: str, force: bool = False) -> "Promotion":
    """Put staging's release of a use case on a branch for production."""
    from pipelines.release.releases import open_releases

    return open_releases(settings).propose_promotion(name, force=force)


def merge(settings: Settings, promotion: "Promotion") -> str:
    """Merge a promotion: from now on production runs it."""
    from pipelines.release.registry import set_alias
    from pipelines.release.releases import open_releases

    commit = open_releases(settings).merge_promotion(promotion)
    set_alias(settings.tracking_uri, promotion.release.model.split("/")[0], "production", promotion.release.version)
    return commit


def _knows_time(usecase: UseCase) -> bool:
    from pipelines.data.sql import takes_as_of

    source = usecase.data.source
    return usecase.data.time is not None or (isinstance(source, SqlSource) and takes_as_of(source))


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
