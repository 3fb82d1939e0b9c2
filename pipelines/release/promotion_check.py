"""Production only runs what staging ran: each production release is, to the letter of its `data`, one staging had.

Read from a checkout and its own history, so that a pull request can be judged before it is merged:

    python -m pipelines.release.promotion_check --base origin/main

`--base` is where staging's history ends; without it a pull request could bring its own proof.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import MlopsError
from pipelines.git.log import read_blobs, read_changes
from pipelines.git.process import decode, run_git
from pipelines.release.release import release_path
from pipelines.usecase import yaml12


class HistoryMissing(MlopsError):
    """The checkout has no history, or only its last commits, so nothing can be said."""


@dataclass(frozen=True)
class Unstaged:
    """A production release that staging never had."""

    path: str
    told: str


def unknown_to_staging(checkout: Path, usecase: str, *, base: str = "HEAD") -> Unstaged | None:
    """What is wrong with production's release in the working tree; None when staging had it, or there is none."""
    path = release_path(usecase, "production")
    file = checkout / path
    if not file.is_file():
        return None
    wanted = _data(file.read_text(encoding="utf-8"))
    if wanted is None:
        return Unstaged(path, "has no `data` that could be compared; `mlops promote` writes it")
    staged = _staged(checkout, usecase, base)
    if wanted in staged:
        return None
    if _is_shallow(checkout):
        raise HistoryMissing(
            f"{path}: this checkout has only the newest commits, so nobody can say what staging ran",
            hint="git fetch --unshallow (in a workflow: fetch-depth: 0)",
        )
    bento = wanted.get("bento")
    same = next((data for data in staged if data.get("bento") == bento), None)
    if same is None:
        return Unstaged(path, f"staging has never run {bento}; production only gets what it has: `mlops promote`")
    edited = ", ".join(key for key in {**wanted, **same} if wanted.get(key) != same.get(key))
    return Unstaged(path, f"{bento} ran in staging with another {edited}; copy staging's release, by `mlops promote`")


def _staged(checkout: Path, usecase: str, base: str) -> list[dict[str, Any]]:
    """The `data` of every release that staging had, newest first."""
    if run_git(["rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"], cwd=checkout, check=False).returncode:
        raise HistoryMissing(f"{checkout} has no commit {base!r}, so nobody can say what staging ran")
    path = release_path(usecase, "staging")
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
    parser = argparse.ArgumentParser(description="Check that production only runs what staging ran.")
    parser.add_argument("--base", default="HEAD", help="where staging's history ends (default: HEAD)")
    base = parser.parse_args().base
    checkout = Path.cwd()
    usecases = sorted(path.parts[-3] for path in checkout.glob("apps/*/production/release.yaml"))
    try:
        found = [unstaged for name in usecases if (unstaged := unknown_to_staging(checkout, name, base=base))]
    except MlopsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for unstaged in found:
        print(f"{unstaged.path}: {unstaged.told}", file=sys.stderr)
    if not found:
        print(f"production runs what staging ran: {', '.join(usecases) or 'nothing is released there yet'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
