"""What can be wrong with a request's body."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bento.errors import BentoError

MOST_FAULTS = 20


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: in which instance (counted from 0), in which field, and what would be right."""

    detail: str
    instance: int | None = None
    field: str | None = None

    def as_json(self) -> dict[str, Any]:
        told = {"instance": self.instance, "field": self.field, "detail": self.detail}
        return {key: value for key, value in told.items() if value is not None}


class InvalidBody(BentoError):
    """The body as a whole is not what the API takes."""


class InvalidInstances(BentoError):
    """Instances that do not fit the signature; `faults` holds the first 20, in the instances' order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:MOST_FAULTS])
        super().__init__("; ".join(fault.detail for fault in self.faults))
