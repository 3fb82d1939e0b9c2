"""`mlops migrate`: files that people wrote for an earlier version, rewritten for this one in place.

Comments, quotes and the order of keys stay. Each file is written whole or not at all, and one that cannot be read stops
no other.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from yaml import MappingNode

from pipelines.documents import write_atomically
from pipelines.errors import MlopsError
from pipelines.usecase import yaml12
from pipelines.usecase.api_version import API_VERSION, KEY, NUMBER, version_of
from pipelines.usecase.document import UsecaseInvalid, YamlDocument
from pipelines.usecase.migrations import MIGRATIONS

# Which files of a checkout are written by people, by what they are. A path's end says of which kind a file is.
KINDS = {
    "use case": "apps/*/usecase.yaml",
    "overrides": "apps/*/*/overrides.yaml",
    "vertex": "vertex/*.yaml",
}


class NotOurFile(MlopsError):
    """A path that holds no file with an apiVersion."""


@dataclass(frozen=True)
class Migrated:
    """One file. `changes`: what was or would be changed, in sentences; `problem`: why it could not be."""

    path: Path
    changes: list[str] = field(default_factory=list)
    problem: str | None = None


def migrate(root: Path, paths: Iterable[Path] = (), *, write: bool = True) -> list[Migrated]:
    """Bring the files to this program's version; without paths, all of the checkout. Without `write`, only look.

    Raises:
        NotOurFile: a path does not exist or holds no such file.
    """
    chosen = [found for path in paths for found in _files_of(path)]
    return [_migrate_file(root, path, write) for path in dict.fromkeys(chosen or _files_below(root))]


def _files_below(folder: Path) -> Iterator[Path]:
    for pattern in KINDS.values():
        yield from sorted(folder.glob(pattern))


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = (file for file in path.absolute().rglob("*.yaml") if not _is_hidden(file.relative_to(path.absolute())))
        found = sorted(file for file in files if _kind_of(file))
    else:
        found = [path.absolute()] if path.is_file() and _kind_of(path.absolute()) else []
    if not found:
        raise NotOurFile(
            f"{path}: no file that has an apiVersion" if path.exists() else f"{path} does not exist",
            hint=f"such files are {', '.join(KINDS.values())}",
        )
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _kind_of(path: Path) -> str | None:
    return next((kind for kind, pattern in KINDS.items() if path.match(pattern)), None)


def _migrate_file(root: Path, path: Path, write: bool) -> Migrated:
    try:
        document = YamlDocument.read(path, root, may_be_empty=True)
        if not document.values:
            return Migrated(path)
        text = path.read_bytes().decode("utf-8-sig")
        changed, changes = migrate_text(text, document, _kind_of(path) or "")
        if changes and write:
            write_atomically(path.resolve(), changed)
    except UsecaseInvalid as error:
        return Migrated(path, problem=error.message)
    except OSError as error:
        return Migrated(path, problem=f"{path}: {error.strerror}")
    return Migrated(path, changes)


def migrate_text(text: str, document: YamlDocument, kind: str) -> tuple[str, list[str]]:
    """The text for this program's version, and what is new in it; the same text where nothing is to be done.

    Raises:
        UsecaseInvalid: its version is none, or later than this program's.
    """
    found = 0 if KEY not in document.values else version_of(document.values[KEY])
    if found is None or found > NUMBER:
        value = f"expected {API_VERSION} or an earlier one (got {document.values[KEY]!r})"
        raise UsecaseInvalid([f"{document.label}:{document.line((KEY,))}: {KEY}: {value}"])
    if found == NUMBER:
        return text, []
    changes: list[str] = []
    for number in range(found, NUMBER):
        text, said = _change(text, document.label, partial(MIGRATIONS[number], kind))
        changes += said
    return _with_version(text, document.label), [f"{KEY}: {API_VERSION}", *changes]


def _with_version(text: str, label: str) -> str:
    """`apiVersion` as the first key, below the comment that the file begins with; the rest stays, to the byte."""
    values, node = yaml12.read(text)
    if not isinstance(node, MappingNode) or node.flow_style or KEY in values:
        return _change(text, label, _set_version)[0]
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines[0].endswith("\r\n") else "\n"
    lines.insert(node.value[0][0].start_mark.line, f"{KEY}: {API_VERSION}{ending}")
    return "".join(lines)


def _set_version(values: Any) -> list[str]:
    if KEY in values:
        values[KEY] = API_VERSION
    else:
        values.insert(0, KEY, API_VERSION)
    return [KEY]


def _change(text: str, label: str, change: Callable[[Any], list[str]]) -> tuple[str, list[str]]:
    """Through ruamel.yaml, which keeps comments, quotes and order; what nothing changes stays as it is."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize
    step = _sequence_indent(text)
    yaml.indent(mapping=2, sequence=step, offset=step - 2)
    try:
        values = yaml.load(text)
    except YAMLError as error:
        raise UsecaseInvalid([f"{label}: cannot be rewritten: {' '.join(str(error).split())}"]) from None
    changes = change(values)
    if not changes:
        return text, []
    out = StringIO()
    yaml.dump(values, out)
    return out.getvalue(), changes


def _sequence_indent(text: str) -> int:
    """4 where most items stand two further in than their key; else 2."""
    pairs = re.findall(r"^( *)[^\s#][^\n]*:[ ]*\n( *)- ", text, re.MULTILINE)
    deeper = sum(len(item) > len(key) for key, item in pairs)
    return 4 if deeper * 2 > len(pairs) else 2
