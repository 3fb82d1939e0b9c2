"""YAML as editors and Kubernetes tools of today read it: version 1.2's core schema. The one loader of this package.

PyYAML reads 1.1, where `on` and `no` are booleans, `1e-4` is a text, `2013-01-01` a date, `010` is 8
and `12:30` is 750.

libyaml parses, where PyYAML was built with it, several times as fast as Python. Python's own parser takes over where
the two differ: its messages say better what is wrong, a few rare forms are read otherwise, and libyaml's binding
overflows the stack where brackets are nested without end.
"""

import contextlib
import re
from collections.abc import Callable
from typing import Any, TypeVar

import yaml

BOOL, INT, FLOAT, TIMESTAMP, VALUE = (
    f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "timestamp", "value")
)
DEEPEST = 300  # collections in each other; both parsers recurse, and libyaml's overflows the stack without an error
# Tabs, marks of byte order, tags without a name and keys after `?`: libyaml takes or places them otherwise.
READ_OTHERWISE = re.compile(r"[\t\ufeff]|!(?=\s|\Z)|(?:\A|[\s\[{,:-])\?(?=\s|\Z)")
LEADING = re.compile(r"^[ ?:-]*", re.MULTILINE)

Result = TypeVar("Result")
Resolvers = dict[str, list[tuple[str, re.Pattern[str]]]]


def _resolvers() -> Resolvers:
    """Which plain texts are no texts, by their first character."""
    found: Resolvers = {
        first: [(tag, regexp) for tag, regexp in rules if tag not in (BOOL, INT, FLOAT, TIMESTAMP, VALUE)]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    added = (
        (BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
        (INT, re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", re.ASCII), "-+0123456789"),
        (
            FLOAT,
            re.compile(
                r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
            ),
            "-+0123456789.",
        ),
    )
    for tag, regexp, firsts in added:
        for first in firsts:
            found.setdefault(first, []).append((tag, regexp))
    return found


def _construct_int(loader: Any, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


class PythonLoader(yaml.SafeLoader):
    """A safe loader with 1.2's plain values, in Python alone."""

    yaml_implicit_resolvers = _resolvers()


class FastLoader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """The same on libyaml."""

    yaml_implicit_resolvers = _resolvers()


PythonLoader.add_constructor(INT, _construct_int)
FastLoader.add_constructor(INT, _construct_int)


def read(text: str) -> tuple[Any, yaml.Node | None]:
    """The document's values, and its nodes, which know their lines.

    Raises:
        yaml.YAMLError: it is no YAML, or more than one document.
        ValueError: a number has thousands of digits.
        RecursionError: hundreds of collections are in each other.
    """
    return _by_the_first_that_can(text, _read)


def read_all(text: str) -> list[Any]:
    """The values of each document of a stream. Raises as `read` does."""
    return _by_the_first_that_can(text, lambda kind, text: list(yaml.load_all(text, kind)))


def _by_the_first_that_can(text: str, reading: Callable[[Any, str], Result]) -> Result:
    if _is_deep(text):
        raise RecursionError(f"more than {DEEPEST} collections are in each other")
    if not READ_OTHERWISE.search(text):
        with contextlib.suppress(yaml.YAMLError):
            return reading(FastLoader, text)
    return reading(PythonLoader, text)


def _read(kind: Any, text: str) -> tuple[Any, yaml.Node | None]:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    finally:
        loader.dispose()


def _is_deep(text: str) -> bool:
    """Whether more collections are in each other than any stack should hold. Events need none to be counted."""
    blocks = max((len(found) for found in LEADING.findall(text)), default=0)
    if 2 * blocks + text.count("[") + text.count("{") <= DEEPEST:
        return False
    depth = 0
    with contextlib.suppress(yaml.YAMLError):
        for event in yaml.parse(text, FastLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEEPEST:
                    return True
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    return False
