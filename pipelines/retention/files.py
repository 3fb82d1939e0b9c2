"""Logs and evaluation reports: plain files that age."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pipelines.embedded.state import RunFiles, run_folder
from pipelines.retention.items import RetentionItem, modified, size_of, young
from pipelines.retention.rules import RetentionRules

PROCESSES = ("supervisor", "reconciler", "monitor", "mlflow")


def log_items(home: Path, rules: RetentionRules, now: datetime) -> Iterator[RetentionItem]:
    """Every log of the state folder; one that a process of the platform writes stays, however quiet it is."""
    serving = {deployed.name for deployed in RunFiles(run_folder(home)).all_deployed()}
    in_use = {*PROCESSES, *serving}
    for path in sorted((home / "logs").rglob("*.log*")):
        if path.is_file():
            is_open = path.name.removesuffix(".log") in in_use
            kept = "being written" if is_open else young(modified(path) or now, now, rules.logs)
            yield RetentionItem(str(path.relative_to(home / "logs")), size_of(path), kept, path.unlink)


def report_items(home: Path, rules: RetentionRules, now: datetime) -> Iterator[RetentionItem]:
    """Every evaluation report; the newest are bounded in number by who writes them."""
    for path in sorted((home / "reports").rglob("*.html")):
        kept = young(modified(path) or now, now, rules.reports)
        yield RetentionItem(str(path.relative_to(home / "reports")), size_of(path), kept, path.unlink)
