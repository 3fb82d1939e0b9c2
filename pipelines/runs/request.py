"""What is asked of a pipeline run. One value, handed to every step, whichever runner schedules them."""

import secrets
from datetime import UTC, datetime
from typing import Any

from pydantic import field_validator

from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.documents import Document


class RunRequest(Document):
    """A run of one use case's pipeline.

    `pipeline`: which of those in pipelines.definitions.
    `as_of`: train on what was known then. `params` win over the use case's own training.params.
    `replace_champion`: do not compare with the released model (it cannot be scored on the new data).
    `force`: release again what was rolled back.
    """

    KIND = "run-request"

    usecase: str
    run_id: str
    environment: str
    pipeline: str = TRAIN_AND_RELEASE.name
    code: str = "unknown"
    as_of: datetime | None = None
    params: dict[str, Any] = {}
    seed: int | None = None
    reason: str = "manual"
    replace_champion: bool = False
    force: bool = False

    @field_validator("as_of")
    @classmethod
    def _times_are_utc(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("params")
    @classmethod
    def _whole_numbers_stay_whole(cls, value: dict[str, Any]) -> dict[str, Any]:
        """KFP hands every number on as a float; 80.0 trees were 80 trees."""
        return {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in value.items()}


def new_run_id(usecase: str, now: datetime | None = None) -> str:
    """Readable, sortable and unique: `flight-delays-20130401-060000-3fa9`."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    return f"{usecase}-{stamp}-{secrets.token_hex(2)}"
