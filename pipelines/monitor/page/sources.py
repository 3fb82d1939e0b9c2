"""Where the page has everything from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from pipelines.environments import DEFAULTS
from pipelines.monitor.inventory.inventory import Look
from pipelines.predictions.store.store import Store
from pipelines.retraining.queue import TriggerTable
from pipelines.runs.index import UnreadableRun
from pipelines.runs.run import Run

DASHBOARD = "model-health"  # infrastructure/configs/model-monitoring/dashboards


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Links:
    """Where people find more. `commit`: a web address with {commit} in it; `state`: the folder with the runs' cards."""

    mlflow: str | None = None
    grafana: str | None = None
    commit: str | None = None
    state: Path | None = None

    def to_commit(self, commit: str | None) -> str | None:
        return web_address(self.commit.replace("{commit}", commit)) if self.commit and commit else None

    def to_mlflow_run(self, run: str | None) -> str | None:
        return web_address(f"{self.mlflow.rstrip('/')}/#/runs/{run}") if self.mlflow and run else None

    def to_grafana(self, usecase: str, environment: str) -> str | None:
        if not self.grafana:
            return None
        chosen = urlencode({"var-usecase": usecase, "var-environment": environment})
        return web_address(f"{self.grafana.rstrip('/')}/d/{DASHBOARD}?{chosen}")


@dataclass(frozen=True)
class Sources:
    """What the page is made from.

    `runs`: those of a use case that this machine knows, the newest first. `skipped_runs`: run folders that could not be
    read. `reports`: the folder of Evidently's. `environments`: in the order in which a release gets to them.
    """

    sight: Look
    store: Store
    triggers: TriggerTable
    runs: Callable[[str], Sequence[Run]]
    reports: Path | None
    links: Links = Links()
    clock: Callable[[], datetime] = utc_now
    skipped_runs: Callable[[], Sequence[UnreadableRun]] = tuple
    environments: Sequence[str] = DEFAULTS.names

    def skipped(self) -> list[str]:
        """One sentence for each run folder that could not be read so far."""
        return [f"The folder of run {one.run_id} cannot be read: {one.why}" for one in self.skipped_runs()]


def web_address(text: str | None) -> str | None:
    """The address, if a browser may follow it: `javascript:` and the like are none."""
    return text if text and urlsplit(text).scheme in ("http", "https") else None
