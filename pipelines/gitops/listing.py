"""What the kustomization.yaml files of a checkout name: other folders, and files beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.gitops.kustomize import read_documents

FOLDERS = ("apps", "clusters", "infrastructure")
LISTING = "kustomization.yaml"


@dataclass(frozen=True)
class Listings:
    """All of them, each with the paths that it names; paths are relative to the checkout."""

    root: Path

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Folder → Kustomization or Component."""
        return {folder: str(document.get("kind")) for folder, document in self._documents.items()}

    @cached_property
    def named(self) -> dict[str, set[str]]:
        """Folder → the files and folders that its listing names."""
        return {folder: set(self._paths(folder, document)) for folder, document in self._documents.items()}

    @cached_property
    def unlisted(self) -> list[str]:
        """YAML and JSON files beside a listing that none of them names."""
        named = set().union(*self.named.values()) if self.named else set()
        files = (path for folder in self.named for path in sorted((self.root / folder).iterdir()))
        files = (path for path in files if path.suffix in (".yaml", ".json") and path.name != LISTING)
        names = (path.relative_to(self.root).as_posix() for path in files)
        return [name for name in names if name not in named]

    def reached(self, folders: Iterable[str]) -> set[str]:
        """These folders, those that their listings name, and so on."""
        found: set[str] = set()
        waiting = list(folders)
        while waiting:
            folder = waiting.pop()
            if folder not in found:
                found.add(folder)
                waiting += [each for each in self.named.get(folder, ()) if each in self.named]
        return found

    @cached_property
    def _documents(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for top in FOLDERS:
            for path in sorted((self.root / top).rglob(LISTING)):
                documents = read_documents(path.read_text(encoding="utf-8"))
                found[path.parent.relative_to(self.root).as_posix()] = documents[0] if documents else {}
        return found

    def _paths(self, folder: str, document: Any) -> Iterator[str]:
        here = self.root / folder
        for text in _texts(document):
            path = (here / text.rpartition("=")[2]).resolve()  # a generator's file may be key=path
            if path.is_relative_to(self.root) and path.exists():
                yield path.relative_to(self.root).as_posix()


def _texts(value: Any) -> Iterator[str]:
    """Every short text of a document: a listing has paths in many places."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str) and value and "\n" not in value and len(value) < 200:
        yield value
