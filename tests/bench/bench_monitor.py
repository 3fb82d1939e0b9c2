"""What the monitor's process holds in memory: with 1 use case, and with 50.

    python -m tests.bench.bench_monitor

Each is a process of its own with a store, rounds of evaluations, predictions coming in, Prometheus' questions and the
page. Evaluations are made up here: they run in a child, whose memory bench_drift shows.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (1, 50)
SEGMENTS, QUESTIONS, ROUNDS = 20, 20, 12


def main() -> None:
    told = {count: _measure(count) for count in COUNTS}
    print(f"{'use cases':>10} {'started':>10} {'at work':>10} {'a /metrics':>12}")
    for count, one in told.items():
        print(f"{count:>10} {one['started']:>7.0f} MB {one['worked']:>7.0f} MB {one['metrics'] / 1024:>9.0f} kB")
    few, many = (told[count]["worked"] for count in COUNTS)
    print(
        f"{COUNTS[1]} use cases hold {many / few:.2f} times what one does: {(many - few) / (COUNTS[1] - 1):.2f} MB each"
    )


def _measure(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.bench_monitor", str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _be_a_monitor(count: int) -> None:
    import psutil

    from tests.monitor_cases import Service, Told, released
    from tests.recording_cases import Recorded, header

    process = psutil.Process()
    names = [f"usecase-{number:02d}" for number in range(count)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        models = [released(name) for name in names]
        told = Told(models=models, folders={f"{name}:7": folder for name in names})
        with Service(folder, told=told) as service:
            started = process.memory_info().rss
            for _ in range(ROUNDS):
                service.post("/evaluations", {}).raise_for_status()
            known = header()
            for number in range(SEGMENTS):
                name = names[number % count]
                signature = known.signature.model_copy(update={"name": name})
                recorded = Recorded(known.model_copy(update={"bento": f"{name}:7", "signature": signature}))
                for _ in range(1000):
                    recorded.add({"distance": 1400, "temperature": None, "origin": "EWR", "carrier": "UA"})
                service.post("/predictions", recorded.segment()).raise_for_status()
            for _ in range(QUESTIONS):
                metrics = len(service.client.get("/metrics").content)
                service.client.get("/").raise_for_status()
            worked = process.memory_info().rss
    print(json.dumps({"started": started / 1e6, "worked": worked / 1e6, "metrics": metrics}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _be_a_monitor(int(sys.argv[1]))
    else:
        main()
