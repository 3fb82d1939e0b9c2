"""What is wrong with a use case, said in the words of its file: which key, why, and what would be right."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipelines.errors import did_you_mean
from pipelines.usecase.document import KIND_KEYS, KeyPath
from pipelines.usecase.json_schema import PLUGGABLE, json_schema_with_plugins
from pipelines.usecase.strict import FORMS, Misfit

WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
}
BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    path: KeyPath
    message: str

    @property
    def key(self) -> str:
        """`evaluation.gates[1].metric`"""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
        return text or "the file"


def explain(error: ValidationError) -> list[Problem]:
    """Every problem once; a mistyped required key is one problem, not an unknown key and a missing one."""
    problems: list[Problem] = []
    typos: set[KeyPath] = set()
    details = error.errors()
    missing = {tuple(_locate(d["loc"])[0]) for d in details if d["type"] == "missing"}
    for detail in details:
        path, node = _locate(detail["loc"])
        if detail["type"] == "extra_forbidden":
            problem, meant = _unknown_key(detail["loc"], missing)
            typos |= meant
        else:
            problem = _explain_one(detail, path, node)
        if problem not in problems:
            problems.append(problem)
    return [problem for problem in problems if problem.path not in typos]


def _explain_one(detail: ErrorDetails, path: KeyPath, node: dict[str, Any]) -> Problem:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "value_error":
        cause = context.get("error")
        return Problem((*path, *cause.path) if isinstance(cause, Misfit) else path, str(cause))
    if kind == "missing":
        return _missing(path, node)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _wrong_kind(path, node, context.get("tag"))
    if kind == "invalid_key" or detail["loc"][-1:] == ("[key]",):
        return Problem((*path[:-1], str(path[-1])), "a key must be a text that is not empty; put it in quotes")
    return Problem(path, _wrong_value(kind, value, context, node) or f"{detail['msg']} (got {_shown(value)})")


def _missing(path: KeyPath, node: dict[str, Any]) -> Problem:
    if path and isinstance(path[-1], int):
        return Problem(path[:-1], f"has too few items{_such_as(_locate(path[:-1])[1])}")
    return Problem(path, f"is required but missing{_such_as(node)}")


def _wrong_value(kind: str, value: Any, context: dict[str, Any], node: dict[str, Any]) -> str | None:
    example = _such_as(node)
    if kind == "literal_error":
        allowed = [str(choice) for choice in node.get("enum", [node.get("const")])]
        guess = did_you_mean(value, allowed) if isinstance(value, str) else ""
        return f"{_shown(value)} is not allowed{guess}; allowed: {', '.join(allowed)}"
    if kind in WANTED:
        return f"must be {WANTED[kind]}, not {_shown(value)}{_quotes(kind, value)}{example}"
    if kind in BOUNDS:
        word, key = BOUNDS[kind]
        return f"must be {word} {context[key]}, not {_shown(value)}"
    if kind == "string_pattern_mismatch":
        return f"{_shown(value)} is not {FORMS.get(context['pattern'], context['pattern'])}{example}"
    return _wrong_length(kind, value, context, example)


def _wrong_length(kind: str, value: Any, context: dict[str, Any], example: str) -> str | None:
    unit = "characters" if kind.startswith("string") else "items"
    if kind.endswith("too_short"):
        least = context["min_length"]
        return f"must not be empty{example}" if least == 1 else f"needs at least {least} {unit}{example}"
    if kind.endswith("too_long"):
        return f"has {len(value)} {unit}; {context['max_length']} are the most"
    return None


def _wrong_kind(path: KeyPath, node: dict[str, Any], kind: str | None) -> Problem:
    """`type: parquet` where it is python, file or sql."""
    key, kinds = node["discriminator"]["propertyName"], list(node["discriminator"]["mapping"])
    if kind is None:
        return Problem((*path, key), f"is required but missing; allowed: {', '.join(kinds)}")
    return Problem((*path, key), f"{kind!r} is not allowed{did_you_mean(kind, kinds)}; allowed: {', '.join(kinds)}")


def _unknown_key(location: tuple[int | str, ...], missing: set[KeyPath]) -> tuple[Problem, set[KeyPath]]:
    """The problem, and the missing keys that it was meant for."""
    parent, node = _locate(location[:-1])
    key, properties = str(location[-1]), node.get("properties", {})
    guess = did_you_mean(key, properties)
    meant = {gap for gap in missing if gap[:-1] == parent and guess == f" (did you mean {gap[-1]}?)"}
    kinds = [f" for {name}: {properties[name]['const']}" for name in KIND_KEYS if "const" in properties.get(name, {})]
    if kinds:
        guess = kinds[0] + guess
    elif not guess:
        homes = [place.rpartition(".")[0] or "the top" for place in _every_key() if place.rpartition(".")[2] == key]
        guess = f" here (it belongs to {' or '.join(homes)})" if homes else ""
    return Problem((*parent, key), f"unknown key{guess}; allowed: {', '.join(properties)}"), meant


def _shown(value: Any) -> str:
    """A value as its file has it."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"keys and values ({', '.join(map(str, value))[:60]})" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"the list {str(list(value))[:60]}"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _quotes(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(value, str) and value.strip().lstrip("+-")[:1].isdigit():
        return "; write it as a number, without quotes and unit"
    return ""


def _such_as(node: dict[str, Any]) -> str:
    if node.get("examples"):
        return f"; such as {json.dumps(node['examples'][0], ensure_ascii=False)}"
    return f"; its keys: {', '.join(node['properties'])}" if node.get("properties") else ""


# --- the schema, walked as the file is ----------------------------------------------------------------------


def _schema() -> dict[str, Any]:
    return _schema_with(tuple(model for union in PLUGGABLE for model in union.loaded_plugins()))


@functools.cache
def _schema_with(_plugins: tuple[type, ...]) -> dict[str, Any]:
    return json_schema_with_plugins()


def _locate(location: tuple[int | str, ...]) -> tuple[KeyPath, dict[str, Any]]:
    """The path in the file and the schema there: pydantic puts the chosen kind of a union between the keys."""
    path: list[str | int] = []
    node = _resolve(_schema())
    for part in location:
        if "discriminator" in node and part in node["discriminator"]["mapping"]:
            node = _resolve({"$ref": node["discriminator"]["mapping"][str(part)]})
        elif part == "[key]":
            continue
        else:
            path.append(part)
            node = _resolve(_inside(node, part))
    return tuple(path), node


def _inside(node: dict[str, Any], part: str | int) -> dict[str, Any]:
    if isinstance(part, int):
        items = node.get("prefixItems", [])
        found = items[part] if part < len(items) else node.get("items", {})
    else:
        found = node.get("properties", {}).get(part, node.get("additionalProperties", {}))
    return found if isinstance(found, dict) else {}


def _resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and look through `or null`; what the key itself says of it stays."""
    own = {key: value for key, value in node.items() if key in ("examples", "description")}
    if "$ref" in node:
        return {**_resolve(_schema()["$defs"][node["$ref"].rsplit("/", 1)[-1]]), **own}
    branches = [branch for branch in node.get("anyOf", []) if branch.get("type") != "null"]
    if len(branches) == 1:
        return {**_resolve(branches[0]), **own}
    return node


@functools.cache
def _every_key() -> list[str]:
    return list(dict.fromkeys(_keys_below(_schema(), "")))


def _keys_below(node: dict[str, Any], path: str) -> Iterator[str]:
    node = _resolve(node)
    for branch in node.get("oneOf", []):
        if "$ref" in branch:
            yield from _keys_below(branch, path)
    for key, child in node.get("properties", {}).items():
        where = f"{path}.{key}" if path else key
        yield where
        yield from _keys_below(child, where)
    for child, where in ((node.get("items"), f"{path}[]"), (node.get("additionalProperties"), f"{path}.*")):
        if isinstance(child, dict):
            yield from _keys_below(child, where)
