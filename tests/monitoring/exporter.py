"""The monitor's own collectors, served by a process: `python -m tests.monitoring.exporter <port> <assessments.json>`.

It is not the monitor. It shows whatever assessments the file holds, and so lets a test say what was judged.
"""

import contextlib
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server

from pipelines.assessment.assess import Assessment
from pipelines.monitor.metrics.assessments import AssessmentMetrics
from pipelines.monitor.metrics.inventory import ReleasedVersion, WatchedMetrics, WatchedModels
from pipelines.usecase import load_usecase

ROOT = Path(__file__).parents[2]
LOOK_SECONDS = 0.05


def main() -> None:
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    registry = CollectorRegistry()
    assessed = AssessmentMetrics(registry)
    usecase = load_usecase(ROOT, "flight-delays", "staging")
    release = ReleasedVersion("flight-delays:7", "flight-delays/7", "abc", datetime.now(UTC))
    WatchedMetrics(registry).show([WatchedModels(usecase, "staging", release)])
    start_http_server(port, addr="127.0.0.1", registry=registry)
    seen = ""
    while True:
        text = file.read_text(encoding="utf-8")
        if text != seen:
            with contextlib.suppress(ValueError):  # half written: look again
                assessed.show([Assessment.model_validate(one) for one in json.loads(text)])
                seen = text
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main()
