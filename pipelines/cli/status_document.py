"""What `mlops status --json` writes; apart from the other shapes, because the platform's own is dear to import."""

from pydantic import Field

from pipelines.cli.documents import Shape, UnreadableFolder
from pipelines.embedded.status import PlatformStatus
from pipelines.retraining.triggers import TriggerRecord
from pipelines.runs.run import Run


class StatusDocument(Shape):
    """The embedded platform, the last runs, and the newest requests for runs."""

    platform: PlatformStatus
    runs: list[Run]
    unreadable: list[UnreadableFolder] = Field([], description="Run folders among them that were skipped.")
    requests: list[TriggerRecord]
