"""YAML for people to review: lists indented, programs as blocks of text, keys in the order they were given."""

from typing import Any

import yaml

# The program texts in it are KFP's, and longer than our lines.
NOT_LINTED = "# yamllint disable-file"


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own
        return super().increase_indent(flow, False)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(document: dict[str, Any], *comments: str) -> str:
    """The document below comment lines; the same document gives the same text."""
    body = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return "".join(f"{comment}\n" for comment in comments) + body
