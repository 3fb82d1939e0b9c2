"""What git's words mean when a remote says no, or the disk does: one error each, with what to do next."""

import os
import re
from dataclasses import dataclass

from pipelines.errors import MlopsError


class RemoteUnreachable(MlopsError):
    """The remote repository is not there, or does not answer."""


class RepositoryMissing(RemoteUnreachable):
    """The host answers, but has no such repository, or does not show it to this login."""


class BranchMissing(MlopsError):
    """The remote repository has no such branch."""


class LoginRefused(MlopsError):
    """The remote wants a login, or does not take the one it got."""


class HostKeyUnknown(MlopsError):
    """The SSH host is not one that this machine was told to trust, or no longer the same."""


class PushDenied(MlopsError):
    """The remote refused the push: a hook, a rule of the host."""


class BranchProtected(PushDenied):
    """The branch only takes what was reviewed."""


class ReadOnlyLogin(PushDenied):
    """The login may read the repository and not write to it."""


class LockLeft(MlopsError):
    """Another git holds a lock file, or one that was killed has left it."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is there: another git is at work, or one that was killed has left it",
            hint="if `ps` shows no git at work on this repository, remove that file",
        )
        self.path = path


@dataclass(frozen=True)
class _Meaning:
    """Words of git, ssh, GitHub, GitLab or Gitea, and what they say. The first meaning that fits counts."""

    words: tuple[str, ...]
    error: type[MlopsError]
    told: str
    hint: str


MEANINGS = (
    _Meaning(
        ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
        HostKeyUnknown,
        "has another SSH host key than the one trusted so far; nothing was sent",
        "ask its operators whether the key was changed; only then replace its line in known_hosts",
    ),
    _Meaning(
        ("Host key verification failed", "authenticity of host"),
        HostKeyUnknown,
        "is not among the SSH hosts to trust; nothing was sent",
        "compare the fingerprint that its operators publish, then put the key into known_hosts: "
        "`ssh-keyscan HOST`, MLOPS_GIT_KNOWN_HOSTS",
    ),
    _Meaning(
        ("UNPROTECTED PRIVATE KEY FILE", "bad permissions"),
        LoginRefused,
        "was not tried, because others on this machine may read the SSH key",
        "chmod 600 the file in MLOPS_GIT_SSH_KEY (in a pod: defaultMode 0400 and fsGroup)",
    ),
    _Meaning(
        (
            "protected branch",
            "GH006",
            "GH013",
            "must be made through a pull request",
            "only be modified through pull requests",
            "must use a pull request",
        ),
        BranchProtected,
        "protects this branch",
        "for staging, let the release login push: in GitHub's ruleset put the app or deploy key on the bypass list, in "
        "GitLab allow it under protected branches. Production goes by pull request: see docs/releases.md",
    ),
    _Meaning(
        (
            "marked as read only",
            "Write access to repository not granted",
            "Permission to ",
            "insufficient permission",
            "unable to create temporary object directory",
        ),
        ReadOnlyLogin,
        "does not let this login write",
        "give the token `contents: write`, or the deploy key write access",
    ),
    _Meaning(
        ("hook declined", "remote rejected"), PushDenied, "refused the commit", "its hook or rule says why, above"
    ),
    _Meaning(
        (
            "Repository not found",
            "repository not found",
            "' not found",
            "does not appear to be a git repository",
            "error: 404",
        ),
        RepositoryMissing,
        "is no repository, or none that this login may see",
        "is MLOPS_REMOTE right, and was the token or key given access to it?",
    ),
    _Meaning(
        ("could not read Username", "could not read Password", "terminal prompts disabled"),
        LoginRefused,
        "wants a login",
        "give MLOPS_GIT_TOKEN or MLOPS_GIT_TOKEN_FILE, or use an SSH remote with MLOPS_GIT_SSH_KEY",
    ),
    _Meaning(
        (
            "Authentication failed",
            "Invalid username or",
            "Permission denied (",
            "error: 401",
            "HTTP Basic: Access denied",
        ),
        LoginRefused,
        "refused the login",
        "has the token expired, or does the host not know the SSH key? See MLOPS_GIT_TOKEN and MLOPS_GIT_SSH_KEY",
    ),
)
LOCK_PATTERN = re.compile(r"Unable to create '(?P<path>[^'\n]+\.lock)': File exists")
DAMAGE = re.compile(
    r"^(?!remote:).*(is corrupt|object file \S+ is empty|inflate: |bad object refs/|not a git repository"
    r"|unable to read tree|unable to read sha1|bad tree object|unable to parse commit|could not parse commit"
    r"|packfile \S+ (is invalid|cannot be)|does not match index|bad config line|unable to unpack"
    r"|did not send all necessary objects|appears to be broken|does not point to a valid object)",
    re.MULTILINE,
)
FORBIDDEN = "error: 403"
TRANSIENT = (
    "error: 429", "error: 500", "error: 502", "error: 503", "error: 504", "HTTP 429", "HTTP 50",
    "early EOF", "unexpected disconnect", "Connection reset", "Empty reply", "timed out", "hung up unexpectedly",
    "Temporary failure in name resolution",
)  # fmt: skip


def explain(remote: str, told: str, *, writing: bool) -> MlopsError:
    """The error for what git printed."""
    words = "; ".join(line.strip() for line in told.splitlines() if line.strip())
    said = told.replace(remote.rstrip("/"), "")
    for meaning in MEANINGS:
        if any(word in said for word in meaning.words):
            return meaning.error(f"{remote} {meaning.told}: {words}", hint=meaning.hint)
    if FORBIDDEN in said and writing:
        hint = "give the token `contents: write` for this repository"
        return ReadOnlyLogin(f"{remote} does not let this login write: {words}", hint=hint)
    if FORBIDDEN in said:
        return LoginRefused(f"{remote} forbids this login to read: {words}", hint="give the token access to it")
    return RemoteUnreachable(f"{remote} cannot be reached: {words}", hint="is MLOPS_REMOTE right and the network up?")


def may_pass(told: str) -> bool:
    """Whether it may go better a moment later: the host is busy, the line broke."""
    return any(word in told for word in TRANSIENT)


def lock_error(told: str) -> LockLeft | None:
    """The error that names the lock file in git's way, None when it was something else."""
    found = LOCK_PATTERN.search(told)
    return LockLeft(os.path.normpath(found["path"])) if found else None


def is_damage(told: str) -> bool:
    """Whether a repository's own files are broken, so that asking again gives the same answer."""
    return DAMAGE.search(told) is not None
