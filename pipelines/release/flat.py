"""A short cut for the YAML that `mlops` writes: some head, then `data:` with one short value a line.

A history holds thousands of these files, and a YAML parser is a hundred times slower. What does not look exactly like
that is left to the parser, so both ways always give the same document.
"""

import re
from functools import lru_cache
from typing import Any

import yaml

from pipelines.usecase import yaml12

DATA = "\ndata:\n"
# In quotes: nothing that YAML would unescape. Bare: a ":" or "/" inside keeps it from being a number, a date or a word.
LINE = re.compile(
    r'  (?P<key>[a-z_]+): (?:"(?P<quoted>[ !#-\[\]-~]*)"|(?P<bare>[A-Za-z0-9][\w.@/:-]*[:/][\w.@/:-]*\w))', re.ASCII
)
OTHER_DOCUMENTS = re.compile(r"^(---|\.\.\.|%)", re.MULTILINE)


def read_flat(text: str) -> dict[str, Any] | None:
    """The document, None for a text that only a YAML parser can judge."""
    head, found, rest = text.partition(DATA)
    if not found or not rest.endswith("\n"):
        return None
    data: dict[str, str] = {}
    for line in rest[:-1].split("\n"):
        match = LINE.fullmatch(line)
        if match is None or match["key"] in data:
            return None
        data[match["key"]] = match["bare"] if match["quoted"] is None else match["quoted"]
    document = _read_head(head)
    return None if document is None else {**document, "data": data}


@lru_cache(maxsize=64)
def _read_head(head: str) -> dict[str, Any] | None:
    if OTHER_DOCUMENTS.search(head):
        return None
    try:
        document, node = yaml12.read(head)
    except yaml.YAMLError:
        return None
    if not isinstance(document, dict) or "data" in document or duplicate_keys(node):
        return None
    return document


def duplicate_keys(node: yaml.Node | None) -> list[str]:
    """Keys that two people's edits left twice, of the document and of its mappings."""
    if not isinstance(node, yaml.MappingNode):
        return []
    keys = [key.value for key, _ in node.value]
    return [key for key in keys if keys.count(key) > 1] + [
        key for _, value in node.value for key in duplicate_keys(value)
    ]
