"""What it costs to read what was released: history, find and trace, beside git's own log of the same repository.

one model      1,000 releases of one model
many models   10,000 releases of 100 models

Each is read by `mlops`' own functions with a warm clone and nothing remembered, fetch included, and by `git log` of the
same files: as a list (`git log -- PATH`) and with what changed (`git log -p -- PATH`), which is what a person would
read. The answers are compared with those of git, commit by commit.

python -m tests.bench.bench_history [--releases 1000] [--models 100]
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pipelines.git.repository import Repository
from pipelines.release.lineage import trace_lineage
from pipelines.release.release import Release, release_path
from pipelines.release.releases import Releases
from pipelines.settings import Settings
from tests.release_cases import Import, import_commits, release, released

T = TypeVar("T")
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--models", type=int, default=100)
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("MLOPS_")]:
        del os.environ[name]
    print(f"medians of {ROUNDS}, git's own in CPU seconds; the fetch that finds nothing new is part of each\n")
    print("| releases | models | question | mlops | its CPU | git log | git log -p | to git log -p | same answer |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        _measure(Path(scratch) / "one", models=1, each=asked.releases)
        _measure(Path(scratch) / "many", models=asked.models, each=100)


def _commits(models: int, each: int) -> Iterator[Import]:
    for number in range(1, each + 1):
        for model in range(models):
            code = f"{number:039x}c"
            yield released(
                release(number, f"model-{model}", code).model_copy(update={"run": f"{number:028x}{model:04x}"})
            )


def _measure(folder: Path, models: int, each: int) -> None:
    (folder / "checkout" / "apps").mkdir(parents=True)
    (folder / "checkout" / "pyproject.toml").write_text("")
    origin = import_commits(folder / "origin.git", _commits(models, each))
    settings = Settings.load({"MLOPS_REMOTE": str(origin)}, root=folder / "checkout")
    name, path = "model-0", release_path("model-0", "staging")

    def releases() -> Releases:
        return Releases(Repository(str(origin), "main", settings.home / "cache" / "releases.git"))

    releases().repository.fetch()
    half = each // 2
    wanted = f"{name}:{half}"
    questions: dict[str, tuple[Callable[[], list[str]], str, Callable[[], list[str]]]] = {
        "history": (
            lambda: [one.commit for one in releases().history(name, "staging")],
            path,
            lambda: _commits_of(origin, path),
        ),
        "find": (lambda: [_found(releases(), name, half).model], path, lambda: [f"{name}/{half}"]),
        "trace of a Bento": (
            lambda: [line.commit for line in trace_lineage(settings, wanted).versions[0].deployments],
            path,
            lambda: _commits_of(origin, path)[each - half : each - half + 1],
        ),
        "trace of a run": (
            lambda: [trace_lineage(settings, f"{half:028x}{0:04x}").versions[0].release.bento],
            "apps",
            lambda: [wanted],
        ),
        "every history": (
            lambda: [one.commit for own in releases().read_histories().values() for one in own.deployments],
            "apps",
            lambda: _commits_of(origin, "apps"),
        ),
    }
    for question, (ask, where, expected) in questions.items():
        (seconds, cpu), answer = _timed(ask)
        (_, plain), _ = _timed(lambda where=where: _git(origin, "log", "main", "--", where))
        (_, full), _ = _timed(lambda where=where: _git(origin, "log", "-p", "main", "--", where))
        same = "yes" if sorted(answer) == sorted(expected()) else "NO"
        print(
            f"| {models * each:,} | {models} | {question} | {seconds:.2f} s | {cpu:.2f} s "
            f"| {plain:.2f} s | {full:.2f} s | {cpu / full:.1f}x | {same} |"
        )


def _found(releases: Releases, name: str, number: int) -> Release:
    release = releases.find(name, "staging", f"{name}/{number}")
    assert release is not None
    return release


def _commits_of(origin: Path, where: str) -> list[str]:
    return _git(origin, "log", "--format=%H", "main", "--", where).split()


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def _timed(ask: Callable[[], T]) -> tuple[tuple[float, float], T]:
    """Median seconds by the clock and of CPU, git's included, which a busy machine changes less."""
    seconds, cpu = [], []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), os.times()
        answer = ask()
        now = os.times()
        seconds.append(time.perf_counter() - began)
        cpu.append(sum(now[:4]) - sum(used[:4]))
    return (statistics.median(seconds), statistics.median(cpu)), answer


if __name__ == "__main__":
    main()
