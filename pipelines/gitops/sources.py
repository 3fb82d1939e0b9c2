"""Where an object is written: the file of the tree that it comes from, and the line of one of its fields."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.gitops.kustomize import Manifest
from pipelines.usecase import yaml12

KIND = re.compile(r"^kind: ['\"]?([^\s'\"]+)", re.MULTILINE)
NAME = re.compile(r"^metadata:\n(?:[ #].*\n)*?  name: ['\"]?([^\s'\"]+)", re.MULTILINE)


def place_of(root: Path, manifest: Manifest, field: str = "") -> str | None:
    """`<file>:<line>` of a field, or of what holds it where the file does not say it; None for what is generated."""
    path = root / manifest.origin
    if not manifest.origin or not path.is_file():
        return None
    name = str((manifest.get("metadata") or {}).get("name"))
    own = [each for each in _documents(path) if each.kind == manifest.get("kind")]
    written = next((each for each in own if each.name == name), own[0] if own else None)
    return f"{manifest.origin}:{written.line_of(field)}" if written else manifest.origin


@dataclass(frozen=True)
class _Document:
    """One object of a file, and the line that it begins in."""

    line: int
    text: str

    @property
    def kind(self) -> str | None:
        found = KIND.search(self.text)
        return found[1] if found else None

    @property
    def name(self) -> str | None:
        found = NAME.search(self.text)
        return found[1] if found else None

    def line_of(self, field: str) -> int:
        """Of `spec.listeners[0].hostname`; what a patch or a component adds has the line of what holds it."""
        found = KIND.search(self.text)
        line = self.text.count("\n", 0, found.start()) if found else 0
        _, node = yaml12.read(self.text)
        for part in re.findall(r"[^.\[\]]+", field):
            if isinstance(node, yaml.MappingNode):
                entry = next(((key, value) for key, value in node.value if key.value == part), None)
                if entry is None:
                    break
                line, node = entry[0].start_mark.line, entry[1]
            elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
                node = node.value[int(part)]
                line = node.start_mark.line
            else:
                break
        return self.line + line


def _documents(path: Path) -> Iterator[_Document]:
    line = 1
    for text in re.split(r"^---[^\n]*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        yield _Document(line, text)
        line += text.count("\n")
