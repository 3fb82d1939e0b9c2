"""What a step of a run on this machine costs beside the user's own work.

Runs the tiny use case's real pipeline, its steps as forks of a worker that imports ahead, and beside it with a fresh
interpreter for each step. A step costs the time from the end of the step before it to its own end, less the time spent
inside the use case's own load() and train(). On a busy machine compare the processor's seconds, which count all
processes of a run.

    python -m tests.bench.bench_steps [--runs 3]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.runners.local import LocalRunner
from pipelines.runs.journal import Journal
from pipelines.runs.request import RunRequest
from pipelines.runs.run import REQUEST_FILE, read_run
from tests.pipeline_cases import MODEL_PY, STEPS, Lab

TIMED = """

def _timed(function):
    def timed(*given):
        import os, time

        began = time.monotonic()
        try:
            return function(*given)
        finally:
            with open(os.environ["BENCH_OWN"], "a") as file:
                file.write(f"{time.monotonic() - began}\\n")

    return timed


load, train = _timed(load), _timed(train)
"""
OWN = ("snapshot", "train")  # the steps that call it, in order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    costs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    used: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "checkout")
        lab.write_model(MODEL_PY + TIMED)
        _run(lab, Path(folder) / "first", 0.5, is_fresh=False)  # makes MLflow's database and the first Bento's parts
        for number in range(runs):
            for is_fresh in (False, True):
                own = Path(folder) / f"own-{number}-{is_fresh}"
                before = _processor()
                costs[is_fresh].append(_run(lab, own, 1.0 + number + is_fresh / 2, is_fresh))
                used[is_fresh].append(_processor() - before)
    print(f"\n{runs} runs each, medians in seconds beside the user's own work\n")
    print("| step | forked | fresh interpreter |\n|---|---|---|")
    for step in STEPS:
        forked, fresh = (statistics.median(cost[step] for cost in costs[kind]) for kind in (False, True))
        print(f"| {step} | {forked:.2f} | {fresh:.2f} |")
    forked, fresh = (statistics.median(sum(cost.values()) for cost in costs[kind]) / len(STEPS) for kind in costs)
    print(f"| **mean** | **{forked:.2f}** | **{fresh:.2f}** |")
    forked, fresh = (statistics.median(used[kind]) / len(STEPS) for kind in used)
    print(f"| processor, mean | {forked:.2f} | {fresh:.2f} |")


def _run(lab: Lab, own: Path, c: float, is_fresh: bool) -> dict[str, float]:
    request = lab.request(params={"C": c})
    folder = lab.settings.runs / request.run_id
    folder.mkdir(parents=True)
    request.write(folder / REQUEST_FILE)
    began = time.time()
    command = [sys.executable, "-m", "pipelines.runners.worker", str(folder), *(["--fresh"] if is_fresh else [])]
    environment = {**LocalRunner(lab.settings).environment_of(request), "BENCH_OWN": str(own)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if read_run(folder).outcome not in ("released", "rejected"):
        raise SystemExit(f"{ran.stdout}{ran.stderr}\n{json.dumps(read_run(folder).model_dump(mode='json'), indent=2)}")
    return _costs(folder, request, began, [float(line) for line in own.read_text().splitlines()])


def _processor() -> float:
    """Seconds of all children that have ended, with what they have waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _costs(folder: Path, request: RunRequest, began: float, own: list[float]) -> dict[str, float]:
    found: dict[str, float] = {}
    before = began
    for record in Journal(folder).records():
        if record.event == "finished":
            found[record.step] = record.time - before
            before = record.time
    for step, seconds in zip(OWN, own, strict=True):
        found[step] -= seconds
    return {step: found.get(step, 0.0) for step in STEPS}


if __name__ == "__main__":
    main()
