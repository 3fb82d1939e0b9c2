"""From files without a version, as 0.1.0 read them, to v1: nothing but the version is new."""

from typing import Any


def migrate(kind: str, values: Any) -> list[str]:  # noqa: ARG001 - every migration takes both
    """Gives what it changed besides the version."""
    return []
