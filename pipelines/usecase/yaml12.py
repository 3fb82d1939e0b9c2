"""YAML as editors and Kubernetes tools of today read it: version 1.2's core schema.

PyYAML reads 1.1, where `on` and `no` are booleans, `1e-4` is a text and `2013-01-01` a date.
"""

import re
from typing import Any

import yaml

BOOL, FLOAT, TIMESTAMP = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"


class Loader(yaml.SafeLoader):
    """A safe loader with 1.2's plain values."""

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag not in (BOOL, FLOAT, TIMESTAMP)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Loader.add_implicit_resolver(BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
Loader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def load(text: str) -> Any:
    """The document's values."""
    return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader


def compose(text: str) -> yaml.Node | None:
    """The document's nodes, which know their lines."""
    return yaml.compose(text, Loader=Loader)
