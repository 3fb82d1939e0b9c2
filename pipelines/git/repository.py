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
from pipelines.git.credentials import Access
from pipelines.git.errors import BranchMissing, PushDenied, RemoteUnreachable, explain, may_pass

__all__ = ["BranchMissing", "GitFailed", "GitMissing", "PushDenied", "PushRejected", "RemoteUnreachable", "Repository"]

ATTEMPTS = 12
SECOND_CHANCES = 3
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
TIMEOUT_SECONDS = 60
REMOTE_TIMEOUT_SECONDS = 600  # a first fetch brings the whole history; a stalled line is given up after 30 s
STALLED = {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "30"}
SEPARATOR, END = "\x1f", "\x1e"

Files = Mapping[str, str | None]
Change = Callable[["Tree"], tuple[Files, str] | None]


class GitMissing(MlopsError):
    """The git program is not installed."""


class GitFailed(MlopsError):
    """A git command failed in a way that has no error of its own."""


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
    timeout: float = TIMEOUT_SECONDS,
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
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise GitMissing("the program git is not installed", hint="sudo apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise RemoteUnreachable(f"git {arguments[0]} did not end within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        raise GitFailed(f"git {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done


class Repository:
    """One branch of a remote repository (a path or any URL git knows), seen through a private bare cache.

    Name, token and key are those of `pipelines.git.credentials`.
    """

    def __init__(self, remote: str, branch: str, cache: Path) -> None:
        self.remote = remote
        self.branch = branch
        self.cache = cache

    def remote_head(self) -> str | None:
        """The branch's commit on the remote now; None when it has no such branch. Costs one ls-remote."""
        done = self._remote(["ls-remote", self.remote, f"refs/heads/{self.branch}"], cwd=None)
        return done.stdout.split()[0] if done.stdout.strip() else None

    def fetch(self, branch: str | None = None) -> str:
        """Bring the branch (default: the main one) into the cache; gives its commit."""
        self._ensure_cache()
        tracking = f"refs/remotes/upstream/{branch or self.branch}"
        ref = f"+refs/heads/{branch or self.branch}:{tracking}"
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
                raise BranchMissing(f"{self.remote} has no branch {branch or self.branch!r}")
            raise explain(self.remote, done.stderr, writing=False)
        return self._git(["rev-parse", tracking]).stdout.strip()

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
        form = SEPARATOR.join(["%H", "%P", "%ct", "%an", "%s", "%(trailers:only,unfold)"]) + END
        start = at or self._tracking
        # --full-history: a merge that keeps one side's file must not hide the commits that wrote the other.
        # --date-order: never a commit before one that it stands on, whatever the clocks of those who made them say.
        where = ["--full-history", "--date-order", start, "--", path] if path else [start]
        listed = self._git(["log", f"--format={form}", *([f"-{limit}"] if limit else []), *where]).stdout.split(END)
        commits = [_parse_commit(entry) for entry in listed if entry.strip()]
        if not path or all(len(parents) < 2 for _, parents in commits):
            return [commit for commit, _ in commits]
        writing = self._merges_that_write(start, path)
        return [commit for commit, parents in commits if len(parents) < 2 or commit.sha in writing]

    def _merges_that_write(self, start: str, path: str) -> set[str]:
        """Merges whose file is that of none of their parents; others only carry a commit that is listed itself."""
        asked = ["log", "--full-history", "--merges", "-c", "--name-only", "--format=%x1e%H", start, "--", path]
        found = (entry.split() for entry in self._git(asked).stdout.split(END))
        return {words[0] for words in found if len(words) > 1}

    def message(self, commit: str) -> str:
        return self._git(["log", "-1", "--format=%B", commit]).stdout.strip()

    def diff(self, old: str, new: str) -> str:
        return self._git(["diff", "--no-color", old, new]).stdout

    def commit(self, change: Change) -> str | None:
        """Fetch, ask `change` for new contents and message at that commit, commit, push; again if others were faster.

        `change` gives None, or the contents that are there already, for "nothing to do": then no commit is made. A
        content of None removes the file.
        """
        made = None
        for _ in _attempts(self.remote, self.branch):
            head = self.fetch()
            if made and self._contains(head, made):
                return made  # the push had landed, and only the answer to it was lost
            asked = change(Tree(self, head))
            files = {path: text for path, text in asked[0].items() if self.read(path, head) != text} if asked else {}
            if asked is None or not files:
                return None
            made = self._make_commit(head, files, asked[1], [head])
            if self._push(made, self.branch):
                return made
        raise AssertionError  # _attempts has raised

    def propose(self, change: Change, branch: str) -> str:
        """Put the change as one commit on a branch of its own; a branch that proposes just this stays as it is."""
        for _ in _attempts(self.remote, branch):
            head, before = self.fetch(), self._branch(branch)
            asked = change(Tree(self, head))
            if asked is None:
                raise ValueError("a proposal must propose something")
            files, message = asked
            if before and self._proposes(before, head, files, message):
                return before
            made = self._make_commit(head, files, message, [head])
            if self._push(made, branch, instead_of=before or ""):
                return made
        raise AssertionError  # _attempts has raised

    def push_ref(self, sha: str, branch: str) -> bool:
        """Move a branch of the remote forward to a commit of the cache; False when others were faster."""
        return self._push(sha, branch)

    def require_writable(self) -> None:
        """Find out before hours of work whether the branch is there and this login may push; hooks are not asked."""
        head = self.fetch()
        self._remote(["push", "--quiet", "--dry-run", self.remote, f"{head}:refs/heads/{self.branch}"])

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
        access = Access.load()
        sign = ["-S"] if access.is_somebody and self._signs() else []
        arguments = ["commit-tree", *sign, tree, *(part for parent in parents for part in ("-p", parent))]
        return self._git(arguments, stdin=message, env=access.identity()).stdout.strip()

    def _signs(self) -> bool:
        """Whether git config says that commits are signed; who signs, and with what, stands there too."""
        asked = ["config", "--type=bool", "--get", "commit.gpgsign"]
        # Not by run_git, which switches signing off for git's own commands.
        done = subprocess.run(["git", *asked], cwd=self.cache, capture_output=True, text=True, check=False)
        return done.stdout.strip() == "true"

    def _branch(self, branch: str) -> str | None:
        """Another branch's commit, brought into the cache; None when the remote has no such branch."""
        try:
            return self.fetch(branch)
        except BranchMissing:
            return None

    def _contains(self, head: str, commit: str) -> bool:
        return self._git(["merge-base", "--is-ancestor", commit, head], check=False).returncode == 0

    def _proposes(self, before: str, head: str, files: Files, message: str) -> bool:
        """Whether merging `before` would change just these files, and from what the main branch has now."""
        found = self._git(["merge-base", before, head], check=False).stdout.strip()
        if not found or self.message(before) != message.strip():
            return False
        changed = self._git(["diff", "--name-only", "-z", found, before]).stdout
        return {path for path in changed.split("\0") if path} == set(files) and all(
            self.read(path, before) == text and self.read(path, found) == self.read(path, head)
            for path, text in files.items()
        )

    def _push(self, sha: str, branch: str, instead_of: str | None = None) -> bool:
        """False when others were faster. With `instead_of` the branch is set anew, if that is what it still is."""
        lease = [] if instead_of is None else [f"--force-with-lease=refs/heads/{branch}:{instead_of}"]
        refspec = f"{sha}:refs/heads/{branch}"
        done = self._remote(["push", "--quiet", "--porcelain", *lease, self.remote, refspec], check=False)
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
        raise explain(self.remote, told, writing=True)

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
        access = Access.load()
        pause = 1.0
        for chance in range(SECOND_CHANCES):
            with access.environment(self.remote) as env:
                done = run_git(
                    arguments,
                    cwd=self.cache if cwd is not None else None,
                    env={**STALLED, **env},
                    check=False,
                    timeout=REMOTE_TIMEOUT_SECONDS,
                )
            done.stderr, done.stdout = access.without_token(done.stderr), access.without_token(done.stdout)
            if done.returncode == 0 or chance == SECOND_CHANCES - 1 or not may_pass(done.stderr):
                break
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
            pause *= 2
        if check and done.returncode != 0:
            raise explain(self.remote, done.stderr + done.stdout, writing=arguments[0] == "push")
        return done


def _attempts(remote: str, branch: str) -> Iterator[int]:
    """Try, wait a little longer each time, and in the end give up."""
    pause = FIRST_PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE)
        yield attempt
    raise PushRejected(
        f"{remote} got other commits on {branch} before ours {ATTEMPTS} times in a row",
        hint="try again; if it goes on, look for a process that pushes all the time",
    )


def _parse_commit(entry: str) -> tuple[Commit, list[str]]:
    """The commit and its parents."""
    sha, parents, seconds, author, subject, trailers = entry.strip("\n").split(SEPARATOR)
    pairs = (line.split(": ", 1) for line in trailers.splitlines() if ": " in line)
    time_ = datetime.fromtimestamp(int(seconds), UTC)
    return Commit(sha, time_, author, subject, dict(pairs)), parents.split()  # type: ignore[arg-type]
