"""Documents: what programs write to disk or send, each with the number of its shape.

    write     strict: only declared keys, and `schema`, the number of this kind's shape
    read      tolerant: unknown keys are ignored, older numbers are upgraded, and only a higher number is refused

So a program reads what an older or a newer one of the same number has written. A document without a number is of
version 1, as released before there were numbers. docs/compatibility.md says what may change under which number.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from bento.errors import SchemaTooNew

NUMBER = "schema"
FIRST = 1

# The shape of each kind that this package writes, by its present number.
SCHEMAS: Mapping[str, int] = {
    "golden": 1,
    "provenance": 1,
    "segment": 1,
    "server-state": 1,
    "signature": 1,
}

Values = dict[str, Any]
Upgrade = Callable[[Values], Values]


@dataclass(frozen=True)
class _Reading:
    """Validation of what some program has written; `source` says where that is, for errors."""

    source: str


_WRITING = object()


class Value(BaseModel):
    """Immutable. An unknown key is an error in code; where a document is read, it is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(Value):
    """A kind of file or message. A subclass names its `KIND`, whose number is in `SCHEMAS`.

    `UPGRADES` maps an older number to the function that turns values of that shape into those of the next one.
    """

    KIND: ClassVar[str]
    SCHEMAS: ClassVar[Mapping[str, int]] = SCHEMAS
    UPGRADES: ClassVar[Mapping[int, Upgrade]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        kind = cls.__dict__.get("KIND")
        if kind is None and "SCHEMAS" not in cls.__dict__:
            raise TypeError(f"{cls.__qualname__} needs a KIND; what is never written or sent is a Value")
        if kind is not None and kind not in cls.SCHEMAS:
            raise TypeError(f"{cls.__qualname__}: SCHEMAS has no number for the kind {kind!r}")
        if kind is not None and set(cls.UPGRADES) != set(range(FIRST, cls.SCHEMAS[kind])):
            raise TypeError(f"{cls.__qualname__}: UPGRADES must lead from each earlier number to {cls.SCHEMAS[kind]}")

    @classmethod
    def parse(cls, data: str | bytes, source: str = "") -> Self:
        """Read JSON. Raises SchemaTooNew, and pydantic.ValidationError where it is no such document."""
        return cls.model_validate_json(data, extra="ignore", context=_Reading(source))

    @classmethod
    def from_values(cls, values: Mapping[str, Any], source: str = "") -> Self:
        """Read what JSON held. Raises as `parse` does."""
        return cls.model_validate(dict(values), extra="ignore", context=_Reading(source))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file. Raises OSError, and as `parse` does."""
        return cls.parse(path.read_bytes(), str(path))

    def to_json(self, *, indent: int | None = None, exclude_defaults: bool = False) -> str:
        """The document as JSON, with its number."""
        return self.model_dump_json(indent=indent, exclude_defaults=exclude_defaults, context=_WRITING)

    def to_values(self, *, exclude_none: bool = False) -> Values:
        """The document as values that JSON can hold, with its number."""
        return self.model_dump(mode="json", exclude_none=exclude_none, context=_WRITING)

    def write(self, path: Path) -> None:
        """Write the file whole or not at all. Raises OSError."""
        write_atomically(path, self.to_json(indent=2) + "\n")

    @classmethod
    def too_new(cls, found: int, source: str) -> Exception:
        """What is raised for a number that this program does not know yet."""
        return SchemaTooNew(describe_too_new(cls.KIND, found, cls.SCHEMAS[cls.KIND], source))

    @model_validator(mode="before")
    @classmethod
    def _of_this_schema(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(info.context, _Reading) or not isinstance(values, dict):
            return values
        values = dict(values)
        found = _whole(values.pop(NUMBER, FIRST))
        known = cls.SCHEMAS[cls.KIND]
        if found > known:
            raise cls.too_new(found, info.context.source)
        for number in range(found, known):
            values = cls.UPGRADES[number](values)
        return values

    @model_serializer(mode="wrap")
    def _with_its_number(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Values:
        values: Values = handler(self)
        return {NUMBER: self.SCHEMAS[self.KIND], **values} if info.context is _WRITING else values


def describe_too_new(kind: str, found: int, known: int, source: str) -> str:
    """One sentence: which file, of which kind, which number it has, and which is read here."""
    where = f"{source}: " if source else ""
    return f"{where}a {kind} document of schema {found}, written by a newer version; this one reads schema {known}"


def write_atomically(path: Path, text: str) -> None:
    """Replace the file in one step, so that a reader or a crash never sees half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _whole(number: Any) -> int:
    """The number, from 1. Kubeflow hands whole numbers on as floats."""
    if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number) or number < FIRST:
        raise ValueError(f"schema is a whole number from {FIRST}, not {number!r}")
    return int(number)
