"""A run in a process of its own, from a request in a file:

    python -m pipelines.runners.start REQUEST.json [--runner local]

Whoever may not import what trains, such as the monitor, starts runs so. The request carries the run's id: nothing has
to be read out of what this prints. Exit status as `mlops run`: 0 accepted, 3 refused by a gate, 1 failed.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines import logs
from pipelines.console import Timeline, fail, make_console, outcome_line
from pipelines.errors import MlopsError
from pipelines.runners.launch import prepare, start
from pipelines.runners.runner import RUNNERS, open_runner
from pipelines.runs.request import RunRequest
from pipelines.runs.run import FAILED
from pipelines.settings import Settings

REFUSED, BROKEN, INTERRUPTED = 3, 1, 130


log = logging.getLogger("pipelines.runners.start")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the file asks for to its end."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.runners.start")
    parser.add_argument("request", type=Path)
    parser.add_argument("--runner", choices=RUNNERS, default="local")
    options = parser.parse_args(arguments)
    try:
        logs.configure()
        timeline = Timeline(make_console())
        request = RunRequest.read(options.request)
        settings = replace(Settings.load(), environment=request.environment)
        runner = open_runner(options.runner, settings)
        request = request.model_copy(update={"code": prepare(settings, request.usecase, runner)})
        timeline.say(f"run {request.run_id}")
        run = start(settings, request, timeline, runner)
    except MlopsError as error:
        fail(error)
        return BROKEN
    except KeyboardInterrupt:
        return INTERRUPTED
    timeline.say(outcome_line(run))
    if run.outcome == FAILED:
        log.error("%s: %s", run.failed_step, run.error)
        return BROKEN
    return 0 if run.accepted else REFUSED


if __name__ == "__main__":
    sys.exit(main())
