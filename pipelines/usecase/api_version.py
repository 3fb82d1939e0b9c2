"""`apiVersion` of the files that people write: which version of their keys a file means.

What people write is strict, so a key that is new or gone must not be guessed at. docs/compatibility.md has the policy.
"""

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipelines.usecase.document import YamlDocument

GROUP = "mlops-blueprint"
NUMBER = 1
KEY = "apiVersion"
API_VERSION = f"{GROUP}/v{NUMBER}"
FORM = re.compile(rf"{GROUP}/v([1-9][0-9]*)")

ApiVersion = Literal["mlops-blueprint/v1"]


def version_of(value: object) -> int | None:
    """The number in such a text as mlops-blueprint/v1; None where it is none."""
    found = FORM.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) if found else None


def check_api_version(document: "YamlDocument") -> None:
    """Every other key is only looked at where the file is of the version that this program reads.

    Raises:
        UsecaseInvalid: `apiVersion` is missing, is none, or names another version.
    """
    from pipelines.usecase.document import UsecaseInvalid

    place = f"{document.label}:{document.line((KEY,))}: {KEY}"
    if KEY not in document.values:
        raise UsecaseInvalid([f"{place}: is missing; write `{KEY}: {API_VERSION}` or let `mlops migrate` add it"])
    value = document.values[KEY]
    found = version_of(value)
    if found is None:
        raise UsecaseInvalid([f"{place}: expected {API_VERSION} (got {value!r})"])
    if found != NUMBER:
        cure = "upgrade this program" if found > NUMBER else "`mlops migrate` rewrites it"
        raise UsecaseInvalid([f"{place}: written for v{found}, this program reads v{NUMBER}; {cure}"])
