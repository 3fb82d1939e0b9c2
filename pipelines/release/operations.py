"""Rollback, promotion and review of releases, with the registry's alias kept in step."""

import logging
from typing import TYPE_CHECKING

from pipelines.errors import MlopsError, did_you_mean
from pipelines.settings import Settings
from pipelines.usecase import UsecaseNotFound, usecase_names

if TYPE_CHECKING:
    from pipelines.environments import Environment
    from pipelines.git.forge import Forge, Review, Reviews
    from pipelines.release.release import Release
    from pipelines.release.releases import Proposal, Rollback


log = logging.getLogger(__name__)


def roll_back(settings: Settings, name: str, environment: str, reason: str) -> "Rollback":
    """Commit the release before this one, and let the registry's alias follow."""
    from pipelines.release.releases import open_releases

    require_known(settings, name)
    done = open_releases(settings).rollback(name, environment, reason)
    _let_alias_follow(settings, settings.environments.get(environment), done.restored)
    return done


def propose(
    settings: Settings,
    name: str,
    target: "Environment | None" = None,
    force: bool = False,
    healthy_at: str | None = None,
) -> "Proposal":
    """Put a use case's release on a branch for the environment that takes it (default: the only one there is)."""
    from pipelines.release.releases import open_releases

    require_known(settings, name)
    to = target or settings.environments.promotion()
    return open_releases(settings).propose_promotion(
        name, source=to.promoted_from, target=to.name, force=force, healthy_at=healthy_at
    )


def propose_rollback(settings: Settings, name: str, environment: str, reason: str) -> "Proposal":
    """Put the release before this one on a branch, for an environment that only takes what was reviewed."""
    from pipelines.release.releases import open_releases

    require_known(settings, name)
    return open_releases(settings).propose_rollback(name, environment, reason)


def merge(settings: Settings, promotion: "Proposal") -> str:
    """Merge a promotion: from now on its environment runs it."""
    from pipelines.release.releases import open_releases

    commit = open_releases(settings).merge_promotion(promotion)
    _let_alias_follow(settings, settings.environments.get(promotion.environment), promotion.release)
    return commit


def open_forge(settings: Settings) -> "Forge":
    """The host of the repository, which knows whether releases are reviewed there or merged from here."""
    from pipelines.git.forges import forge_of

    return forge_of(settings)


def request_review(settings: Settings, forge: "Forge", reviews: "Reviews", proposal: "Proposal") -> "Review":
    """Open the proposal's review, or bring the open one up to date."""
    from pipelines.release.evidence import find_evidence
    from pipelines.release.review_text import write_text

    text = write_text(proposal, find_evidence(settings, proposal.release), forge, reviews.most_characters)
    return reviews.ensure(proposal.branch, settings.branch, proposal.title, text)


def settle(settings: Settings, name: str, target: "Environment") -> None:
    """The target runs its source's release: no proposal is left over, and the registry's alias says so."""
    from pipelines.release.releases import open_releases

    releases = open_releases(settings)
    _close_review(settings, settings.environments.branch("promote", name, target.name))
    releases.withdraw_promotion(name, target.name)
    current = releases.current(name, target.name)
    if current:
        _let_alias_follow(settings, target, current)


def _close_review(settings: Settings, branch: str) -> None:
    """Some hosts keep a review open whose branch is gone; where closing it fails, the branch goes all the same."""
    reviews = open_forge(settings).reviews
    if reviews is None or reviews.token_variable is not None:
        return
    try:
        reviews.close(branch, settings.branch)
    except MlopsError as error:
        log.warning("the %s of %s may still be open: %s", reviews.noun, branch, error.message)


def _let_alias_follow(settings: Settings, environment: "Environment", release: "Release") -> None:
    """The commit is what counts, so a registry that is away is a warning."""
    from pipelines.registry.mlflow import RegistryUnavailable, set_alias
    from pipelines.runs.answering import require_answer
    from pipelines.runs.tracking import TrackingUnavailable

    alias = environment.alias
    name, version = release.model.split("/")
    try:
        require_answer(settings.tracking_uri)
        set_alias(settings.tracking_uri, name, alias, version)
    except (RegistryUnavailable, TrackingUnavailable) as error:
        log.warning("the alias %s in MLflow stays where it was: %s", alias, error.message)


def require_known(settings: Settings, name: str) -> None:
    """Refuse a name that neither the checkout nor the repository knows, and list those that they do."""
    from pipelines.release.releases import open_releases

    known = usecase_names(settings.root)
    if name in known:
        return
    released = open_releases(settings).usecases()
    if name not in released:
        every = sorted({*known, *released})
        raise UsecaseNotFound(
            f"there is no use case {name!r}{did_you_mean(name, every)}", hint=f"use cases: {', '.join(every) or 'none'}"
        )
