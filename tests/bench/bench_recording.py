"""What recording costs a request, and how many predictions a second the store keeps up with.

    python -m tests.bench.bench_recording [--rounds 5] [--seconds 2] [--predictions 20000] [--at-most 2.0]

Two servers of the same Bento, one that records and ships to a monitor on loopback and one that does not, get the same
requests in turns. Processor time is read from the kernel for each thread, in nanoseconds:

    request path   what `Recorder.record` takes, called by itself
    in all         that, and the processor time of the two threads that write and ship
    by difference  the whole of one server against the other: the same thing, with the noise of the machine in it

Ends with status 1 when the request path's share is anywhere above --at-most percent, or a prediction is missing.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import _pytest.outcomes
import httpx
import numpy as np

from bento.recording.recorder import Recorder, RecordingOptions
from pipelines.predictions.ingest import ingest
from pipelines.predictions.store.store import Store
from tests.databases import postgres
from tests.load import Load
from tests.recording_cases import FLIGHT, NOW, LoopbackMonitor, Recorded, header, no_rules
from tests.serving import ServerProcess, serving, wait_until
from tests.tiny_models import PICTURE, write_bento

JSON, RAW = "application/json", "application/octet-stream"
CLIENTS = 8
CALLS = 20_000


@dataclass(frozen=True)
class Cell:
    what: str
    bento: str
    body: bytes
    predictions: int
    content_type: str = JSON


@dataclass(frozen=True)
class Spent:
    """Nanoseconds a request: of the thread that answers, and of all others."""

    answering: float
    others: float

    @property
    def total(self) -> float:
        return self.answering + self.others


def main() -> int:
    options = _parse()
    if sys.platform != "win32":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; medians of {options.rounds} rounds\n")
    with tempfile.TemporaryDirectory() as folder:
        worst, missing = requests(Path(folder), options)
        storing(Path(folder), options.predictions)
    print(f"\nworst share of the request path: {worst:.2f} %; predictions that did not arrive: {missing:.0f}")
    return 0 if worst <= options.at_most and not missing else 1


def requests(folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """The table of what requests cost; the worst share, and how many predictions are missing."""
    print("| request | µs without | request path | in all | by difference |\n|---|---|---|---|---|")
    worst, missing = 0.0, 0.0
    for name, cells in the_cells().items():
        with pair(folder / name, name, tensor=name == "tiny-picture") as (plain, recording):
            for cell in cells:
                without, recorded = [], []
                for _ in range(options.rounds):
                    without.append(measure(plain, cell, options.seconds))
                    recorded.append(measure(recording, cell, options.seconds))
                base = statistics.median(spent.total for spent in without)
                path = record_nanoseconds(folder, cell)
                threads = statistics.median(spent.others for spent in recorded)
                differences = [(two.total / one.total - 1) * 100 for one, two in zip(without, recorded, strict=True)]
                share = path / base * 100
                worst = max(worst, share)
                print(
                    f"| {cell.what} | {base / 1e3:.0f} | {path / 1e3:.2f} µs, {share:.2f} % "
                    f"| {(path + threads) / base * 100:.1f} % | {statistics.median(differences):+.1f} % |"
                )
            missing += not_arrived(recording)
    return worst, missing


@contextmanager
def pair(folder: Path, name: str, *, tensor: bool) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    bento = write_bento(folder / "bento", name=name, tensor=tensor)
    monitor = LoopbackMonitor(keep=False)
    env = {"MLOPS_MONITOR_URL": monitor.url, "MLOPS_SPOOL": str(folder / "spool")}
    try:
        with ExitStack() as stack:
            plain = stack.enter_context(serving(bento, folder / "plain"))
            yield plain, stack.enter_context(serving(bento, folder / "recording", env=env))
    finally:
        monitor.close()


def the_cells() -> dict[str, list[Cell]]:
    pictures = np.random.default_rng(1).integers(0, 256, (32, 28, 28)).astype("uint8")
    one = json.dumps({"instances": [pictures[0].tolist()]}).encode()
    table, picture = "tiny-table", "tiny-picture"
    row, batch = (json.dumps({"instances": [FLIGHT] * count}).encode() for count in (1, 32))
    return {
        table: [Cell("1 row, JSON", table, row, 1), Cell("32 rows, JSON", table, batch, 32)],
        picture: [
            Cell("1 picture, JSON", picture, one, 1),
            Cell("32 pictures, raw", picture, pictures.tobytes(), 32, RAW),
        ],
    }


def measure(server: ServerProcess, cell: Cell, seconds: float) -> Spent:
    with Load(server.port, cell.body, clients=CLIENTS, content_type=cell.content_type) as load:
        wait_until(lambda: load.answered() >= 5 * CLIENTS, "the first answers")
        before, seen = nanoseconds(server), load.answered()
        time.sleep(seconds)
        after, count = nanoseconds(server), load.answered() - seen
    assert not load.answers.failures, load.answers.failures[0]
    answering = after[server.process.pid] - before[server.process.pid]
    others = sum(after.values()) - sum(before.values()) - answering
    return Spent(answering / count, others / count)


def nanoseconds(server: ServerProcess) -> dict[int, int]:
    """On the processor until now, by thread; the main one has the process's number."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return {int(task.name): int((task / "schedstat").read_text().split()[0]) for task in tasks}


def record_nanoseconds(folder: Path, cell: Cell) -> float:
    """One call of `record`, with a queue that is emptied now and then as the thread does it."""
    recorder = Recorder(RecordingOptions("http://127.0.0.1:1", spool=folder / "unused"), header())
    answer = b"x" * 200 * cell.predictions
    times = []
    for _ in range(CALLS // 100):
        began = time.perf_counter_ns()
        for _ in range(100):
            recorder.record(cell.content_type, cell.body, answer, cell.predictions)
        times.append((time.perf_counter_ns() - began) / 100)
        recorder._queue.clear()
        recorder._taken = recorder._put
    return statistics.median(times)


def not_arrived(server: ServerProcess) -> float:
    """Predictions that were answered and neither shipped nor counted as dropped."""

    def counts() -> dict[str, float]:
        found: dict[str, float] = {}
        for line in httpx.get(f"{server.url}/metrics").text.splitlines():
            name, _, value = line.partition(" ")
            if name.startswith("model_predictions"):
                key = name.partition("{")[0]
                found[key] = found.get(key, 0.0) + float(value)
        return found

    def left() -> float:
        now = counts()
        dropped = now.get("model_predictions_dropped_total", 0.0)
        return now["model_predictions_total"] - now["model_predictions_shipped_total"] - dropped

    wait_until(lambda: left() == 0, "everything shipped", 60)
    return left() + counts().get("model_predictions_dropped_total", 0.0)


def storing(folder: Path, predictions: int) -> None:
    """How many predictions a second go from segments into each database."""
    print("\n| stored | database | predictions/s | MB of segments/s |\n|---|---|---|---|")
    for what, segments in {"rows": rows(predictions), "pictures": pictures(predictions // 4)}.items():
        with ExitStack() as stack:
            urls = {"SQLite": f"sqlite:///{folder / what}.db"}
            try:
                urls["PostgreSQL"] = stack.enter_context(postgres()).url
            except _pytest.outcomes.Skipped as reason:
                print(f"PostgreSQL: {reason}")
            for database, url in urls.items():
                store = Store.open(url)
                began = time.perf_counter()
                stored = sum(ingest(segment, store, no_rules, NOW).stored for segment in segments)
                took = time.perf_counter() - began
                store.close()
                size = sum(map(len, segments)) / 1e6
                print(f"| {stored} {what} | {database} | {stored / took:.0f} | {size / took:.1f} |")


def rows(count: int) -> list[bytes]:
    return [_segment(Recorded(), FLIGHT, 1000) for _ in range(max(1, count // 1000))]


def pictures(count: int) -> list[bytes]:
    picture = np.random.default_rng(1).integers(0, 256, (28, 28)).astype("uint8").tolist()
    return [_segment(Recorded(header(PICTURE)), picture, 500) for _ in range(max(1, count // 500))]


def _segment(recorded: Recorded, instance: object, requests: int) -> bytes:
    for _ in range(requests):
        recorded.add(instance)
    return recorded.segment()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_recording")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load for each server, request and round")
    parser.add_argument("--predictions", type=int, default=20_000, help="to store in each database")
    parser.add_argument("--at-most", type=float, default=2.0, help="percent of a request's processor time that pass")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
