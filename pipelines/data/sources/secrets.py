"""Environment variables in source settings: filled in for use, hidden again in messages."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pipelines.errors import MlopsError

if TYPE_CHECKING:
    pass


VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+@")


SHORTEST_SECRET = 4


class VariableMissing(MlopsError):
    """usecase.yaml names an environment variable that is not set."""


def fill_variables(text: str, key: str) -> str:
    """Replace each `${NAME}` by the environment's value. `key` says where the text stands, for the error."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise VariableMissing(
                f"{key}: the environment variable {name} is not set",
                hint=f"export {name}=... before the run; in a cluster, put it into the pipeline's secret",
            )
        return os.environ[name]

    return VARIABLE.sub(value, text)


def hide_secrets(text: str, template: str) -> str:
    """The text with `${NAME}` again where a variable of the template shows its value, and no URL's password."""
    for name in VARIABLE.findall(template):
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"${{{name}}}")
    return URL_PASSWORD.sub(r"\1***@", text)
