"""How long things are kept."""

from datetime import timedelta
from typing import ClassVar

from pipelines.usecase.durations import Duration
from pipelines.variables import Variables, variable

LEAST = timedelta(days=2)  # longer than any run: what one is about to use may be a day older than the run
DAYS = ("runs", "temporary", "reports", "bentos", "snapshots", "logs")


class RetentionRules(Variables):
    """Read by `mlops clean` and the monitor: how long each kind is kept after its last use, two days at least. See
    [what is kept](retention.md)."""

    title: ClassVar[str] = "Retention"

    runs: Duration = variable(
        "MLOPS_KEEP_RUNS", timedelta(days=90), "Run folders with their journals.", shown="`90d`", ge=LEAST
    )
    temporary: Duration = variable(
        "MLOPS_KEEP_TEMPORARY",
        timedelta(days=7),
        "Models and caches that the steps of a run handed to each other.",
        shown="`7d`",
        ge=LEAST,
    )
    reports: Duration = variable(
        "MLOPS_KEEP_REPORTS", timedelta(days=90), "The monitor's evaluation reports.", shown="`90d`", ge=LEAST
    )
    bentos: Duration = variable(
        "MLOPS_KEEP_BENTOS", timedelta(days=30), "Bentos that no release needs.", shown="`30d`", ge=LEAST
    )
    snapshots: Duration = variable(
        "MLOPS_KEEP_SNAPSHOTS", timedelta(days=30), "Snapshots that nothing needs.", shown="`30d`", ge=LEAST
    )
    logs: Duration = variable("MLOPS_KEEP_LOGS", timedelta(days=30), "Logs.", shown="`30d`", ge=LEAST)
    releases: int = variable(
        "MLOPS_KEEP_RELEASES", 10, "Releases of each environment whose Bentos are kept for a rollback.", ge=1
    )

    def with_days(self, days: int) -> "RetentionRules":
        """The same number of days for every kind."""
        return self.model_copy(update=dict.fromkeys(DAYS, timedelta(days=days)))
