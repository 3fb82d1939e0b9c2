"""What a host of the repository offers beside Git itself: reviews before a merge, a status of a commit, pages.

A forge is one module that has this shape and a line in `pipelines.git.forges`. GitHub is the first; a plain remote,
which offers nothing, is the second: what is proposed is then merged from where it was proposed.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from pipelines.errors import MlopsError

ReviewOutcome = Literal["opened", "updated", "unchanged"]
CommitState = Literal["pending", "success", "failure", "error"]


class ForgeUnreachable(MlopsError):
    """The host's API does not answer."""


class ForgeLoginRefused(MlopsError):
    """The host does not know the token, or it may not do this."""


class ForgeRefused(MlopsError):
    """The host did not accept the request itself."""


class ForgeInvalid(MlopsError):
    """A setting about the host cannot be right."""


@dataclass(frozen=True)
class Review:
    """An open request to merge a branch."""

    number: int
    url: str
    outcome: ReviewOutcome


class Reviews(Protocol):
    """Requests to merge a branch after somebody has looked at it: pull requests, merge requests."""

    @property
    def noun(self) -> str:
        """What this host calls one, as in `pull request`."""

    @property
    def most_characters(self) -> int:
        """How long the text of one may be."""

    @property
    def token_variable(self) -> str | None:
        """The variable to set so that one can be opened from here; None where that is possible already."""

    def page_to_open(self, branch: str, base: str) -> str:
        """The page on which a person opens one by hand."""

    def ensure(self, branch: str, base: str, title: str, body: str) -> Review:
        """Open the one of this branch, or bring the open one up to date; what reviewers ticked stays ticked.

        Raises ForgeUnreachable, ForgeLoginRefused, ForgeRefused, ForgeInvalid.
        """

    def close(self, branch: str, base: str) -> int | None:
        """Close the open one of this branch unmerged; gives its number, None where there was none. Raises as above."""


class Forge(Protocol):
    """One repository on a host."""

    @property
    def name(self) -> str:
        """The host's name for people, as in `GitHub`."""

    @property
    def reviews(self) -> Reviews | None:
        """None where the host has none, and a proposal is merged from here."""

    @property
    def web(self) -> str | None:
        """The repository's page for people."""

    def commit_page(self, commit: str) -> str | None:
        """The page of a commit."""

    def compare_page(self, old: str, new: str) -> str | None:
        """The page of what changed between two commits."""

    def set_status(
        self, commit: str, state: CommitState, context: str, description: str, url: str | None = None
    ) -> bool:
        """Say beside a commit what became of it under this context; False where the host shows no such thing.

        Raises ForgeUnreachable, ForgeLoginRefused, ForgeRefused.
        """


@dataclass(frozen=True)
class PlainRemote:
    """A repository that is only that: a folder, an SSH server, a host that is not known here."""

    name: str = "the remote"
    reviews: None = None
    web: None = None

    def commit_page(self, commit: str) -> None:  # noqa: ARG002 - the shape of a forge
        return None

    def compare_page(self, old: str, new: str) -> None:  # noqa: ARG002
        return None

    def set_status(self, *_: object, **__: object) -> bool:
        return False
