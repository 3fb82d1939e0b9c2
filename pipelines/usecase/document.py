"""One YAML file that can say on which line a key stands, and how an environment's file changes another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import MlopsError
from pipelines.usecase import yaml12
from pipelines.usecase.unreadable import explain_yaml

KeyPath = tuple[str | int, ...]

KIND_KEYS = ("type", "by")


class UsecaseInvalid(MlopsError):
    """The file is not valid YAML, or breaks the schema; every problem is listed with file, line and key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems), hint="docs/usecase.md explains every key")
        self.problems = problems


class YamlDocument:
    """The values of a YAML file with the lines of its keys."""

    def __init__(self, label: str, values: dict[Any, Any], node: yaml.Node | None) -> None:
        self.label = label
        self.values = values
        self._node = node

    @classmethod
    def read(cls, path: Path, root: Path, *, may_be_empty: bool = False) -> "YamlDocument":
        """Raises UsecaseInvalid where it is no mapping of distinct keys."""
        label = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        try:
            text = path.read_bytes().decode("utf-8-sig")
            values, node = yaml12.read(text)
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            raise UsecaseInvalid([f"{label}:{line}: not UTF-8; save the file in that encoding"]) from None
        except yaml.YAMLError as error:
            number, problem = explain_yaml(error, text)
            place = label if number is None else f"{label}:{number}"
            raise UsecaseInvalid([f"{place}: not valid YAML: {problem}"]) from None
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
            raise UsecaseInvalid([f"{label}: not valid YAML: {error}"]) from None
        except OSError as error:
            raise UsecaseInvalid([f"{label}: cannot be read: {error.strerror}"]) from error
        if values is None and may_be_empty:
            values, node = {}, None
        if values is None:
            raise UsecaseInvalid([f"{label}:1: the file is empty; `mlops new` makes one to start from"])
        if not isinstance(values, dict):
            raise UsecaseInvalid([f"{label}:1: expected keys and values, such as `name: {path.parent.name}`"])
        duplicates = [
            f"{label}:{key.start_mark.line + 1}: {key.value}: the key stands twice in one mapping, first on line "
            f"{first.start_mark.line + 1}; keep one"
            for key, first in _duplicate_keys(node, set())
        ]
        if duplicates:
            raise UsecaseInvalid(duplicates)
        return cls(label, values, node)

    def has(self, path: KeyPath) -> bool:
        value: Any = self.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def line(self, path: KeyPath) -> int:
        """The line of the deepest part of the path that the file has."""
        node, line = self._node, 1
        for part in path:
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
                if pair is None:
                    break
                line, node = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line


class Layers:
    """A use case's file with the files laid over it."""

    def __init__(self, first: YamlDocument, *others: YamlDocument) -> None:
        self._documents = (first, *others)
        self.values: dict[Any, Any] = {}
        for document in self._documents:
            self.values = merge(self.values, document.values)

    def place(self, path: KeyPath) -> tuple[int, int]:
        """Which file and which line to look at for this key: where it stands, or where it is missing."""
        for length in range(len(path), -1, -1):
            prefix = path[:length]
            holders = [number for number, document in enumerate(self._documents) if document.has(prefix)]
            if not holders:
                continue
            last = holders[-1]
            # A key missing in a mapping is the first file's fault, unless a later one says what kind of mapping it is.
            says_the_kind = _has_a_kind(prefix) and any(self._documents[last].has((*prefix, key)) for key in KIND_KEYS)
            overlaid = length == len(path) or says_the_kind
            number = last if overlaid else holders[0]
            return number, self._documents[number].line(path)
        return 0, 1

    def label(self, number: int) -> str:
        return self._documents[number].label


def merge(base: Any, overlay: Any, path: KeyPath = ()) -> Any:
    """Mappings merge key by key; anything else is replaced, and so is a source, split or feature of another kind."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    if _has_a_kind(path) and any(key in overlay and overlay[key] != base.get(key) for key in KIND_KEYS):
        return overlay
    merged = dict(base)
    for key, value in overlay.items():
        merged[key] = merge(base[key], value, (*path, key)) if key in base else value
    return merged


def _has_a_kind(path: KeyPath) -> bool:
    return path in (("data", "source"), ("data", "split")) or (path[:2] == ("data", "features") and len(path) == 3)


def _duplicate_keys(node: yaml.Node | None, visited: set[int]) -> Iterator[tuple[yaml.ScalarNode, yaml.ScalarNode]]:
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, yaml.ScalarNode] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key, seen[key.value]
                seen.setdefault(key.value, key)
            yield from _duplicate_keys(value, visited)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicate_keys(item, visited)
