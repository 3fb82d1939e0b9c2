"""Run the program git: no terminal, no hooks, no signing of this machine's user; what it prints is data, not text."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.errors import MlopsError
from pipelines.git.errors import RemoteUnreachable, lock_error

TIMEOUT_SECONDS = 60
OWN_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


class GitMissing(MlopsError):
    """The git program is not installed."""


class GitFailed(MlopsError):
    """A git command failed in a way that has no error of its own."""


def run_git(
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = TIMEOUT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run git and decode what it prints; bytes that are not UTF-8 become U+FFFD, line ends stay as they are.

    Raises:
        GitMissing: there is no git.
        RemoteUnreachable: it took longer than `timeout` seconds.
        LockLeft: another git, perhaps one that was killed, holds a lock.
        GitFailed: `check` is set and the exit status is not 0.
    """
    done = run_git_bytes(
        arguments, cwd=cwd, stdin=None if stdin is None else stdin.encode(), env=env, check=check, timeout=timeout
    )
    return subprocess.CompletedProcess(done.args, done.returncode, decode(done.stdout), decode(done.stderr))


def run_git_bytes(
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = TIMEOUT_SECONDS,
) -> subprocess.CompletedProcess[bytes]:
    """The same, with what git prints as it prints it. Raises as `run_git` does."""
    command = ["git", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", *arguments]
    environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})}
    for inherited in OWN_PLACES:
        if inherited not in (env or {}):
            environment.pop(inherited, None)
    try:
        done = subprocess.run(
            command, cwd=cwd, input=stdin, env=environment, capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise GitMissing("the program git is not installed", hint="sudo apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise RemoteUnreachable(f"git {arguments[0]} did not end within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        words = decode(done.stderr).strip() or decode(done.stdout).strip()
        raise lock_error(words) or GitFailed(f"git {arguments[0]} failed: {words}")
    return done


def decode(printed: bytes) -> str:
    """What git printed as text: bytes that are not UTF-8 become U+FFFD."""
    return printed.decode("utf-8", errors="replace")
