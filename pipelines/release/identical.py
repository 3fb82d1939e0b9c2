"""A model that is the same to the byte as one released before is that one: it gets no version and no commit of its own.

The same means: the same data, and the same content (`package.content_of`). A nightly run over data that did not change
would otherwise roll out a version every night, and a model that was taken back would return under a new number.
"""

from collections.abc import Callable

from pipelines.release.release import Release
from pipelines.release.releases import Releases, ReleaseWithdrawn

DIRTY = "+dirty"


def find_twin(
    releases: Releases,
    usecase: str,
    environment: str,
    candidate: tuple[str, str, str],
    content_of: Callable[[str], str | None],
    force: bool,
) -> Release | None:
    """What runs in this environment, or was taken back there, and is the same as the candidate (content, data, code).

    Raises ReleaseWithdrawn for one that was taken back; with `force` that one is released again.
    """
    content, data, code = candidate
    current, history = releases.current_with_history(usecase, environment)
    withdrawn = history.withdrawn
    known = [one for one in (current, *(history.release_of(bento) for bento in sorted(withdrawn))) if one]
    for release in known:
        if release.data != data or content_of(release.model) != content:
            continue
        if release.bento in withdrawn and not force:
            raise ReleaseWithdrawn(
                f"this model is the same to the byte as {release.bento}, which was rolled back in {environment}",
                hint="train on other data or with other code, or start a run with --force if you are sure",
            )
        # What was made from uncommitted code cannot go to production; made again from a commit, it can.
        if release.code.endswith(DIRTY) and not code.endswith(DIRTY):
            continue
        return release
    return None
