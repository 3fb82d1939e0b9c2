"""Commits to a Git repository, made without a checkout.

Blobs, a temporary index, a tree and a commit are made in a private bare cache and pushed as one reference update.
A process killed at any point leaves the remote as it was, or fully updated; the user's own checkout is never touched.
"""

import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bento.backoff import Backoff
from pipelines.errors import MlopsError
from pipelines.git.cache import (
    KEEP_PACKS,
    ensure_cache,
    is_private,
    is_stale,
    pack_cache,
    remove_cache,
    remove_stale_lock,
)
from pipelines.git.credentials import GitAccess
from pipelines.git.errors import BranchMissing, explain, is_damage, lock_error, may_pass
from pipelines.git.log import Commit, FileChange, read_blobs, read_changes, read_commits, read_subjects
from pipelines.git.process import GitFailed, decode, run_git

ATTEMPTS = 12
SECOND_CHANCES = 3
PUSH_PAUSES = Backoff(first=0.05, longest=2.0, jitter=0.5)
REMOTE_PAUSES = Backoff(first=1.0, jitter=0.5)
CACHE_PAUSES = Backoff(first=0.025, longest=0.025, jitter=1.0)
REMOTE_TIMEOUT_SECONDS = 600  # a first fetch brings the whole history; a stalled line is given up after 30 s
STALLED = {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "30"}

T = TypeVar("T")
FileChanges = Mapping[str, str | None]
CommitChange = Callable[["GitTree"], tuple[FileChanges, str] | None]


class PushRejected(MlopsError):
    """Others pushed first, again and again."""


@dataclass(frozen=True)
class GitTree:
    """The repository's files as they are at one commit."""

    repository: "Repository"
    sha: str

    def read(self, path: str) -> str | None:
        return self.repository.read(path, self.sha)

    def paths(self, prefix: str = "") -> list[str]:
        return self.repository.list_paths(prefix, self.sha)


class Repository:
    """One branch of a remote repository (a path or any URL git knows), seen through a private bare cache.

    Name, token and key are those of `pipelines.git.credentials`.
    """

    def __init__(self, remote: str, branch: str, cache: Path) -> None:
        self.remote = remote
        self.branch = branch
        self.cache = cache
        self._remade = False

    def remote_head(self) -> str | None:
        """The branch's commit on the remote now; None when it has no such branch. Costs one ls-remote."""
        done = self._remote(["ls-remote", self.remote, f"refs/heads/{self.branch}"], cwd=None)
        return done.stdout.split()[0] if done.stdout.strip() else None

    def fetch(self, branch: str | None = None) -> str:
        """Bring the branch (default: the main one) into the cache; gives its commit.

        Raises:
            BranchMissing: the remote has no such branch.
            LockLeft: a lock in the cache that is not old enough to be anybody's no more.
            RemoteUnreachable, LoginRefused, …: what `pipelines.git.errors` knows a remote to say.
        """
        ensure_cache(self.cache)
        tracking = f"refs/remotes/upstream/{branch or self.branch}"
        done = self._fetch(f"+refs/heads/{branch or self.branch}:{tracking}")
        if done.returncode != 0 and is_damage(done.stderr) and self._remove_cache():
            return self.fetch(branch)
        if done.returncode != 0:
            if "couldn't find remote ref" in done.stderr:
                raise BranchMissing(f"{self.remote} has no branch {branch or self.branch!r}")
            raise lock_error(done.stderr) or explain(self.remote, done.stderr, writing=False)
        pack_cache(self.cache)
        return self._git(["rev-parse", tracking]).stdout.strip()

    def _fetch(self, refspec: str) -> subprocess.CompletedProcess[str]:
        # --update-shallow: an origin made from a shallow clone is one itself.
        options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow"]
        for _ in CACHE_PAUSES.attempts(ATTEMPTS):
            done = self._remote([*KEEP_PACKS, "fetch", *options, self.remote, refspec], check=False)
            lock = lock_error(done.stderr)
            if lock and remove_stale_lock(lock.path, self.cache):
                continue
            # Another process that shares this cache moved the reference meanwhile: what it brought is as good.
            if done.returncode == 0 or not (lock or "cannot lock ref" in done.stderr):
                break
        return done

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
        start = [*([f"-{limit}"] if limit else []), at or self._tracking]
        if path is None:
            return self._mended(lambda: read_commits(self.cache, start))
        return [change.commit for change in self._mended(lambda: read_changes(self.cache, start, [path]))]

    def changes(self, paths: Sequence[str], since: str | None = None, at: str | None = None) -> list[FileChange]:
        """What each commit did to the files that the pathspecs name, newest first; `since` leaves its own past out."""
        revisions = [at or self._tracking, *([f"^{since}"] if since else [])]
        return self._mended(lambda: read_changes(self.cache, revisions, paths))

    def commits_since(self, since: str, at: str) -> list[Commit]:
        """What the later commit has in its history and the earlier one has not, newest first."""
        return self._mended(lambda: read_commits(self.cache, ["--date-order", at, f"^{since}"]))

    def subjects(self, commits: Iterable[str]) -> dict[str, str]:
        """The first lines of these commits' messages; what is no commit of this repository is left out."""
        names = list(commits)
        return self._mended(lambda: read_subjects(self.cache, names))

    def blobs(self, names: Collection[str]) -> dict[str, str]:
        """The text of many files, named by blob or `<commit>:<path>`, by one process; what is missing is left out."""
        found = self._mended(lambda: read_blobs(self.cache, names))
        if len(found) < len(set(names)) and self._make_anew():
            found = read_blobs(self.cache, names)
        return {name: decode(content) for name, content in found.items()}

    def files(self, prefix: str, at: str | None = None) -> dict[str, str]:
        """Path and blob of every file below the prefix at a commit."""
        listed = self._git(["ls-tree", "-r", "-z", at or self._tracking, "--", prefix]).stdout.split("\0")
        entries = (entry.partition("\t") for entry in listed if entry)
        return {path: about.split(" ")[2] for about, _, path in entries}

    def message(self, commit: str) -> str:
        return self._git(["log", "-1", "--format=%B", commit]).stdout.strip()

    def diff(self, old: str, new: str) -> str:
        return self._git(["diff", "--no-color", old, new]).stdout

    def commit(self, change: CommitChange) -> str | None:
        """Fetch, ask `change` for new contents and message at that commit, commit, push; again if others were faster.

        `change` gives None, or the contents that are there already, for "nothing to do": then no commit is made. A
        content of None removes the file.
        """
        made = None
        for _ in _attempts(self.remote, self.branch):
            head = self.fetch()
            if made and self._contains(head, made):
                return made  # the push had landed, and only the answer to it was lost
            asked = change(GitTree(self, head))
            files = {path: text for path, text in asked[0].items() if self.read(path, head) != text} if asked else {}
            if asked is None or not files:
                return None
            made = self._make_commit(head, files, asked[1], [head])
            if self._push(made, self.branch):
                return made
        raise AssertionError  # _attempts has raised

    def propose(self, change: CommitChange, branch: str) -> str:
        """Put the change as one commit on a branch of its own; a branch that proposes just this stays as it is."""
        for _ in _attempts(self.remote, branch):
            head, before = self.fetch(), self._branch(branch)
            asked = change(GitTree(self, head))
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

    def _make_commit(self, head: str, files: FileChanges, message: str, parents: list[str]) -> str:
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
        access = GitAccess.load()
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

    def _proposes(self, before: str, head: str, files: FileChanges, message: str) -> bool:
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
        if (lock := lock_error(told)) and is_stale(lock.path):
            raise lock
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

    def _git(
        self,
        arguments: list[str],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        ensure_cache(self.cache)
        done = run_git(arguments, cwd=self.cache, stdin=stdin, env=env, check=False)
        if done.returncode != 0 and is_damage(done.stderr) and self._make_anew():
            done = run_git(arguments, cwd=self.cache, stdin=stdin, env=env, check=False)
        if check and done.returncode != 0:
            words = done.stderr.strip() or done.stdout.strip()
            raise lock_error(words) or GitFailed(f"git {arguments[0]} failed: {words}")
        return done

    def _mended(self, read: Callable[[], T]) -> T:
        """What `read` finds in the cache; in one that is made anew where git cannot read this one."""
        ensure_cache(self.cache)
        try:
            return read()
        except GitFailed as failed:
            if not is_damage(failed.message) or not self._make_anew():
                raise
            return read()

    def _make_anew(self) -> bool:
        """Fetch everything again into a new cache; False when that was done before, or the cache is not just a copy."""
        if not self._remove_cache():
            return False
        self.fetch()
        return True

    def _remove_cache(self) -> bool:
        if self._remade or self.cache == Path(self.remote) or not is_private(self.cache):
            return False
        self._remade = True
        remove_cache(self.cache)
        return True

    def _remote(
        self, arguments: list[str], *, cwd: Path | None = Path(), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command that talks to the remote; its failures are told as what they mean."""
        access = GitAccess.load()
        for _ in REMOTE_PAUSES.attempts(SECOND_CHANCES):
            with access.environment(self.remote) as env:
                done = run_git(
                    arguments,
                    cwd=self.cache if cwd is not None else None,
                    env={**STALLED, **env},
                    check=False,
                    timeout=REMOTE_TIMEOUT_SECONDS,
                )
            done.stderr, done.stdout = access.without_token(done.stderr), access.without_token(done.stdout)
            if done.returncode == 0 or not may_pass(done.stderr):
                break
        if check and done.returncode != 0:
            raise explain(self.remote, done.stderr + done.stdout, writing=arguments[0] == "push")
        return done


def _attempts(remote: str, branch: str) -> Iterator[int]:
    """Try, wait a little longer each time, and in the end give up."""
    yield from PUSH_PAUSES.attempts(ATTEMPTS)
    raise PushRejected(
        f"{remote} got other commits on {branch} before ours {ATTEMPTS} times in a row",
        hint="try again; if it goes on, look for a process that pushes all the time",
    )
