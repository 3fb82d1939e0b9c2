"""What a branch's history says about its releases: who put which Bento where, when, and what was taken back.

Read in bulk (`pipelines.git.log`) and remembered for one commit, which never changes; a later one that only adds to it
costs what it adds.

What `mlops` commits says in trailers what it does. A commit by hand (an edit, `git revert`, the Revert button) says
nothing, so its file tells. It takes back what ran before it where it undoes the release before it, or puts back a Bento
that is older in this place; where it undoes a taking back, it releases again.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipelines.git.log import Commit, FileChange
from pipelines.git.process import GitFailed
from pipelines.git.repository import Repository
from pipelines.release.release import RELEASE_PATH, Release, ReleaseInvalid, release_path

DeploymentKind = Literal["release", "rollback", "promotion"]
Place = tuple[str, str]

EVERY_RELEASE = ":(glob)apps/*/*/release.yaml"
PLAIN_NAME = re.compile(r"[\w.-]+")
REVERT = 'Revert "'


@dataclass(frozen=True)
class Deployment:
    """One commit that changed what an environment runs. `withdrawn`: the Bento that it took back."""

    usecase: str
    environment: str
    commit: str
    time: datetime
    kind: DeploymentKind
    release: Release
    reason: str
    withdrawn: str | None = None


@dataclass(frozen=True)
class Unreadable:
    """A release.yaml that a commit left in a state that says nothing; the history goes on without it."""

    commit: str
    path: str
    problem: str


@dataclass(frozen=True)
class History:
    """One environment of one use case, newest first.

    `current`: what is released at the end, None without a release or after its file was deleted. `withdrawn`: the
    Bentos that were taken back and not released again since.
    """

    deployments: tuple[Deployment, ...] = ()
    current: Deployment | None = None
    withdrawn: frozenset[str] = frozenset()
    unreadable: tuple[Unreadable, ...] = ()

    def find(self, model: str) -> Release | None:
        """The newest release of this model version, if it ever had one here."""
        return next((one.release for one in self.deployments if one.release.model == model), None)

    def release_of(self, bento: str) -> Release | None:
        """The newest release of this Bento, if it ever ran here."""
        return next((one.release for one in self.deployments if one.release.bento == bento), None)


class HistoryReader:
    """Histories of one repository's branch, at commits that were fetched."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._all: tuple[str, dict[str, list[FileChange]]] | None = None
        self._one: dict[tuple[str, str], list[FileChange]] = {}
        self._releases: dict[tuple[str, str], Release | str] = {}

    def history(self, at: str, usecase: str, environment: str) -> History:
        """The history of one place up to a commit."""
        return self._derive(self._changes(at, release_path(usecase, environment)))

    def histories(self, at: str, usecase: str | None = None, about: str = "") -> dict[Place, History]:
        """Those of all places that ever had a release, or of one use case's, by (use case, environment).

        `about`: only of use cases with a release whose commit begins so, or whose file holds this text. Most files
        then need not be parsed.
        """
        changes = self._all_changes(at) if usecase is None else self._changes_of(at, usecase)
        if about:
            changes = self._about(about, changes)
        self._load(change for path in changes.values() for change in path)
        return {_place(path): self._derive(changes[path]) for path in sorted(changes)}

    def commit_of(self, at: str, release: Release, environment: str) -> Commit:
        """The commit that released this: the last that says so; others only carry it on."""
        changes = self._all_changes(at).get(release_path(release.usecase, environment))
        commits = [change.commit for change in changes] if changes else self.repository.log(at=at, limit=1)
        return next((commit for commit in commits if commit.trailers.get("Bento") == release.bento), commits[0])

    def releases(self, files: Mapping[str, str]) -> dict[str, Release | str]:
        """The releases of these files (path → blob), or why one cannot be read."""
        self._read((path, blob) for path, blob in files.items())
        return {path: self._releases[path, blob] for path, blob in files.items()}

    def _changes(self, at: str, path: str) -> list[FileChange]:
        if self._all and self._all[0] == at:
            return self._all[1].get(path, [])
        if (at, path) not in self._one:
            self._one = {key: known for key, known in self._one.items() if key[0] == at}
            self._one[at, path] = self.repository.changes([path], at=at)
        return self._one[at, path]

    def _changes_of(self, at: str, usecase: str) -> dict[str, list[FileChange]]:
        if not PLAIN_NAME.fullmatch(usecase):
            return {}
        return _by_path(self.repository.changes([f":(glob)apps/{usecase}/*/release.yaml"], at=at))

    def _about(self, about: str, changes: dict[str, list[FileChange]]) -> dict[str, list[FileChange]]:
        """All places of the use cases that can have to do with it; escapes in a file may say more than they show."""
        texts = self.repository.blobs([one.blob for path in changes.values() for one in path if one.blob])
        holding = {blob for blob, text in texts.items() if about in text or "\\" in text}
        usecases = {
            _place(one.path)[0]
            for path in changes.values()
            for one in path
            if one.blob in holding or one.commit.sha.startswith(about)
        }
        return {path: own for path, own in changes.items() if _place(path)[0] in usecases}

    def _all_changes(self, at: str) -> dict[str, list[FileChange]]:
        if self._all is None or self._all[0] != at:
            known = self._all and self._extended(*self._all, at)
            self._all = at, known or _by_path(self.repository.changes([EVERY_RELEASE], at=at))
        return self._all[1]

    def _extended(self, head: str, known: dict[str, list[FileChange]], at: str) -> dict[str, list[FileChange]] | None:
        """What is known with what came on top of it in a straight line; None where a merge brought more than that."""
        parent = at
        try:
            commits = self.repository.commits_since(head, at)
        except GitFailed:  # a branch that was set anew, of which the cache no longer has the old end
            return None
        for commit in commits:
            if commit.sha != parent or len(commit.parents) != 1:
                return None
            parent = commit.parents[0]
        if parent != head:
            return None
        added = _by_path(self.repository.changes([EVERY_RELEASE], since=head, at=at))
        return {**known, **{path: changes + known.get(path, []) for path, changes in added.items()}}

    def _load(self, changes: Iterable[FileChange]) -> None:
        self._read((change.path, blob) for change in changes for blob in (change.blob, change.before) if blob)

    def _read(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Read what is not known yet, all at once."""
        missing = [key for key in dict.fromkeys(wanted) if key not in self._releases]
        texts = self.repository.blobs([blob for _, blob in missing]) if missing else {}
        for path, blob in missing:
            self._releases[path, blob] = _release(texts.get(blob), path)

    def _derive(self, changes: list[FileChange]) -> History:
        self._load(changes)
        deployments: list[Deployment] = []
        unreadable: list[Unreadable] = []
        withdrawn: set[str] = set()
        order: dict[str, int] = {}
        last: tuple[FileChange, bool] | None = None
        for change in reversed(changes):
            now, before = self._known(change.path, change.blob), self._known(change.path, change.before)
            taken_back = _taken_back(change, before, now, last, order)
            last = change, taken_back is not None
            if taken_back:
                withdrawn.add(taken_back)
            if isinstance(now, Release):
                order.setdefault(now.bento, len(order))
                withdrawn.discard(now.bento)
                deployments.append(_deployment(change, now, taken_back))
            elif isinstance(now, str):
                unreadable.append(Unreadable(change.commit.sha, change.path, now))
                if not taken_back:
                    withdrawn.discard(change.commit.trailers.get("Bento", ""))
        return History(
            deployments=tuple(reversed(deployments)),
            current=deployments[-1] if deployments and changes[0].blob else None,
            withdrawn=frozenset(withdrawn),
            unreadable=tuple(reversed(unreadable)),
        )

    def _known(self, path: str, blob: str | None) -> Release | str | None:
        return self._releases[path, blob] if blob else None


def _taken_back(
    change: FileChange,
    before: Release | str | None,
    now: Release | str | None,
    last: tuple[FileChange, bool] | None,
    order: Mapping[str, int],
) -> str | None:
    """The Bento that this commit takes back, None where it releases something.

    `last`: the change before this one, and whether that took something back. `order`: which Bento came first here.
    """
    trailers = change.commit.trailers
    if "Withdrawn" in trailers:
        return trailers["Withdrawn"]
    by_hand = "Bento" not in trailers and len(change.commit.parents) == 1
    if not by_hand or not isinstance(before, Release):
        return None
    if now is None:  # else it is only no longer served
        return before.bento if change.commit.subject.startswith(REVERT) else None
    if not isinstance(now, Release) or now.bento == before.bento:
        return None
    if last and (last[0].blob, last[0].before) == (change.before, change.blob):
        return None if last[1] else before.bento
    is_older = order.get(now.bento, len(order)) < order.get(before.bento, -1)
    return before.bento if is_older else None


def _deployment(change: FileChange, release: Release, taken_back: str | None) -> Deployment:
    commit = change.commit
    usecase, environment = _place(change.path)
    kind: DeploymentKind = "promotion" if commit.subject.startswith("promote(") else "release"
    reason = commit.trailers.get("Reason", commit.subject)
    return Deployment(
        usecase,
        environment,
        commit.sha,
        commit.time,
        "rollback" if taken_back else kind,
        release,
        reason,
        taken_back,
    )


def _release(text: str | None, path: str) -> Release | str:
    if text is None:
        return f"{path}: its content is missing from the repository"
    try:
        return Release.from_yaml(text, path)
    except ReleaseInvalid as error:
        return error.message


def _by_path(changes: Iterable[FileChange]) -> dict[str, list[FileChange]]:
    found: dict[str, list[FileChange]] = {}
    for change in changes:
        if RELEASE_PATH.match(change.path):
            found.setdefault(change.path, []).append(change)
    return found


def _place(path: str) -> Place:
    _, usecase, environment, _ = path.split("/")
    return usecase, environment
