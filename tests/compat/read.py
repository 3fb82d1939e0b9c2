"""Read the artefacts in a folder by the readers of this tree: `python -m tests.compat.read FOLDER`.

The tree of a released version runs it on what today's program writes, so it stays as small as it can be.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import bento
import pipelines
from bento.documents import Document
from bento.recording.segments import read_segment
from pipelines.release.release import Release

# What a program of another kind runs: Python, BentoML, Alembic.
NOT_IMPORTED = ("__main__", "bento.service", "store.migrations.")


def kinds() -> dict[str, type[Document]]:
    """Every kind of document of this tree, by name."""
    for package in (pipelines, bento):
        for name in _modules(package):
            importlib.import_module(name)
    found = {kind for kind in _below(Document) if kind.__module__.split(".")[0] in ("pipelines", "bento")}
    return {kind.KIND: kind for kind in found if "KIND" in kind.__dict__}


def samples(folder: Path, kind: str) -> list[Path]:
    """The artefacts of a kind: files that are named for it."""
    return sorted(path for path in folder.rglob("*") if path.stem == kind and path.suffix != ".sql")


def read(kind: type[Document], path: Path) -> list[Document]:
    """The documents of one artefact, by the code that reads it in earnest."""
    if path.suffix == ".jsonl":
        return [kind.parse(line, str(path)) for line in path.read_bytes().splitlines()]
    if path.suffix == ".bin":
        return [read_segment(path.read_bytes()).header]
    if path.suffix == ".yaml":
        return [Release.from_yaml(path.read_text(encoding="utf-8"), path.name)]
    return [kind.read(path)]


def unreadable(folder: Path) -> list[str]:
    """What of the folder cannot be read here, and why; kinds that are not known here are left out."""
    problems = []
    for name, kind in sorted(kinds().items()):
        for path in samples(folder, name):
            try:
                read(kind, path)
            except Exception as error:  # noqa: BLE001 - each is named
                problems.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return problems


def _modules(package: ModuleType) -> Iterator[str]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not any(part in module.name for part in NOT_IMPORTED):
            yield module.name


def _below(kind: type[Document]) -> Iterator[type[Document]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


if __name__ == "__main__":
    found = unreadable(Path(sys.argv[1]))
    print("\n".join(found))
    sys.exit(1 if found else 0)
