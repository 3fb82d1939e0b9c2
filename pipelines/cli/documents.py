"""What commands write with --json. docs/cli.md is made from these; a key that changes or goes raises its number."""

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from pipelines.runs.run import Run

if TYPE_CHECKING:
    from pipelines.runs.index import RunListing


class Shape(BaseModel):
    """A document for programs."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UnreadableFolder(Shape):
    """A run folder that was skipped."""

    run_id: str
    why: str


class RunSummary(Shape):
    """A run in one line. `seconds`: how long it worked; `reason`: why it was asked for."""

    run_id: str
    usecase: str
    environment: str
    outcome: str = Field(
        description="An ending of its pipeline, such as released, unchanged, rejected; or failed, running, interrupted."
    )
    started: datetime
    seconds: float
    reason: str
    step: str | None = Field(None, description="The step it is in, or failed in.")
    error: str | None = None
    commit: str | None = Field(None, description="The release commit, where it released.")

    @classmethod
    def of(cls, run: Run) -> "RunSummary":
        """The line of a run."""
        asked = run.request
        return cls(
            run_id=asked.run_id,
            usecase=asked.usecase,
            environment=asked.environment,
            outcome=run.outcome,
            started=run.started,
            seconds=round(run.seconds, 3),
            reason=asked.reason,
            step=run.failed_step or run.current_step,
            error=run.error,
            commit=run.commit,
        )


class RunsDocument(Shape):
    """The newest runs first."""

    runs: list[RunSummary]
    unreadable: list[UnreadableFolder] = Field([], description="Run folders among them that were skipped.")

    @classmethod
    def of(cls, listing: "RunListing") -> "RunsDocument":
        """What a listing of run folders found."""
        return cls(runs=[RunSummary.of(run) for run in listing.runs], unreadable=unreadable_of(listing))


class CheckDocument(Shape):
    """What `mlops check` found."""

    valid: bool
    usecases: list[str]
    problems: list[str]
    notes: list[str] = []
    judged: str = Field("", description="How much of the tree was checked.")


def unreadable_of(listing: "RunListing") -> list[UnreadableFolder]:
    """The skipped folders, as a document has them."""
    return [UnreadableFolder(run_id=one.run_id, why=one.why) for one in listing.unreadable]


class RevisionDocument(Shape):
    """One revision of the monitor's database."""

    id: str = Field(description="Four digits, counting up.")
    sentence: str = Field(description="What it changes.")


class StoreDocument(Shape):
    """The monitor's database and the revision that this program needs."""

    database: str = Field(description="Its URL, without the password.")
    revision: str | None = Field(description="Null in an empty database.")
    is_recorded: bool = Field(description="False where 0.1.0 made the tables, which wrote no revision.")
    program: str = Field(description="The revision that this program needs.")
    missing: list[RevisionDocument] = Field(description="What an upgrade runs, the oldest first.")
    is_too_new: bool = Field(description="A newer program has upgraded it; this one cannot work with it.")
