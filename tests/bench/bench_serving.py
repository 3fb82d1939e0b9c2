"""Requests per second, p99 and processor time per request: BentoML's quickstart style against this repository's server.

    python -m tests.bench.bench_serving [--rounds 3] [--seconds 1.5] [--at-least 2.0]

Both serve the same ONNX model and get the same pictures, one server after the other in turns (A B A B ...), on the
machine that also makes the load: compare within one run, and trust the processor time more than the requests per
second. Medians over the rounds. Ends with status 1 when a request fails, when the answers differ, or when the
processor time's ratio is anywhere below --at-least.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from tests.load import Load
from tests.serving import free_port, serving, wait_until
from tests.tiny_models import write_bento

QUICKSTART = """
import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Quickstart:
    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession("model.onnx")

    @bentoml.api
    def predict(self, image: np.ndarray) -> np.ndarray:
        return self.session.run(["probabilities"], {"image": image.astype(np.uint8)})[0]
"""
JSON = "application/json"
RAW = "application/octet-stream"


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    pid: int

    def processor_seconds(self) -> float:
        root = psutil.Process(self.pid)
        times = [process.cpu_times() for process in [root, *root.children(recursive=True)]]
        return float(sum(spent.user + spent.system for spent in times))

    def megabytes(self) -> float:
        root = psutil.Process(self.pid)
        return float(sum(p.memory_full_info().pss for p in [root, *root.children(recursive=True)])) / 1e6


@dataclass(frozen=True, eq=False)
class Cell:
    """One line of the table: what is sent, by how many clients."""

    what: str
    clients: int
    bodies: dict[str, bytes]
    content_type: str = JSON


@dataclass(frozen=True)
class Measured:
    rate: float
    p99: float
    processor: float
    failures: int


def main() -> int:
    options = _parse()
    if sys.platform != "win32":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as pair:
        agree = answers_agree(pair)
        cells = the_cells()
        table: dict[tuple[Cell, str], list[Measured]] = {}
        for _ in range(options.rounds):
            for cell in cells:
                for server in pair:
                    if server.name in cell.bodies:
                        table.setdefault((cell, server.name), []).append(measure(server, cell, options.seconds))
        memory = {server.name: server.megabytes() for server in pair}
    return report(cells, table, memory, agree, options)


@contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    bento = write_bento(folder / "bento", name="tiny-picture", tensor=True)
    quick = folder / "quickstart"
    quick.mkdir()
    (quick / "service.py").write_text(QUICKSTART)
    (quick / "model.onnx").write_bytes((bento / "src" / "model" / "model.onnx").read_bytes())
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "service:Quickstart", "--port", str(port)]
    environment = {**os.environ, "BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    with (folder / "log").open("wb") as log, serving(bento, folder) as ours:
        started = subprocess.Popen(command, cwd=quick, env=environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: _ready(port), "the quickstart ready")
            yield [Server("quickstart", port, started.pid), Server("this", ours.port, ours.process.pid)]
        finally:
            for process in [*psutil.Process(started.pid).children(recursive=True), psutil.Process(started.pid)]:
                process.terminate()
            started.wait(20)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28)).astype("uint8")


def bodies(batch: np.ndarray) -> dict[str, bytes]:
    listed = batch.tolist()
    return {"quickstart": json.dumps({"image": listed}).encode(), "this": json.dumps({"instances": listed}).encode()}


def the_cells() -> list[Cell]:
    one, many = pictures(1), pictures(32)
    return [
        *(Cell("1 picture, JSON", clients, bodies(one)) for clients in (1, 8, 64)),
        Cell("32 pictures, JSON", 8, bodies(many)),
        Cell("32 pictures, raw", 8, {"this": many.tobytes()}, RAW),
    ]


def answers_agree(pair: list[Server]) -> bool:
    """Whether both give the same probabilities, to five decimals."""
    sent = bodies(pictures(32))
    given = {
        server.name: httpx.post(
            f"http://127.0.0.1:{server.port}/predict", content=sent[server.name], headers={"content-type": JSON}
        ).json()
        for server in pair
    }
    ours = [list(prediction["probabilities"].values()) for prediction in given["this"]["predictions"]]
    return bool(np.allclose(given["quickstart"], ours, atol=1e-5))


def measure(server: Server, cell: Cell, seconds: float) -> Measured:
    body = cell.bodies[server.name]
    with Load(server.port, body, clients=cell.clients, content_type=cell.content_type) as load:
        wait_until(lambda: load.answered() >= cell.clients, "the first answers")
        spent, began, seen = server.processor_seconds(), time.perf_counter(), load.answered()
        time.sleep(seconds)
        spent, took, count = server.processor_seconds() - spent, time.perf_counter() - began, load.answered() - seen
    return Measured(count / took, load.answers.percentile(0.99), spent / max(count, 1), len(load.answers.failures))


def report(
    cells: list[Cell],
    table: dict[tuple[Cell, str], list[Measured]],
    memory: dict[str, float],
    agree: bool,
    options: argparse.Namespace,
) -> int:
    def median(cell: Cell, name: str, value: str) -> float:
        return float(statistics.median(getattr(measured, value) for measured in table[cell, name]))

    print("load: asyncio clients on the same machine;", os.cpu_count(), "cores;", options.rounds, "rounds\n")
    print("| request | clients | | req/s | p99 ms | server CPU µs/request | CPU ratio |")
    print("|---|---|---|---|---|---|---|")
    worst = float("inf")
    for cell in cells:
        for name in cell.bodies:
            ratio = ""
            if name == "this" and "quickstart" in cell.bodies:
                times = median(cell, "quickstart", "processor") / median(cell, "this", "processor")
                worst, ratio = min(worst, times), f"{times:.1f}x"
            rate, p99 = median(cell, name, "rate"), median(cell, name, "p99") * 1e3
            spent = median(cell, name, "processor") * 1e6
            print(f"| {cell.what} | {cell.clients} | {name} | {rate:.0f} | {p99:.1f} | {spent:.0f} | {ratio} |")
    failures = sum(measured.failures for row in table.values() for measured in row)
    megabytes = ", ".join(f"{name} {size:.0f} MB" for name, size in memory.items())
    print(f"\nmemory after the load (PSS): {megabytes}")
    print(f"failed requests: {failures}; same answers: {'yes' if agree else 'NO'}; least CPU ratio: {worst:.1f}x")
    return 0 if agree and not failures and worst >= options.at_least else 1


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_serving")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of load for each server, cell and round")
    parser.add_argument("--at-least", type=float, default=0.0, help="the least ratio of processor times that passes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
