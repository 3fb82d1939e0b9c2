"""The acts of the command line on this machine: start a run, take a release back, promote one.

Each is a few calls into the rooms that know how; the demo and, later, the monitor's triggers use the same ones.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.console import Timeline
from pipelines.errors import MlopsError
from pipelines.request import Runner, RunRequest
from pipelines.runners.remote import read_remote
from pipelines.runs import Run, read_run
from pipelines.settings import Settings
from pipelines.training.tracking import Record
from pipelines.usecase import UseCase, load_usecase, usecase_names
from pipelines.usecase.model import SqlSource
from pipelines.usecase.strict import did_you_mean

if TYPE_CHECKING:
    from pipelines.release.github import GitHub, PullRequest
    from pipelines.release.registry import Alias
    from pipelines.release.release import Release
    from pipelines.release.releases import Proposal, Rollback
    from pipelines.runners.remote import Remote


class StateNotWritable(MlopsError):
    """The state folder cannot be written to."""


class AsOfWithoutTime(MlopsError):
    """A run as of a date was asked for, of data that does not say when its rows are from."""


class NotResumable(MlopsError):
    """This run cannot be gone on with here and now."""


class UsecaseUnknown(MlopsError):
    """Neither the checkout nor the repository has this use case."""


class UnknownParam(MlopsError):
    """--param names a key that the use case's training.params does not have."""


def prepare(settings: Settings, name: str) -> str:
    """Refuse what cannot work before anything starts, bring the origin up to the checkout; gives the code's version."""
    from pipelines.embedded.origin import code_version, ensure_origin
    from pipelines.release.releases import open_releases

    load_usecase(settings.root, name, settings.environment)
    _require_writable(settings.home)
    if settings.remote == str(settings.home / "origin.git"):
        ensure_origin(Path(settings.remote), settings.root, settings.branch)
    else:
        open_releases(settings).repository.require_writable()
    return code_version(settings.root)


def prepare_elsewhere(settings: Settings, name: str) -> str:
    """Like `prepare` for a run on another machine, whose image says which code it is; this one needs no checkout."""
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


def roll_back(settings: Settings, name: str, environment: str, reason: str) -> "Rollback":
    """Commit the release before this one, and let the registry's alias follow."""
    from pipelines.release.releases import open_releases

    require_known(settings, name)
    done = open_releases(settings).rollback(name, environment, reason)
    _let_alias_follow(settings, "production" if environment == "production" else "champion", done.restored)
    return done


def propose(settings: Settings, name: str, force: bool = False, healthy_at: str | None = None) -> "Proposal":
    """Put staging's release of a use case on a branch for production."""
    from pipelines.release.releases import open_releases

    require_known(settings, name)
    return open_releases(settings).propose_promotion(name, force=force, healthy_at=healthy_at)


def propose_rollback(settings: Settings, name: str, environment: str, reason: str) -> "Proposal":
    """Put the release before this one on a branch, for an environment that only takes what was reviewed."""
    from pipelines.release.releases import open_releases

    require_known(settings, name)
    return open_releases(settings).propose_rollback(name, environment, reason)


def merge(settings: Settings, promotion: "Proposal") -> str:
    """Merge a promotion: from now on production runs it."""
    from pipelines.release.releases import open_releases

    commit = open_releases(settings).merge_promotion(promotion)
    _let_alias_follow(settings, "production", promotion.release)
    return commit


def review_place(settings: Settings) -> "GitHub | None":
    """Where production's releases are reviewed as pull requests; None where they are merged from here."""
    from pipelines.release.github import GitHub

    return GitHub.of(settings)


def request_review(settings: Settings, github: "GitHub", proposal: "Proposal") -> "PullRequest":
    """Open the proposal's pull request, or bring the open one up to date."""
    from pipelines.release.evidence import find_evidence
    from pipelines.release.pull_request import write_text

    text = write_text(proposal, find_evidence(settings, proposal.release), github)
    return github.ensure_pull_request(proposal.branch, settings.branch, proposal.title, text)


def settle(settings: Settings, name: str) -> None:
    """Production runs staging's release: no proposal is left over, and the registry's alias says so."""
    from pipelines.release.releases import open_releases

    releases = open_releases(settings)
    releases.withdraw_promotion(name)
    current = releases.current(name, "production")
    if current:
        _let_alias_follow(settings, "production", current)


def _let_alias_follow(settings: Settings, alias: "Alias", release: "Release") -> None:
    """The commit is what counts, so a registry that is away is a warning."""
    from pipelines.release.evidence import brief_patience
    from pipelines.release.registry import RegistryUnavailable, set_alias

    name, version = release.model.split("/")
    try:
        with brief_patience():
            set_alias(settings.tracking_uri, name, alias, version)
    except RegistryUnavailable as error:
        print(f"warning: the alias {alias} in MLflow stays where it was: {error.message}", file=sys.stderr)


def require_known(settings: Settings, name: str) -> None:
    """Refuse a name that neither the checkout nor the repository knows, and list those that they do."""
    from pipelines.release.releases import open_releases

    known = usecase_names(settings.root)
    if name in known:
        return
    released = open_releases(settings).usecases()
    if name not in released:
        every = sorted({*known, *released})
        raise UsecaseUnknown(
            f"there is no use case {name!r}{did_you_mean(name, every)}", hint=f"use cases: {', '.join(every) or 'none'}"
        )


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
