"""Environment variables as declared fields: one way to read them, one style of error.

    class Recording(Variables):
        monitor: str = variable("MLOPS_MONITOR_URL", "", "Where predictions and labels go.")
        token: SecretStr | None = variable("MLOPS_MONITOR_TOKEN", None, "Bearer token for the monitor.")

    Recording.load()          from this process's environment
    Recording.load(environ)   from a mapping

An empty variable counts as not set. A secret may also come from a file, such as a mounted Secret: the variable's name
with `_FILE`. No message and no repr shows a secret. docs/settings.md, the list of all variables, is made from these
classes.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from bento.errors import BentoError

PAGE = "docs/settings.md"
FILE = "_FILE"
HIDDEN = "***"
SHORTEST_SECRET = 6  # shorter ones are no secrets, and hiding them would blot out words
MOST_SECRETS = 64
URL_PASSWORD = re.compile(r"(?<=://)[^\s/@]*?:([^\s/@]+)(?=@)")

_secrets: dict[str, None] = {}  # in the order in which they were read


class VariableWrong(BentoError):
    """An environment variable has a value that it cannot have."""


def variable(  # noqa: PLR0913 - what the reference says of a variable
    name: str,
    default: Any,
    meaning: str,
    *,
    also: tuple[str, ...] = (),
    shown: str | None = None,
    empty: bool = False,
    file: bool = True,
    internal: bool = False,
    **limits: Any,
) -> Any:
    """A field that is read from the variable `name`.

    Args:
        name: the variable.
        default: the value where it is not set.
        meaning: one sentence for docs/settings.md.
        also: other variables that are asked after it, such as those of other programs.
        shown: the default in words, where the value does not say it.
        empty: an empty text is a value of its own.
        file: a secret may also come from the file that `<name>_FILE` names.
        internal: set by this program for its own children, not by people.
        limits: what `pydantic.Field` takes, such as `ge=1`.
    """
    extra: dict[str, JsonValue] = {"shown": shown, "empty": empty, "file": file, "internal": internal}
    alias = AliasChoices(name, *also) if also else name
    return Field(default, validation_alias=alias, description=meaning, json_schema_extra=extra, **limits)


class Variables(BaseModel):
    """The variables of one part of the program."""

    title: ClassVar[str]  # of their section in docs/settings.md; the class's docstring is its text
    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read them from this process's environment, or from a mapping.

        Raises:
            VariableWrong: names every variable whose value cannot be, and what would be right.
        """
        env = os.environ if environ is None else environ
        fields = cls.model_fields
        values = {name: value for name, field in fields.items() if (value := text_of(field, env)) is not None}
        try:
            loaded = cls.model_validate(values)
        except ValidationError as error:
            raise VariableWrong("\n".join(problems(fields, error))) from None
        remember_secrets(loaded)
        return loaded


def remember_secrets(loaded: BaseModel) -> None:
    """From now on no log line shows them; the oldest are forgotten, as tokens are renewed."""
    for value in loaded.__dict__.values():
        if isinstance(value, SecretStr):
            remember_secret(value.get_secret_value())


def remember_secret(value: str) -> None:
    """From now on no log line shows it, nor the password in it where it is a URL."""
    for part in (value, *URL_PASSWORD.findall(value)):
        if len(part) >= SHORTEST_SECRET:
            _secrets.pop(part, None)
            _secrets[part] = None
    for oldest in list(_secrets)[:-MOST_SECRETS]:
        _secrets.pop(oldest, None)


def hide_secrets(text: str) -> str:
    """The text with *** for every secret that was read here, and for the password of any URL."""
    for secret in list(_secrets):
        text = text.replace(secret, HIDDEN)
    return URL_PASSWORD.sub(HIDDEN, text)


def names_of(field: FieldInfo) -> list[str]:
    """The variables that a field is read from, the first that is set wins."""
    alias = field.validation_alias
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


def is_secret(field: FieldInfo) -> bool:
    """Whether its value must not be seen."""
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


def detail(field: FieldInfo, key: str) -> Any:
    """What `variable` was given for it: `shown`, `empty`, `file` or `internal`."""
    extra = field.json_schema_extra
    return extra.get(key) if isinstance(extra, dict) else None


def text_of(field: FieldInfo, env: Mapping[str, str]) -> str | None:
    """The field's text in the environment, or in the file that it names for a secret; None where it is not set.

    Raises:
        VariableWrong: the file cannot be read, or is empty.
    """
    for name in names_of(field):
        value = env.get(name)
        if value or (value is not None and detail(field, "empty")):
            return value
    return secret_in_file(field, env)


def secret_in_file(field: FieldInfo, env: Mapping[str, str]) -> str | None:
    """The text of the file that `<variable>_FILE` names; None where there is none.

    Raises:
        VariableWrong: the file cannot be read, or is empty.
    """
    if not (is_secret(field) and detail(field, "file")):
        return None
    for name in names_of(field):
        if place := env.get(name + FILE):
            try:
                text = Path(place).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise VariableWrong(f"{name}{FILE}: {place} cannot be read: {why}") from None
            if not text:
                raise VariableWrong(f"{name}{FILE}: {place} is empty; expected the value of {name} in it")
            return text
    return None


def problems(fields: Mapping[str, FieldInfo], error: ValidationError) -> Iterator[str]:
    """One line for each variable that is wrong: its name, what would be right, and its value if that may be seen."""
    by_name = {name: field for key, field in fields.items() for name in (key, *names_of(field))}
    for problem in error.errors(include_url=False):
        field = by_name[str(problem["loc"][0])]
        told = _expected(problem)
        value = problem["input"]
        got = "its value is not shown" if is_secret(field) else f"got {value!r}"
        shown = told if not is_secret(field) and repr(value) in told else f"{told} ({got})"
        yield f"{names_of(field)[0]}: {shown}"


def _expected(problem: Any) -> str:
    """What would be right, in the words of all errors here."""
    kind, context = str(problem["type"]), problem.get("ctx", {})
    words = {
        "bool_parsing": "yes or no, as 1, yes, true, on or 0, no, false, off",
        "int_parsing": "a whole number",
        "float_parsing": "a number",
        "literal_error": context.get("expected"),
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than_equal": f"at most {context.get('le')}",
    }
    if kind == "value_error":
        return str(context["error"])
    return f"expected {words[kind]}" if kind in words else str(problem["msg"])
