"""The command of a step's container, on Kubeflow and on Vertex AI:

    python3 -m pipelines.pipeline.execute train-and-release train --executor_input '{…}'

The executor input is KFP's: the values of the parameters, where each artifact lies, where results go. Nothing of KFP
is imported, which alone takes a second of every step.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import logs
from pipelines.documents import write_atomically
from pipelines.errors import MlopsError
from pipelines.pipeline.execution import StepResult, run_step

# Where KFP's launcher mounts what lies in a bucket.
MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}


log = logging.getLogger("pipelines.pipeline.execute")


class OtherPipeline(MlopsError):
    """A container of one pipeline was given the request for another."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the step and write its results where the orchestrator reads them."""
    parser = argparse.ArgumentParser(prog="python3 -m pipelines.pipeline.execute", description=__doc__)
    parser.add_argument("pipeline")
    parser.add_argument("step")
    parser.add_argument("--executor_input", type=json.loads, required=True, metavar="JSON")
    options = parser.parse_args(arguments)
    told: dict[str, Any] = options.executor_input
    try:
        logs.configure()
        request = told["inputs"]["parameterValues"]["request"]
        _require_same(options.pipeline, request)
        result = run_step(options.pipeline, options.step, request, places_of(told))
    except MlopsError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is for people
        return 1
    write_atomically(Path(told["outputs"]["outputFile"]), json.dumps(_results(told["outputs"], result)))
    return 0


def places_of(told: Mapping[str, Any]) -> dict[str, Path]:
    """Where each artifact lies for this container, by name."""
    sides = (told["inputs"].get("artifacts", {}), told["outputs"].get("artifacts", {}))
    return {name: _local(listed["artifacts"][0]["uri"]) for side in sides for name, listed in side.items()}


def _require_same(pipeline: str, request: Mapping[str, Any]) -> None:
    asked = request.get("pipeline", pipeline)
    if asked != pipeline:
        raise OtherPipeline(
            f"the request is for the pipeline {asked}, but this container runs {pipeline}",
            hint="start the run by the pipeline's own name in the orchestrator",
        )


def _local(uri: str) -> Path:
    for scheme, mount in MOUNTS.items():
        if uri.startswith(scheme):
            return Path(mount + uri.removeprefix(scheme))
    return Path(uri)


def _results(outputs: Mapping[str, Any], result: StepResult) -> dict[str, Any]:
    """Whether it passed, and for KFP's own pages the step's figures with its artifact of metrics."""
    found: dict[str, Any] = {"parameterValues": {}, "artifacts": {}}
    for name in outputs.get("parameters", {}):
        found["parameterValues"][name] = result.passed
    for name, listed in outputs.get("artifacts", {}).items():
        artifact = listed["artifacts"][0]
        if artifact["type"].get("schemaTitle") == "system.Metrics":
            found["artifacts"][name] = {"artifacts": [{**artifact, "metadata": result.metrics}]}
    return found


if __name__ == "__main__":
    sys.exit(main())
