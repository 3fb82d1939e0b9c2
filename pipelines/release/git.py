"""Commits to a Git repository, made without a checkout.

Blobs, a temporary index, a tree and a commit are made in a private bare cache and pushed as one reference update.
A process killed at any point leaves the remote as it was, or fully updated; the user's own checkout is never touched.
"""

import contextlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import MlopsError

ATTEMPTS = 12
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
TIMEOUT_SECONDS = 60
AUTHOR = {"name": "mlops", "email": "mlops@localhost"}
SEPARATOR, END = "\x1f", "\x1e"

Files = Mapping[str, str | None]


class GitMissing(MlopsError):
    """The git program is not installed."""


class GitFailed(MlopsError):
    """A git command failed in a way that has no error of its own."""


class RemoteUnreachable(MlopsError):
    """The remote repository is not there, or does not answer."""


class BranchMissing(MlopsError):
    """The remote repository has no such branch."""


class PushDenied(MlopsError):
    """The remote refused the push: no permission, a hook, a protected branch."""


class PushRejected(MlopsError):
    """Others pushed first, again and again."""


@dataclass(frozen=True)
class Commit:
    """One commit, with its trailers (`Bento: flight-delays:7`) apart."""

    sha: str
    time: datetime
    author: str
    subject: str
    trailers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    """The repository's files as they are at one commit."""

    repository: "Repository"
    sha: str

    def read(self, path: str) -> str | None:
        return self.repository.read(path, self.sha)

    def paths(self, prefix: str = "") -> list[str]:
        return self.repository.list_paths(prefix, self.sha)


def run_git(
    arguments: list[str],
    *,
    cwd: Path | None = None,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run git without a terminal, hooks or signing of this machine's user."""
    command = ["git", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", *arguments]
    environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})}
    for inherited in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        if inherited not in (env or {}):
            environment.pop(inherited, None)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise GitMissing("the program git is not installed", hint="sudo apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise RemoteUnreachable(f"git {arguments[0]} did not end within {TIMEOUT_SECONDS} s") from None
    if check and done.returncode != 0:
        raise GitFailed(f"git {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done


class Repository:
    """One branch of a remote repository (a path or any URL git knows), seen through a private bare cache.

    A token in MLOPS_GIT_TOKEN is handed to https remotes through the environment of git, never by an argument.
    """

    def __init__(self, remote: str, branch: str, cache: Path) -> None:
        self.remote = remote
        self.branch = branch
        self.cache = cache

    def remote_head(self) -> str | None:
        """The branch's commit on the remote now; None when it has no such branch. Costs one ls-remote."""
        done = self._remote(["ls-remote", self.remote, f"refs/heads/{self.branch}"], cwd=None)
        return done.stdout.split()[0] if done.stdout.strip() else None

    def fetch(self) -> str:
        """Bring the branch into the cache; gives its commit."""
        self._ensure_cache()
        ref = f"+refs/heads/{self.branch}:{self._tracking}"
        for _ in range(ATTEMPTS):
            # --update-shallow: an origin made from a shallow clone is one itself.
            options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow"]
            done = self._remote(["fetch", *options, self.remote, ref], check=False)
            # Another process that shares this cache moved the reference meanwhile: what it brought is as good.
            if done.returncode == 0 or "cannot lock ref" not in done.stderr:
                break
            time.sleep(FIRST_PAUSE * random.random())  # noqa: S311 - jitter
        if done.returncode != 0:
            if "couldn't find remote ref" in done.stderr:
                raise BranchMissing(f"{self.remote} has no branch {self.branch!r}")
            self._explain(done)
        return self._git(["rev-parse", self._tracking]).stdout.strip()

    def read(self, path: str, at: str | None = None) -> str | None:
        """A file's text at a commit (default: the last one fetched), None when it is not there."""
        done = self._git(["cat-file", "blob", f"{at or self._tracking}:{path}"], check=False)
        return done.stdout if done.returncode == 0 else None

    def list_paths(self, prefix: str = "", at: str | None = None) -> list[str]:
        """Every file below the prefix at a commit."""
        listed = self._git(
            ["ls-tree", "-r", "-z", "--name-only", at or self._tracking, "--", *([prefix] if prefix else [])]
        )
        return [path for path in listed.stdout.split("\0") if path]

    def log(self, path: str | None = None, at: str | None = None, limit: int | None = None) -> list[Commit]:
        """The commits that changed the path (or all), newest first."""
        form = SEPARATOR.join(["%H", "%ct", "%an", "%s", "%(trailers:only,unfold)"]) + END
        # --full-history: a merge that keeps one side's file must not hide the commit that wrote it.
        arguments = ["log", f"--format={form}", *([f"-{limit}"] if limit else []), at or self._tracking]
        if path:
            arguments += ["--", path]
        return [_parse_commit(entry) for entry in self._git(arguments).stdout.split(END) if entry.strip()]

    def diff(self, old: str, new: str) -> str:
        return self._git(["diff", "--no-color", old, new]).stdout

    def commit(
        self,
        change: Callable[[Tree], tuple[Files, str] | None],
        *,
        branch: str | None = None,
        parents: Callable[[Tree], list[str]] | None = None,
    ) -> str | None:
        """Fetch, ask `change` for new contents and message at that commit, commit, push; again if others were faster.

        `change` gives None, or the contents that are there already, for "nothing to do": then no commit is made. A
        content of None removes the file. With `branch` the commit goes to that branch, anew on top of the main one.
        """
        target = branch or self.branch
        pause = FIRST_PAUSE
        for _ in range(ATTEMPTS):
            head = self.fetch()
            tree = Tree(self, head)
            asked = change(tree)
            if asked is None:
                return None
            files, message = asked
            files = {path: text for path, text in files.items() if self.read(path, head) != text}
            if not files:
                return None
            made = self._make_commit(head, files, message, parents(tree) if parents else [head])
            if self._push(made, target, force=branch is not None):
                return made
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE)
        raise PushRejected(
            f"{self.remote} got other commits on {target} before ours {ATTEMPTS} times in a row",
            hint="try again; if it goes on, look for a process that pushes all the time",
        )

    def push_ref(self, sha: str, branch: str) -> bool:
        """Move a branch of the remote forward to a commit of the cache; False when others were faster."""
        return self._push(sha, branch, force=False)

    def delete_branch(self, branch: str) -> None:
        self._remote(["push", "--quiet", self.remote, f":refs/heads/{branch}"], check=False)

    def _make_commit(self, head: str, files: Files, message: str, parents: list[str]) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            env = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._git(["read-tree", head], env=env)
            lines = ""
            for path, text in files.items():
                blob = (
                    self._git(["hash-object", "-w", "--stdin"], stdin=text).stdout.strip()
                    if text is not None
                    else "0" * 40
                )
                lines += f"{'0' if text is None else '100644'} {blob}\t{path}\n"
            self._git(["update-index", "--add", "--index-info"], stdin=lines, env=env)
            tree = self._git(["write-tree"], env=env).stdout.strip()
        return self.make_commit_of_tree(tree, parents, message)

    def make_commit_of_tree(self, tree: str, parents: list[str], message: str) -> str:
        identity = {
            f"GIT_{role}_{key.upper()}": value for role in ("AUTHOR", "COMMITTER") for key, value in AUTHOR.items()
        }
        arguments = ["commit-tree", tree, *(part for parent in parents for part in ("-p", parent))]
        return self._git(arguments, stdin=message, env=identity).stdout.strip()

    def _push(self, sha: str, branch: str, force: bool) -> bool:
        refspec = f"{'+' if force else ''}{sha}:refs/heads/{branch}"
        done = self._remote(["push", "--quiet", "--porcelain", self.remote, refspec], check=False)
        if done.returncode == 0:
            return True
        told = done.stdout + done.stderr
        lost_the_race = (
            "non-fast-forward",
            "fetch first",
            "cannot lock ref",
            "failed to update ref",
            "stale info",
            "incorrect old value",
        )
        if any(reason in told for reason in lost_the_race):
            return False
        self._explain(done)
        return False

    @property
    def _tracking(self) -> str:
        return f"refs/remotes/upstream/{self.branch}"

    def _ensure_cache(self) -> None:
        if (self.cache / "HEAD").is_file():
            return
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache.parent) as scratch:
            made = Path(scratch) / "cache.git"
            run_git(["init", "--quiet", "--bare", str(made)])
            with contextlib.suppress(OSError):  # another process was faster: its cache is as good
                made.rename(self.cache)

    def _git(
        self,
        arguments: list[str],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        self._ensure_cache()
        return run_git(arguments, cwd=self.cache, stdin=stdin, env=env, check=check)

    def _remote(
        self, arguments: list[str], *, cwd: Path | None = Path(), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command that talks to the remote; its failures are told as what they mean."""
        with _token_environment() as env:
            done = run_git(arguments, cwd=self.cache if cwd is not None else None, env=env, check=False)
        if check and done.returncode != 0:
            self._explain(done)
        return done

    def _explain(self, done: subprocess.CompletedProcess[str]) -> None:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        told = "; ".join(lines)
        denied = (
            "permission",
            "denied",
            "Authentication",
            "declined",
            "protected",
            "could not read Username",
            "403",
            "401",
        )
        if any(word in told for word in denied):
            raise PushDenied(
                f"{self.remote} refused: {told}",
                hint="look at the hook or branch protection, and at the SSH key or MLOPS_GIT_TOKEN used here",
            )
        raise RemoteUnreachable(
            f"{self.remote} cannot be reached: {told}", hint="is MLOPS_REMOTE right and the network up?"
        )


@contextlib.contextmanager
def _token_environment() -> Iterator[dict[str, str]]:
    """Git asks for the password by a helper that prints a variable: the token is in no argument, log or file."""
    if not os.environ.get("MLOPS_GIT_TOKEN"):
        yield {}
        return
    with tempfile.TemporaryDirectory() as scratch:
        helper = Path(scratch) / "askpass"
        helper.write_text(
            '#!/bin/sh\ncase "$1" in Username*) echo x-access-token;; *) printf "%s\\n" "$MLOPS_GIT_TOKEN";; esac\n'
        )
        helper.chmod(0o700)
        yield {"GIT_ASKPASS": str(helper)}


def _parse_commit(entry: str) -> Commit:
    sha, seconds, author, subject, trailers = entry.strip("\n").split(SEPARATOR)
    pairs = (line.split(": ", 1) for line in trailers.splitlines() if ": " in line)
    return Commit(sha, datetime.fromtimestamp(int(seconds), UTC), author, subject, dict(pairs))  # type: ignore[arg-type]
