"""What thousands of run folders cost whoever looks at them often, beside a plain os.scandir of the same folder.

    python -m tests.bench.bench_runs [--runs 5000]

CPU, not time, and the least of several: the machine may be busy with other things. The newest run is under way, all
others are over and published. The page's look is the one after the runner has said something.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.monitor.run_cache import KnownRuns
from pipelines.runs.index import close_run, ensure_index, newest_runs, open_run, open_runs
from pipelines.runs.journal import JOURNAL_FILE, Journal, Record
from pipelines.runs.publisher import Publisher
from pipelines.runs.request import RunRequest
from pipelines.runs.run import PID_FILE, REQUEST_FILE
from pipelines.runs.tracking import PUBLISHED_FILE, Published
from pipelines.settings import Settings
from tests.pipeline_cases import STEPS

USECASES = 20
TIMES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load({}, root=Path(folder))
        under_way = _fill(settings.runs, asked.runs)
        first = _least(lambda: _index_anew(settings.runs), times=1)
        known, publisher = KnownRuns(settings.runs), Publisher(settings)
        looks = {
            "plain os.scandir": lambda: list(os.scandir(settings.runs)),
            "the publisher's look": publisher.look,
            "newest_runs(limit=1)": lambda: newest_runs(settings.runs, limit=1),
            "newest_runs(limit=8), as in `mlops status`": lambda: newest_runs(settings.runs, limit=8),
            "newest_runs of one use case": lambda: newest_runs(settings.runs, "usecase-7", limit=1),
            "the monitor's page": lambda: (under_way(), known("usecase-7")),
        }
        print(f"{asked.runs:,} run folders\n\n| look | CPU |\n|---|---|")
        for name, look in looks.items():
            print(f"| {name} | {_least(look):.1f} ms |")
        print(f"| once, in a state folder without an index | {first:.0f} ms |")


def _fill(runs: Path, count: int) -> Callable[[], None]:
    """All of them over and published but the last; gives what makes that one say something."""
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    template = runs.parent / "template"
    for number, step in enumerate(STEPS):
        Journal(template).append(Record(step=step, event="started", time=2.0 * number))
        Journal(template).append(Record(step=step, event="finished", time=2.0 * number + 1, seconds=1.0))
    said = (template / JOURNAL_FILE).read_text()
    published = Published(mlflow_run="0" * 32, records=2 * len(STEPS), offset=len(said)).model_dump_json()
    ensure_index(runs)
    for number in range(count):
        name = f"usecase-{number % USECASES}"
        run_id = f"{name}-{begun + timedelta(minutes=20 * number):%Y%m%d-%H%M%S}-{number % 65536:04x}"
        folder = runs / run_id
        folder.mkdir()
        (folder / REQUEST_FILE).write_text(
            RunRequest(usecase=name, run_id=run_id, environment="staging").model_dump_json()
        )
        (folder / JOURNAL_FILE).write_text(said)
        (folder / PUBLISHED_FILE).write_text(published)
        (folder / PID_FILE).write_text("4194305")
    last = open_run(runs, RunRequest.read(folder / REQUEST_FILE))
    return lambda: os.utime(last / JOURNAL_FILE)


def _index_anew(runs: Path) -> None:
    kept = [marker.name for markers in open_runs(runs).values() for marker in markers]
    for markers in open_runs(runs).values():
        close_run(markers)
    (runs / ".open").rmdir()
    ensure_index(runs)
    for name in kept:
        (runs / ".open" / name).touch()


def _least(act: Callable[[], object], times: int = TIMES) -> float:
    found = []
    for _ in range(times):
        begun = time.process_time()
        act()
        found.append(time.process_time() - begun)
    return min(found) * 1000


if __name__ == "__main__":
    main()
