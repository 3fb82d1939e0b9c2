"""Documents that this package writes or sends: bento.documents, with numbers and an error of our own."""

from collections.abc import Mapping
from typing import ClassVar

from bento.documents import Document as _Document
from bento.documents import Value, describe_too_new, write_atomically
from pipelines.errors import MlopsError

__all__ = ["SCHEMAS", "Document", "SchemaTooNew", "Value", "write_atomically"]

# The shape of each kind that is written here, by its present number. docs/compatibility.md says when one goes up.
SCHEMAS: Mapping[str, int] = {
    "candidate": 1,
    "check-report": 1,
    "data-ref": 1,
    "deployed": 1,
    "evaluation": 1,
    "label-report": 1,
    "model-version": 1,
    "packed-bento": 1,
    "process-mark": 1,
    "published": 1,
    "reconciler-state": 1,
    "release": 1,
    "remote-run": 1,
    "rollout": 1,
    "run-record": 1,
    "run-request": 1,
    "supervisor": 1,
    "trigger": 1,
    "verdict": 1,
}


class SchemaTooNew(MlopsError):
    """A document whose shape a newer version of the program has made."""


class Document(_Document):
    """A kind of file or message of this package."""

    SCHEMAS: ClassVar[Mapping[str, int]] = SCHEMAS

    @classmethod
    def too_new(cls, found: int, source: str) -> Exception:
        """What is raised for a number that this program does not know yet."""
        return SchemaTooNew(
            describe_too_new(cls.KIND, found, cls.SCHEMAS[cls.KIND], source),
            hint="upgrade this program to the version that wrote it, or a later one",
        )
