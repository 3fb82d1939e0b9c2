"""The acts on releases: bump, roll back, promote. Each is one commit; what happened before is read from the history.

Trailers say in every commit what it did, for machines as for people:

    release(flight-delays): 6 → 7 in staging          rollback(flight-delays): 7 → 6 in staging

    Bento: flight-delays:7                             Bento: flight-delays:6
    Image-Digest: sha256:…                             Withdrawn: flight-delays:7
    Model: flight-delays/7                             Reverts: 5d2f…
    MLflow-Run: 0c1f…                                  Reason: roc_auc fell
    Data: 3fa9…   Code: 1a2b…   Reason: schedule
"""

from dataclasses import dataclass, replace
from typing import Literal

from pipelines.environments import DEFAULTS, Environments
from pipelines.errors import MlopsError
from pipelines.git.log import Commit
from pipelines.git.repository import GitTree, Repository
from pipelines.release.history import Deployment, History, HistoryReader, Place
from pipelines.release.release import RELEASE_PATH, Release, ReleaseInvalid, release_path
from pipelines.settings import Settings


class ReleaseWithdrawn(MlopsError):
    """This version was rolled back here, and is not released again unless forced."""


class NothingReleased(MlopsError):
    """There is no release in this environment."""


class NothingToRollBack(MlopsError):
    """There is no earlier release that could be restored."""


class AlreadyPromoted(MlopsError):
    """The environment has this release already."""


class SourceMovedOn(MlopsError):
    """The environment that is promoted from runs another release by now than the one that was seen healthy."""


class NotPromotable(MlopsError):
    """An environment that takes another one's releases only runs what that one has run, from committed code."""


@dataclass(frozen=True)
class Rollback:
    commit: str
    withdrawn: Release
    restored: Release


@dataclass(frozen=True)
class Proposal:
    """A release on a branch of its own: one commit, to be merged after review. `source`: whose release it was."""

    kind: Literal["promotion", "rollback"]
    usecase: str
    environment: str
    branch: str
    commit: str
    message: str
    diff: str
    release: Release
    current: Release | None
    source: str | None = None

    @property
    def title(self) -> str:
        return self.message.partition("\n")[0]

    @property
    def trailers(self) -> str:
        return self.message.rstrip().rpartition("\n\n")[2]

    @property
    def reason(self) -> str:
        return self.trailers.rpartition("Reason: ")[2]


@dataclass(frozen=True)
class _Restored:
    """An earlier release about to be committed again."""

    files: dict[str, str | None]
    message: str
    withdrawn: Release
    restored: Release


def open_releases(settings: Settings) -> "Releases":
    """The releases in the repository that these settings name."""
    repository = Repository(settings.remote, settings.branch, settings.home / "cache" / "releases.git")
    return Releases(repository, settings.environments)


class Releases:
    """What a repository releases, and the ways to change it."""

    def __init__(self, repository: Repository, environments: Environments = DEFAULTS) -> None:
        self.repository = repository
        self.environments = environments
        self._reader = HistoryReader(repository)

    def current(self, usecase: str, environment: str) -> Release | None:
        """What is released now; asks the remote."""
        head = self.repository.fetch()
        return _read(GitTree(self.repository, head), usecase, environment)

    def current_with_history(self, usecase: str, environment: str) -> tuple[Release | None, History]:
        """What is released now and how it came to that, by one question to the remote."""
        head = self.repository.fetch()
        return _read(GitTree(self.repository, head), usecase, environment), self._history(head, usecase, environment)

    def all(self, at: str) -> tuple[dict[Place, Release], dict[str, str]]:
        """Every release at a commit by (use case, environment), and path → problem of those that cannot be read."""
        files = {path: blob for path, blob in self.repository.files("apps", at).items() if RELEASE_PATH.match(path)}
        found, problems = {}, {}
        for path, release in self._reader.releases(files).items():
            if isinstance(release, Release):
                _, usecase, environment, _ = path.split("/")
                found[usecase, environment] = release
            else:
                problems[path] = release
        return found, problems

    def commit_of(self, at: str, release: Release, environment: str) -> Commit:
        """The commit that put the release, which is there at `at`, into this environment."""
        return self._reader.commit_of(at, release, environment)

    def usecases(self) -> list[str]:
        """The names that have a release anywhere. Asks the remote."""
        paths = self.repository.list_paths("apps", self.repository.fetch())
        return sorted({match["usecase"] for path in paths if (match := RELEASE_PATH.match(path))})

    def history(self, usecase: str, environment: str) -> list[Deployment]:
        """Every commit that changed this release, newest first. Asks the remote."""
        return list(self.read_history(usecase, environment).deployments)

    def read_history(self, usecase: str, environment: str) -> History:
        """The same, with what was taken back and what nobody can read. Asks the remote."""
        return self._history(self.repository.fetch(), usecase, environment)

    def read_histories(self, usecase: str | None = None, about: str = "") -> dict[Place, History]:
        """Those of all use cases and environments, by one look; `usecase` and `about` leave out what has nothing to do
        with a use case, or with a commit or text. Asks the remote.
        """
        return self._reader.histories(self.repository.fetch(), usecase, about)

    def find(self, usecase: str, environment: str, model: str) -> Release | None:
        """The newest release of this model version here, if it ever had one. Asks the remote."""
        return self.read_history(usecase, environment).find(model)

    def withdrawn(self, usecase: str, environment: str) -> set[str]:
        """The Bentos that were rolled back here and not released again since. Asks the remote."""
        return set(self.read_history(usecase, environment).withdrawn)

    def bump(
        self, usecase: str, environment: str, release: Release, reason: str, force: bool = False, run: str = ""
    ) -> str | None:
        """Commit this release; `run` is the pipeline run that made it. None when it is what is released already."""
        path = release_path(usecase, environment)

        def change(tree: GitTree) -> tuple[dict[str, str | None], str] | None:
            current = _read(tree, usecase, environment, tolerant=True)
            if current == release:
                return None
            if not force and release.bento in self._history(tree.sha, usecase, environment).withdrawn:
                raise ReleaseWithdrawn(
                    f"{release.bento} was rolled back in {environment} and is not released again",
                    hint="train a new version, or use --force if you are sure",
                )
            step = f"{current.version} → {release.version}" if current else f"first release, {release.version}"
            made_by = {"Run": run} if run else {}
            message = _message("release", usecase, f"{step} in {environment}", release, reason, made_by)
            return {path: release.to_yaml()}, message

        return self.repository.commit(change)

    def rollback(self, usecase: str, environment: str, reason: str) -> Rollback:
        """Commit the newest earlier release that was not itself withdrawn; again goes further back, never forward."""
        done: list[_Restored] = []

        def change(tree: GitTree) -> tuple[dict[str, str | None], str]:
            done[:] = [self._restorable(tree, usecase, environment, reason)]
            return done[0].files, done[0].message

        commit = self.repository.commit(change)
        return Rollback(commit or "", done[0].withdrawn, done[0].restored)

    def propose_rollback(self, usecase: str, environment: str, reason: str) -> Proposal:
        """Put the same commit on the branch rollback/<use case>, for an environment that only takes reviewed ones."""
        done: list[_Restored] = []

        def change(tree: GitTree) -> tuple[dict[str, str | None], str]:
            done[:] = [self._restorable(tree, usecase, environment, reason)]
            return done[0].files, done[0].message

        branch = self.environments.branch("rollback", usecase, environment)
        commit = self.repository.propose(change, branch)
        return self._proposal("rollback", usecase, environment, branch, commit, done[0].restored, done[0].withdrawn)

    def propose_promotion(
        self,
        usecase: str,
        source: str | None = None,
        target: str | None = None,
        force: bool = False,
        healthy_at: str | None = None,
    ) -> Proposal:
        """Put the source's release on a branch (promote/<use case>), as one commit on top of the main branch.

        `source` and `target` are needed where there is more than one promotion. `healthy_at`: only if it is still the
        release of that commit, at which somebody saw it healthy.
        """
        promotion = self.environments.promotion(source, target)
        source, target = promotion.promoted_from or "", promotion.name
        proposed: list[tuple[Release, Release | None]] = []

        def change(tree: GitTree) -> tuple[dict[str, str | None], str]:
            release = self._promotable(tree, usecase, source, target, force)
            if healthy_at and _read(GitTree(self.repository, healthy_at), usecase, source, tolerant=True) != release:
                raise SourceMovedOn(
                    f"{source} runs {release.bento} now, which is not what was healthy at {healthy_at[:12]}",
                    hint="its own health is told by its own rollout",
                )
            proposed[:] = [(release, _read(tree, usecase, target, tolerant=True))]
            message = _promotion_message(tree, usecase, source, target, release)
            return {release_path(usecase, target): release.to_yaml()}, message

        branch = self.environments.branch("promote", usecase, target)
        commit = self.repository.propose(change, branch)
        return replace(self._proposal("promotion", usecase, target, branch, commit, *proposed[0]), source=source)

    def merge_promotion(self, promotion: Proposal) -> str:
        """Bring a proposed release to the main branch, if its source has not taken it back; the branch goes away."""
        usecase, release, target = promotion.usecase, promotion.release, promotion.environment
        source = promotion.source or self.environments.promotion(target=target).promoted_from or ""

        def change(tree: GitTree) -> tuple[dict[str, str | None], str] | None:
            history = self._history(tree.sha, usecase, source)
            if history.release_of(release.bento) is None:
                raise NotPromotable(f"{source} has never run {release.bento}")
            if release.bento in history.withdrawn:
                raise NotPromotable(f"{release.bento} was rolled back in {source} meanwhile")
            return {release_path(usecase, target): release.to_yaml()}, _promotion_message(
                tree, usecase, source, target, release
            )

        commit = self.repository.commit(change)
        self.repository.delete_branch(promotion.branch)
        return commit or self.repository.fetch()

    def withdraw_promotion(self, usecase: str, target: str | None = None) -> None:
        """Delete a stale promotion branch; most hosts close its review by that."""
        target = self.environments.promotion(target=target).name
        self.repository.delete_branch(self.environments.branch("promote", usecase, target))

    def _proposal(
        self,
        kind: Literal["promotion", "rollback"],
        usecase: str,
        environment: str,
        branch: str,
        commit: str,
        release: Release,
        current: Release | None,
    ) -> Proposal:
        message, diff = self.repository.message(commit), self.repository.diff(f"{commit}^", commit)
        return Proposal(kind, usecase, environment, branch, commit, message, diff, release, current)

    def _restorable(self, tree: GitTree, usecase: str, environment: str, reason: str) -> "_Restored":
        current = _read(tree, usecase, environment)
        if current is None:
            raise NothingReleased(f"{usecase} has no release in {environment}")
        history = self._history(tree.sha, usecase, environment)
        bad = history.withdrawn | {current.bento}
        earlier = next((one for one in history.deployments if one.release.bento not in bad), None)
        if earlier is None:
            raise NothingToRollBack(
                f"{usecase} has no earlier release in {environment} than {current.bento}",
                hint="to stop serving it, delete its release.yaml in a commit",
            )
        trailers = {"Withdrawn": current.bento, "Reverts": history.deployments[0].commit}
        step = f"{current.version} → {earlier.release.version} in {environment}"
        message = _message("rollback", usecase, step, earlier.release, reason, trailers)
        files: dict[str, str | None] = {release_path(usecase, environment): earlier.release.to_yaml()}
        return _Restored(files, message, current, earlier.release)

    def _promotable(self, tree: GitTree, usecase: str, source: str, target: str, force: bool) -> Release:
        release = _read(tree, usecase, source)
        if release is None:
            raise NothingReleased(f"{usecase} has no release in {source}", hint=f"`mlops run {usecase}` makes one")
        if _read(tree, usecase, target, tolerant=True) == release:
            raise AlreadyPromoted(f"{target} already runs {release.bento}")
        if release.code.endswith("+dirty") and not force:
            raise NotPromotable(
                f"{release.bento} was made from uncommitted code ({release.code}), which nobody could reproduce",
                hint="commit, run the pipeline again, and promote that; or use --force",
            )
        return release

    def _history(self, at: str, usecase: str, environment: str) -> History:
        return self._reader.history(at, usecase, environment)


def _read(tree: GitTree, usecase: str, environment: str, tolerant: bool = False) -> Release | None:
    path = release_path(usecase, environment)
    text = tree.read(path)
    if text is None:
        return None
    try:
        return Release.from_yaml(text, path)
    except ReleaseInvalid:
        if tolerant:
            return None
        raise


def _promotion_message(tree: GitTree, usecase: str, source: str, target: str, release: Release) -> str:
    current = _read(tree, usecase, target, tolerant=True)
    step = f"{current.version} → {release.version}" if current else f"first release, {release.version}"
    return _message("promote", usecase, f"{step} in {target}", release, f"promotion of {source}'s release")


def _message(
    act: str, usecase: str, step: str, release: Release, reason: str, trailers: dict[str, str] | None = None
) -> str:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in release.metrics.items())
    lines = {
        "Bento": release.bento,
        "Image-Digest": release.digest,
        "Model": release.model,
        "MLflow-Run": release.run,
        "Data": release.data,
        "Code": release.code,
        **(trailers or {}),
        "Reason": " ".join(reason.split()),
    }
    body = f"{metrics}\n\n" if metrics else ""
    return f"{act}({usecase}): {step}\n\n{body}" + "\n".join(f"{key}: {value}" for key, value in lines.items()) + "\n"
