"""Repositories with releases for tests and benchmarks: small ones commit by commit, large ones by `git fast-import`."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.release.release import Release, release_path

FLIGHTS = "flights"
START = 1_600_000_000


def release(number: int, name: str = FLIGHTS, code: str = "c" * 40) -> Release:
    """Version `number` of a use case; everything in it follows from the number."""
    return Release(
        bento=f"{name}:{number}",
        image=f"bentos/{name}@sha256:{number:064x}",
        model=f"{name}/{number}",
        run=f"{number:032x}",
        data="123456789012",
        code=code,
        metrics={"roc_auc": 0.7 + number / 100},
    )


@dataclass(frozen=True)
class Import:
    """One commit for `git fast-import`: a message and author of any bytes, and the files it leaves (None: removed)."""

    message: bytes
    files: dict[str, bytes | None]
    author: bytes = b"mlops"


def import_commits(path: Path, commits: Iterator[Import] | list[Import], branch: str = "main") -> Path:
    """A bare repository at `path` with these commits on one line, a minute apart; gives the path."""
    subprocess.run(["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", str(path)], check=True)
    stream: list[bytes] = []
    for number, commit in enumerate(commits):
        who = commit.author + b" <mlops@localhost> %d +0000\n" % (START + 60 * number)
        head = b"commit refs/heads/%s\n" % branch.encode()
        stream.append(head + b"author " + who + b"committer " + who + b"data %d\n" % len(commit.message))
        stream.append(commit.message + b"\n")
        for name, content in commit.files.items():
            if content is None:
                stream.append(b"D %s\n" % name.encode())
            else:
                stream.append(b"M 100644 inline %s\ndata %d\n" % (name.encode(), len(content)) + content + b"\n")
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, input=b"".join(stream), check=True)
    return path


def released(one: Release, environment: str = "staging", reason: str = "schedule") -> Import:
    """The commit that `mlops` makes for a release, in short."""
    trailers = f"Bento: {one.bento}\nModel: {one.model}\nMLflow-Run: {one.run}\nReason: {reason}\n"
    message = f"release({one.usecase}): {one.version} in {environment}\n\n{trailers}"
    return Import(message.encode(), {release_path(one.usecase, environment): one.to_yaml().encode()})


def slow_history(repository: Path, usecase: str, environment: str) -> list[tuple[str, str]]:
    """The (commit, Bento) pairs of a place, newest first, by one git process a commit: what a fast reader must give."""
    path = release_path(usecase, environment)
    listed = ["git", "log", "--format=%H", "main", "--", path]
    found = []
    for commit in subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=True).stdout.split():
        shown = subprocess.run(["git", "show", f"{commit}:{path}"], cwd=repository, capture_output=True, check=False)
        try:
            found.append((commit, yaml.safe_load(shown.stdout.decode())["data"]["bento"]))
        except (UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
            continue
    return found
