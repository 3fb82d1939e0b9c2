"""What the monitor's page costs: CPU of a page of many models whose evaluations fill a database, and of one model.

python -m tests.bench.bench_page [--usecases 50] [--days 7]

Evaluations are every five minutes. CPU, not time, and the least of 30: the machine may be busy with other things.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pipelines.monitor.page.queries import TrendReader
from pipelines.monitor.page.rendering import render
from pipelines.monitor.page.view import look_at_all, look_at_model
from pipelines.monitor.run_cache import KnownRuns
from tests.monitoring_cases import NOW
from tests.page_cases import STAGING, Platform, evaluated, model, moved

EVERY = timedelta(minutes=5)
TIMES = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--usecases", type=int, default=50)
    parser.add_argument("--days", type=int, default=7)
    asked = parser.parse_args()
    names = [f"usecase-{number}" for number in range(asked.usecases)]
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder), [model(name) for name in names])
        kept = sum(_fill(platform, name, timedelta(days=asked.days)) for name in names)
        sources, trends = replace(platform.sources, runs=KnownRuns(platform.runs)), TrendReader()
        gc.collect()
        gc.freeze()  # what this bench has imported beside the page is none of its cost

        def overview(reader: TrendReader | None = None) -> None:
            seen = look_at_all(sources, reader or TrendReader())
            render("overview.html.j2", "", seen.as_of, seen=seen, refresh=None)

        def one() -> None:
            seen = look_at_model(sources, names[0], STAGING)
            render("model.html.j2", "", seen.as_of, seen=seen, refresh=None, all_days=(7,))

        print(f"{asked.usecases} use cases, {kept:,} assessments\n")
        print("| page | CPU |\n|---|---|")
        print(f"| all models | {_least(lambda: overview(trends)):.0f} ms |")
        print(f"| all models, trends read anew | {_least(overview):.0f} ms |")
        print(f"| one model | {_least(one):.0f} ms |")
        platform.store.close()


def _fill(platform: Platform, name: str, span: timedelta) -> int:
    """The same evaluation again and again, with all its details; and a run."""
    found = [moved(one, name, STAGING, NOW - EVERY * step) for step in range(span // EVERY) for one in evaluated()]
    platform.run(f"{name}-20261121-030002-1a2b", NOW - timedelta(hours=9))
    return platform.store.save_assessments(found)


def _least(act: Callable[[], None]) -> float:
    act()
    found = []
    for _ in range(TIMES):
        begun = time.process_time()
        act()
        found.append(time.process_time() - begun)
    return min(found) * 1000


if __name__ == "__main__":
    main()
