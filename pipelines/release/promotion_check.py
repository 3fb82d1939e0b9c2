"""What takes another environment's releases only runs those: each of its releases is, to the letter of its `data`, one
that the other environment had. In short: production only runs what staging ran.

Read from a checkout and its own history, so that a pull request can be judged before it is merged:

    python -m pipelines.release.promotion_check --base origin/main

`--base` is where the other environment's history ends, and its environments.yaml counts beside the checkout's;
without it a pull request could bring its own proof.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.environments import DEFAULTS, ENVIRONMENTS_FILE, Environment, parse_environments, read_environments
from pipelines.errors import MlopsError
from pipelines.git.log import read_blobs, read_changes
from pipelines.git.process import decode, run_git
from pipelines.release.release import release_path
from pipelines.usecase import yaml12


class HistoryMissing(MlopsError):
    """The checkout has no history, or only its last commits, so nothing can be said."""


@dataclass(frozen=True)
class Unstaged:
    """A release that the environment it was to be promoted from never had."""

    path: str
    told: str


def find_unstaged(checkout: Path, usecase: str, *, base: str = "HEAD") -> list[Unstaged]:
    """What is wrong with the use case's releases in the working tree, of all environments that take another one's."""
    found = (_unstaged(checkout, usecase, one, base) for one in _promoted(checkout, base))
    return [unstaged for unstaged in found if unstaged]


def _promoted(checkout: Path, base: str) -> list[Environment]:
    """Those that take another one's releases, here or at the base: a change of the file takes effect once merged."""
    before = run_git(["show", f"{base}:{ENVIRONMENTS_FILE}"], cwd=checkout, check=False)
    where = f"{base}:{ENVIRONMENTS_FILE}"
    known = parse_environments(before.stdout, where) if before.returncode == 0 else DEFAULTS
    return list(dict.fromkeys([*known.promoted, *read_environments(checkout).promoted]))


def _unstaged(checkout: Path, usecase: str, environment: Environment, base: str) -> Unstaged | None:
    """What is wrong with this environment's release; None when its source had it, or there is none."""
    source = environment.promoted_from or ""
    path = release_path(usecase, environment.name)
    file = checkout / path
    if not file.is_file():
        return None
    wanted = _data(file.read_text(encoding="utf-8"))
    if wanted is None:
        return Unstaged(path, "has no `data` that could be compared; `mlops promote` writes it")
    staged = _staged(checkout, usecase, source, base)
    if wanted in staged:
        return None
    if _is_shallow(checkout):
        raise HistoryMissing(
            f"{path}: this checkout has only the newest commits, so nobody can say what {source} ran",
            hint="git fetch --unshallow (in a workflow: fetch-depth: 0)",
        )
    bento = wanted.get("bento")
    same = next((data for data in staged if data.get("bento") == bento), None)
    if same is None:
        return Unstaged(
            path, f"{source} has never run {bento}; {environment.name} only gets what it has: `mlops promote`"
        )
    edited = ", ".join(key for key in {**wanted, **same} if wanted.get(key) != same.get(key))
    return Unstaged(path, f"{bento} ran in {source} with another {edited}; copy its release, by `mlops promote`")


def _staged(checkout: Path, usecase: str, source: str, base: str) -> list[dict[str, Any]]:
    """The `data` of every release that the source had, newest first."""
    if run_git(["rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"], cwd=checkout, check=False).returncode:
        raise HistoryMissing(f"{checkout} has no commit {base!r}, so nobody can say what {source} ran")
    path = release_path(usecase, source)
    blobs = [change.blob for change in read_changes(checkout, [base], [path]) if change.blob]
    contents = read_blobs(checkout, blobs)
    texts = [decode(contents[blob]) for blob in blobs if blob in contents]
    return [data for data in (_data(text) for text in texts) if data is not None]


def _data(text: str) -> dict[str, Any] | None:
    try:
        document, _ = yaml12.read(text)
    except yaml.YAMLError:
        return None
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, dict) else None


def _is_shallow(checkout: Path) -> bool:
    return run_git(["rev-parse", "--is-shallow-repository"], cwd=checkout).stdout.strip() == "true"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check that promoted releases are ones that their source had.")
    parser.add_argument("--base", default="HEAD", help="where the source's history ends (default: HEAD)")
    base = parser.parse_args().base
    checkout = Path.cwd()
    try:
        promoted = _promoted(checkout, base)
        usecases = {
            one.name: sorted(path.parts[-3] for path in checkout.glob(f"apps/*/{one.name}/release.yaml"))
            for one in promoted
        }
        every = sorted({name for names in usecases.values() for name in names})
        found = [unstaged for name in every for unstaged in find_unstaged(checkout, name, base=base)]
    except MlopsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for unstaged in found:
        print(f"{unstaged.path}: {unstaged.told}", file=sys.stderr)
    if not found:
        for one in promoted:
            names = ", ".join(usecases[one.name]) or "nothing is released there yet"
            print(f"{one.name} runs what {one.promoted_from} ran: {names}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
