"""What the framework itself adds to a step, besides the libraries' own imports.

Runs the tiny use case's real pipeline a few times. The time from the end of the step before it to a step's own start
is the runner's and the framework's: starting a process, KFP's executor, imports. What an interpreter with KFP's
executor and the libraries that every step needs takes by itself, measured in the same run, is taken off.

    python -m tests.bench.bench_steps [--runs 3]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.runners import local
from pipelines.runs.journal import Journal
from tests.pipeline_cases import Lab

LIBRARIES = "import kfp.dsl.executor_main, numpy, pydantic, yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    gaps: dict[str, list[float]] = {}
    bare, executor = [], []
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "checkout")
        for number in range(runs):
            bare.append(_seconds(["-c", "pass"]))
            executor.append(_seconds(["-c", LIBRARIES]))
            request = lab.request(params={"C": 1.0 + number})
            run = local.run(lab.settings, request, lambda record: None)
            if run.outcome not in ("released", "rejected"):
                raise SystemExit(f"run {number} was {run.outcome}: {run.error}")
            for step, gap in _gaps(Journal(lab.settings.runs / request.run_id)):
                gaps.setdefault(step, []).append(gap)
    print(f"\n{runs} runs of the real pipeline, medians in seconds\n")
    print("| step | between the step before and its start |\n|---|---|")
    for step, values in gaps.items():
        print(f"| {step} | {statistics.median(values):.2f} |")
    every = [gap for values in gaps.values() for gap in values]
    print(f"| **all** | **{statistics.median(every):.2f}** (largest {max(every):.2f}) |")
    floor = statistics.median(executor)
    print(f"\nan empty interpreter {statistics.median(bare):.2f}, with KFP's executor and the libraries {floor:.2f};")
    print(f"so ours is {statistics.median(every) - floor:.2f} a step")


def _gaps(journal: Journal) -> list[tuple[str, float]]:
    ended = None
    found = []
    for record in journal.records():
        if record.event == "started" and ended is not None:
            found.append((record.step, record.time - ended))
        if record.event == "finished":
            ended = record.time
    return found


def _seconds(arguments: list[str]) -> float:
    began = time.monotonic()
    environment = {**os.environ, "_KFP_RUNTIME": "true"}
    subprocess.run([sys.executable, *arguments], env=environment, check=False, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
