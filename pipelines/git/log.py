"""Read a branch's history in bulk: one `git log` for the commits, one `git cat-file` for the files they wrote.

Fields end with NUL, which neither a message nor a name nor a path can hold, so any other byte is only data.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipelines.git.process import decode, run_git, run_git_bytes

FIELDS = ("%H", "%P", "%ct", "%an", "%s", "%(trailers:only,unfold)")
FORMAT = "--format=" + "".join(f"{one}%x00" for one in FIELDS)
# Whatever this machine's git config says about the looks of a log.
PLAIN = ("-c", "log.follow=false", "-c", "log.showSignature=false", "-c", "core.quotePath=false")
# -c: of a merge only the files that are those of none of its parents; others it only carries.
FILES = ("-c", "--raw", "--no-abbrev", "--no-renames")
# --full-history: a merge that keeps one side's file must not hide the commits that wrote the other.
# --date-order: never a commit before one that it stands on, whatever the clocks of those who made them say.
ORDER = ("--full-history", "--date-order")
LOG_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Commit:
    """One commit, with its trailers (`Bento: flight-delays:7`) apart."""

    sha: str
    time: datetime
    author: str
    subject: str
    trailers: dict[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileChange:
    """What a commit did to one file. `blob`: the content it left, `before`: its first parent's; None for no file."""

    commit: Commit
    path: str
    blob: str | None
    before: str | None


def read_commits(cache: Path, arguments: Sequence[str]) -> list[Commit]:
    """The commits that `git log` gives for these arguments, in its order. Raises GitFailed."""
    return [commit for commit, _ in _read(cache, arguments)]


def read_changes(cache: Path, revisions: Sequence[str], paths: Sequence[str] = ()) -> list[FileChange]:
    """Every change of the files that the pathspecs name (default: all), newest first. Raises GitFailed."""
    where = [*FILES, *ORDER, *revisions, *(["--", *paths] if paths else [])]
    return [change for _, changes in _read(cache, where) for change in changes]


def read_blobs(cache: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The contents of many blobs (`<id>` or `<commit>:<path>`) by one process; what is not there is left out."""
    asked = list(dict.fromkeys(names))
    if not asked:
        return {}
    stdin = "".join(f"{name}\n" for name in asked).encode()
    printed = run_git_bytes(["cat-file", "--batch"], cwd=cache, stdin=stdin, timeout=LOG_TIMEOUT_SECONDS).stdout
    found, at = {}, 0
    for name in asked:
        end = printed.index(b"\n", at)
        head = printed[at:end].rsplit(b" ", 2)
        at = end + 1
        if len(head) == 3 and head[2].isdigit():  # else `<name> missing`, or `ambiguous`
            size = int(head[2])
            if head[1] == b"blob":
                found[name] = printed[at : at + size]
            at += size + 1
    return found


def read_subjects(cache: Path, names: Iterable[str]) -> dict[str, str]:
    """The first line of each commit's message; names that are no commit here are left out."""
    asked = list(dict.fromkeys(names))
    if not asked:
        return {}
    stdin = "".join(f"{name}^{{commit}}\n" for name in asked)
    lines = run_git(["cat-file", "--batch-check=%(objectname)"], cwd=cache, stdin=stdin).stdout.splitlines()
    known = {name: line for name, line in zip(asked, lines, strict=True) if " " not in line}
    if not known:
        return {}
    commits = _read(cache, ["--no-walk=unsorted", "--stdin"], stdin="".join(f"{sha}\n" for sha in known.values()))
    subjects = {commit.sha: commit.subject for commit, _ in commits}
    return {name: subjects[sha] for name, sha in known.items() if sha in subjects}


def _read(cache: Path, arguments: Sequence[str], stdin: str | None = None) -> Iterator[tuple[Commit, list[FileChange]]]:
    command = [*PLAIN, "log", "-z", "--no-color", FORMAT, *arguments]
    tokens = run_git(command, cwd=cache, stdin=stdin, timeout=LOG_TIMEOUT_SECONDS).stdout.split("\0")
    at, end = 0, len(tokens)
    while at < end:
        if not tokens[at].strip():
            at += 1
            continue
        commit = _commit(*tokens[at : at + len(FIELDS)])
        at += len(FIELDS)
        changes = []
        while at < end and (head := tokens[at].lstrip("\n"))[:1] in ("", ":"):
            if head:
                changes.append(_change(commit, head, tokens[at + 1]))
                at += 1
            at += 1
        yield commit, changes


def _commit(sha: str, parents: str, seconds: str, author: str, subject: str, trailers: str) -> Commit:
    pairs = (line.split(": ", 1) for line in trailers.split("\n") if ": " in line)
    named: dict[str, str] = dict(pairs)  # type: ignore[arg-type]
    return Commit(sha.strip(), _time(seconds), author, subject, named, tuple(parents.split()))


def _time(seconds: str) -> datetime:
    """A clock that was wrong by thousands of years is no reason to lose the commit."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _change(commit: Commit, head: str, path: str) -> FileChange:
    """`:<mode> <mode> <before> <after> <status>`, of a merge with as many colons, modes and ids as it has parents."""
    parents = len(head) - len(head.lstrip(":"))
    words = head.split(" ")
    before, after = words[parents + 1], words[2 * parents + 1]
    return FileChange(commit, path, _there(after), _there(before))


def _there(blob: str) -> str | None:
    return blob if blob.strip("0") else None


__all__ = ["Commit", "FileChange", "decode", "read_blobs", "read_changes", "read_commits", "read_subjects"]
