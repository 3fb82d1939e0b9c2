"""What the releases in Git need, of every use case and environment, in all of their history."""

from dataclasses import dataclass

from pipelines.embedded.state import RunFiles, run_folder
from pipelines.release.history import History
from pipelines.release.releases import open_releases
from pipelines.settings import Settings


@dataclass(frozen=True)
class Needed:
    """`runs`: MLflow run ids. `snapshots`: the hashes' first 12 digits. `images`: what may be served (again)."""

    runs: frozenset[str]
    snapshots: frozenset[str]
    images: frozenset[str]


def needed_by_releases(settings: Settings, releases_kept: int) -> Needed:
    """Ask Git, and the servers of this machine.

    A Bento counts while it is released, among the last `releases_kept` that a rollback could restore, or serves here.

    Raises what reading the repository raises.
    """
    histories = open_releases(settings).read_histories()
    released = [deployment.release for history in histories.values() for deployment in history.deployments]
    images = {image for history in histories.values() for image in _servable(history, releases_kept)}
    images.update(deployed.release.image for deployed in RunFiles(run_folder(settings.home)).all_deployed())
    return Needed(
        runs=frozenset(release.run for release in released),
        snapshots=frozenset(release.data[:12] for release in released),
        images=frozenset(images),
    )


def _servable(history: History, releases_kept: int) -> list[str]:
    """The images of what is released now, and of what rollbacks could restore."""
    releases = [deployment.release for deployment in history.deployments]
    if not releases:
        return []
    good = list(dict.fromkeys(release.image for release in releases if release.bento not in history.withdrawn))
    return [releases[0].image, *good[:releases_kept]]
