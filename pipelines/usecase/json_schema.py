"""The model of usecase.yaml as JSON Schema, draft 2020-12."""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipelines.usecase.durations import format_duration
from pipelines.usecase.gates import GATES
from pipelines.usecase.model import UseCase
from pipelines.usecase.pluggable import Pluggable, with_plugins
from pipelines.usecase.sources import SOURCES

PLUGGABLE: tuple[Pluggable, ...] = (SOURCES, GATES)


class _AsWritten(GenerateJsonSchema):
    """Durations as people write them, and every key in the order it was declared."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def sort(self, value: Any, parent_key: str | None = None) -> Any:  # noqa: ARG002 - it overrides
        return value


def json_schema() -> dict[str, Any]:
    """What an editor can know of a use case; combinations that it cannot say are left to `mlops check`."""
    schema = UseCase.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": _AsWritten.schema_dialect, **schema, "title": "usecase.yaml"}


def json_schema_with_plugins() -> dict[str, Any]:
    """The same, with the sections of the plugins that a use case has named in this process."""
    return with_plugins(json_schema(), PLUGGABLE, _AsWritten)
