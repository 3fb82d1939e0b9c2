"""Reading usecase.yaml, with an environment's overrides, into a UseCase.

apps/<use case>/usecase.yaml                    the contract
apps/<use case>/<environment>/overrides.yaml    optional: the few keys that differ there
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipelines.errors import MlopsError
from pipelines.usecase import yaml12
from pipelines.usecase.model import UseCase

USECASE_FILE = "usecase.yaml"
OVERRIDES_FILE = "overrides.yaml"
NEVER_OVERRIDDEN = ("name", "purpose", "owner", "risk", "task")

Path_ = tuple[str | int, ...]


class UsecaseNotFound(MlopsError):
    """There is no such folder under apps/."""


class UsecaseInvalid(MlopsError):
    """The file is not valid YAML, or breaks the schema; every problem is listed with file, line and key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems), hint="docs/usecase.md explains every key")
        self.problems = problems


def usecase_names(root: Path) -> list[str]:
    """The use cases of a checkout: the folders under apps/ that hold a usecase.yaml."""
    return sorted(path.parent.name for path in (root / "apps").glob(f"*/{USECASE_FILE}"))


def load_usecase(root: Path, name: str, environment: str | None = None) -> UseCase:
    """Read and validate one use case, as it is in this environment."""
    folder = root / "apps" / name
    main = folder / USECASE_FILE
    if not main.is_file():
        raise _not_found(root, name)
    document = _Document.read(main, root)
    overrides = folder / environment / OVERRIDES_FILE if environment else None
    layers = [document]
    if overrides and overrides.is_file():
        overlay = _Document.read(overrides, root)
        _refuse_identity_changes(overlay)
        layers.append(overlay)
    values: Any = {}
    for layer in layers:
        values = _merge(values, layer.values)
    try:
        usecase = UseCase.model_validate(values)
    except ValidationError as error:
        raise UsecaseInvalid([_explain(details, values, layers) for details in error.errors()]) from None
    if usecase.name != name:
        raise UsecaseInvalid(
            [f"{document.at(('name',))}: name: {usecase.name!r} is not its folder's name, {name!r}; make them equal"]
        )
    return usecase


class _Document:
    """A parsed YAML file that can say on which line a key stands."""

    def __init__(self, label: str, values: Any, node: yaml.Node | None) -> None:
        self.label = label
        self.values = values
        self._node = node

    @classmethod
    def read(cls, path: Path, root: Path) -> "_Document":
        label = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        text = path.read_text(encoding="utf-8")
        try:
            node = yaml12.compose(text)
            values = yaml12.load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            raise UsecaseInvalid(
                [f"{label}{line}: not valid YAML: {getattr(error, 'problem', None) or error}"]
            ) from None
        if not isinstance(values, dict):
            raise UsecaseInvalid([f"{label}: expected keys and values, such as `name: {path.parent.name}`"])
        duplicate = next(_duplicate_keys(node), None)
        if duplicate:
            raise UsecaseInvalid(
                [f"{label}:{duplicate.start_mark.line + 1}: {duplicate.value}: the key stands twice in one mapping"]
            )
        return cls(label, values, node)

    def has(self, path: Path_) -> bool:
        value = self.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def at(self, path: Path_) -> str:
        """`file:line` of the deepest part of the path that the file has."""
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
        return f"{self.label}:{line}"


def _duplicate_keys(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key
            seen.add(key.value)
            yield from _duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicate_keys(item)


def _merge(base: Any, overlay: Any) -> Any:
    """Mappings merge key by key; anything else is replaced."""
    if isinstance(base, dict) and isinstance(overlay, dict):
        return {
            key: _merge(base.get(key), overlay[key]) if key in overlay else base[key]
            for key in [*base, *(overlay.keys() - base.keys())]
        }
    return overlay


def _refuse_identity_changes(overlay: _Document) -> None:
    changed = [key for key in overlay.values if key in NEVER_OVERRIDDEN]
    if changed:
        raise UsecaseInvalid(
            [
                f"{overlay.at((key,))}: {key}: is the same in every environment; change it in {USECASE_FILE}"
                for key in changed
            ]
        )


def _explain(details: ErrorDetails, values: Any, layers: list[_Document]) -> str:
    """One problem as `file:line: key: what is wrong`, and what would be right."""
    path = _strip_union_tags(details["loc"], values)
    layer = next((layer for layer in reversed(layers) if layer.has(path)), layers[0])
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        message = _unknown_key(str(path[-1]), path[:-1])
    elif details["type"] == "missing":
        message = "is required but missing"
    elif details["type"] == "union_tag_not_found":
        message = f"needs the key {details['ctx']['discriminator']} to say which kind it is"  # type: ignore[typeddict-item]
    elif details["type"] not in ("value_error", "union_tag_invalid"):
        message = f"{message} (got {details['input']!r})"
    return f"{layer.at(path)}: {_dotted(path) or 'file'}: {message}"


def _strip_union_tags(location: tuple[int | str, ...], values: Any) -> Path_:
    """Pydantic puts the chosen kind of a union into an error's path; the file has no such key."""
    path: list[str | int] = []
    value = values
    for index, part in enumerate(location):
        is_last = index == len(location) - 1
        if isinstance(value, dict) and part not in value and not is_last:
            continue
        if isinstance(value, dict) and part not in value and part == value.get("type", value.get("by")):
            continue
        path.append(part)
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    return tuple(path)


def _unknown_key(key: str, parent: Path_) -> str:
    allowed = _allowed_keys(parent)
    close = difflib.get_close_matches(key, allowed, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    listing = f"; allowed: {', '.join(allowed)}" if allowed else ""
    return f"unknown key{guess}{listing}"


def _allowed_keys(parent: Path_) -> list[str]:
    """The keys the schema allows under this path, of every kind that could stand there."""
    schema = UseCase.model_json_schema()
    definitions = schema.get("$defs", {})
    candidates = [schema]
    for part in parent:
        following: list[dict[str, Any]] = []
        for candidate in _resolve(candidates, definitions):
            if isinstance(part, int):
                following.append(candidate.get("items", {}))
            elif part in candidate.get("properties", {}):
                following.append(candidate["properties"][part])
            elif isinstance(candidate.get("additionalProperties"), dict):
                following.append(candidate["additionalProperties"])
        candidates = following
    return list(
        dict.fromkeys(key for candidate in _resolve(candidates, definitions) for key in candidate.get("properties", {}))
    )


def _resolve(schemas: list[dict[str, Any]], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Follow references and unions to the plain schemas behind them."""
    plain: list[dict[str, Any]] = []
    for schema in schemas:
        if "$ref" in schema:
            plain += _resolve([definitions[schema["$ref"].rsplit("/", 1)[-1]]], definitions)
        elif "anyOf" in schema or "oneOf" in schema:
            plain += _resolve([*schema.get("anyOf", []), *schema.get("oneOf", [])], definitions)
        else:
            plain.append(schema)
    return plain


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _not_found(root: Path, name: str) -> UsecaseNotFound:
    known = usecase_names(root)
    close = difflib.get_close_matches(name, known, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return UsecaseNotFound(
        f"apps/{name}/{USECASE_FILE} does not exist{guess}; use cases here: {', '.join(known) or 'none'}",
        hint=f"`mlops new {name} --template tabular` makes one",
    )
