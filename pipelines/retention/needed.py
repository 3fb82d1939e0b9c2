"""What the releases in Git need, of every use case and environment, in all of their history."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.embedded.state import RunFiles, run_folder
from pipelines.release.release import Release
from pipelines.release.releases import Releases, open_releases
from pipelines.settings import ENVIRONMENTS, Settings


@dataclass(frozen=True)
class Needed:
    """`runs`: MLflow run ids. `snapshots`: the hashes' first 12 digits. `images`: what may be served (again)."""

    runs: frozenset[str]
    snapshots: frozenset[str]
    images: frozenset[str]


def needed_by_releases(settings: Settings, usecases: Iterable[str], releases_kept: int) -> Needed:
    """Ask Git, and the servers of this machine.

    `usecases`: names that have something in a store, so that one whose folder was deleted is found too. A Bento counts
    while it is released, among the last `releases_kept` that a rollback could restore, or serves here.

    Raises what reading the repository raises.
    """
    releases = open_releases(settings)
    released: list[Release] = []
    images: set[str] = set()
    for usecase in sorted({*releases.usecases(), *usecases}):
        for environment in ENVIRONMENTS:
            history = [deployment.release for deployment in releases.history(usecase, environment)]
            released += history
            images.update(_servable(releases, usecase, environment, history, releases_kept))
    images.update(deployed.release.image for deployed in RunFiles(run_folder(settings.home)).all_deployed())
    return Needed(
        runs=frozenset(release.run for release in released),
        snapshots=frozenset(release.data[:12] for release in released),
        images=frozenset(images),
    )


def _servable(
    releases: Releases, usecase: str, environment: str, history: list[Release], releases_kept: int
) -> list[str]:
    """The images of what is released now, and of what rollbacks could restore."""
    if not history:
        return []
    withdrawn = releases.withdrawn(usecase, environment)
    good = list(dict.fromkeys(release.image for release in history if release.bento not in withdrawn))
    return [history[0].image, *good[:releases_kept]]
