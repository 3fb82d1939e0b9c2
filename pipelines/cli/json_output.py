"""`--json`: one document on stdout, whose shape is documented and numbered, or an error object."""

import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

wanted: ContextVar[bool] = ContextVar("json_wanted", default=False)
Function = TypeVar("Function", bound=Callable[..., Any])


def json_option(function: Function) -> Function:
    """The option `--json`, the same for every command that has it."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout: docs/cli.md.")(function)


def print_document(number: int, document: "BaseModel") -> None:
    """Write the document, the number of its shape first."""
    values = {"schema": number} | document.model_dump(mode="json", exclude={"schema"})
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))


def print_error(message: str, hint: str | None, kind: str) -> None:
    """Write the object that stands for a document that could not be made. `kind`: the error's type."""
    click.echo(json.dumps({"error": {"message": message, "hint": hint, "type": kind}}, indent=2, ensure_ascii=False))
