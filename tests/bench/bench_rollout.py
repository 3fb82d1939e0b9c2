"""How long a commit takes until its version answers, and what clients notice.

    python -m tests.bench.bench_rollout [--rollouts 20]

Twenty versions of a small model replace each other on an embedded platform while four clients with kept-alive
connections keep asking. Time begins when the commit is in the origin and ends with the first answer of its version.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROLLOUTS = 20
CLIENTS = 4
PARTS = {
    "notice": "the reconciler sees the commit and reads the releases",
    "fetch": "the Bento is verified",
    "start": "the server starts and loads the model",
    "check": "the golden sample",
    "switch": "it begins to take requests",
    "answer": "a client's next request reaches it",
}
BOUND_SECONDS = 170.0


def main(rollouts: int = ROLLOUTS) -> int:
    """Print the table; exit status 1 when a request failed."""
    from pipelines.demo.load import Load
    from tests.embedded_world import INSTANCE, world

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as platform:
        url = platform.live(platform.release(platform.pack("0"))).url
        body = {"instances": [INSTANCE]}
        timings = []
        with Load(f"{url}/predict", body, clients=CLIENTS) as load:
            load.wait_for_answers(CLIENTS)
            for version in range(1, rollouts + 1):
                release = platform.pack(str(version), weight=0.001 + version / 10_000)
                timings.append(_time_rollout(platform, release, f"{url}/predict", body))
                if time.monotonic() - began > BOUND_SECONDS:
                    break
            seconds = time.monotonic() - began
    _print(timings, load, seconds)
    return 1 if load.failures else 0


def _time_rollout(platform, release, url: str, body: dict) -> dict[str, float]:
    """Seconds by part, and in total, of one rollout."""
    import httpx

    commit = platform.release(release)
    landed = (Path(platform.settings.remote) / "refs" / "heads" / "main").stat().st_mtime
    while httpx.post(url, json=body, timeout=10).json()["release"]["bento"] != release.bento:
        time.sleep(0.01)
    answered = time.time()
    platform.live(commit)
    record = platform.acts("live")[-1]
    begun = record.time - record.seconds
    parts = {"notice": begun - landed, **record.parts, "total": answered - landed}
    parts["answer"] = parts["total"] - sum(parts[name] for name in PARTS if name != "answer")
    return parts


def _print(timings: list[dict[str, float]], load, seconds: float) -> None:
    print(f"### From commit to answer: {len(timings)} rollouts under load\n")
    print("| part | what | median s | max s |\n| --- | --- | ---: | ---: |")
    for name, what in {**PARTS, "total": "commit → new version answers"}.items():
        values = [timing[name] for timing in timings]
        print(f"| {name} | {what} | {statistics.median(values):.2f} | {max(values):.2f} |")
    print(
        f"\n{load.requests} requests by {CLIENTS} clients meanwhile ({load.requests / seconds:.0f}/s): "
        f"**{load.failures} failed** {dict(load.failed) or ''}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS)
    # A stopped benchmark stops its platform too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(parser.parse_args().rollouts))
