"""What every part of usecase.yaml is built of: strict models, the forms of texts, combinations that cannot be."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
ENTRY_PATTERN = r"^[A-Za-z0-9_/.-]+\.py:[A-Za-z_][A-Za-z0-9_]*$"
CPU_PATTERN = r"^(0*[1-9][0-9]*m|0*[1-9][0-9]*(\.[0-9]+)?|0*\.[0-9]*[1-9][0-9]*)$"
MEMORY_PATTERN = r"^0*[1-9][0-9]*(Mi|Gi)$"

FORMS = {
    NAME_PATTERN: "lower-case words of letters and digits joined by hyphens, starting with a letter",
    ENTRY_PATTERN: "a Python file of the use case's folder and a function in it, as file.py:function",
    CPU_PATTERN: "cores above zero, whole, as a fraction or in thousandths",
    MEMORY_PATTERN: "a whole number above zero with Mi or Gi",
}

EntryPoint = Annotated[str, Field(pattern=ENTRY_PATTERN)]
Words = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Immutable. An unknown key is an error, and so is a value of another type, such as the text "3" for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Misfit(ValueError):
    """A combination that cannot be. `path` leads from the model that raises it to the key to change."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


def require_order(low: float | None, high: float | None, key: str = "min") -> None:
    if low is not None and high is not None and low > high:
        raise Misfit(f"min {low:g} is above max {high:g}; swap them", key)


def require_distinct(values: Iterable[Any], *path: str | int) -> None:
    seen: list[Any] = []
    for value in values:
        if value in seen:
            raise Misfit(f"{value!r} stands there twice", *path)
        seen.append(value)


def _class_name(value: Any) -> Any:
    if isinstance(value, str | int | bool):
        return value
    raise ValueError(f"a class is a text, a whole number, true or false; this is {value!r}")


def _param(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    if all(item is None or isinstance(item, str | int | float | bool) for item in items):
        return value
    raise ValueError("a parameter is a number, a text, true, false, null or a flat list of them")


ClassName = Annotated[str | int | bool, BeforeValidator(_class_name)]
Scalar = str | int | float | bool | None
Param = Annotated[Scalar | list[Scalar], BeforeValidator(_param)]
