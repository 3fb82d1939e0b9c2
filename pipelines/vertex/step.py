"""What a step's container starts with on Vertex AI, before KFP's own command:

    python -m pipelines.vertex.step --limit 7200 --secret MLOPS_GIT_TOKEN=projects/… --run NAME -- <command> …

Secrets come from Secret Manager into the environment of the command alone, the time limit is kept by `timeout`, and a
scheduled run gets the job's name as its run id.
"""

import argparse
import base64
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pipelines import logs
from pipelines.errors import MlopsError
from pipelines.vertex.access import VertexVariables, require_safe, token_source
from pipelines.vertex.errors import NoRunName, SecretUnavailable
from pipelines.vertex.pipeline_job import SCHEDULED

EXECUTOR_INPUT = "--executor_input"
PATIENCE_SECONDS = 30.0
CANNOT_START = 3


log = logging.getLogger("pipelines.vertex.step")


def main(
    arguments: Sequence[str] | None = None, execute: Callable[[list[str], dict[str, str]], Any] | None = None
) -> int:
    """Does not come back where the command could be started."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        logs.configure()
        command = name_the_run(options.command, options.run) if options.run else list(options.command)
        secrets = dict(pair.split("=", 1) for pair in options.secret)
        environment = {**os.environ, **{name: fetch_secret(version) for name, version in secrets.items()}}
    except MlopsError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is for people
        return CANNOT_START
    limited = ["timeout", "--kill-after=30", str(options.limit), *command]
    (execute or _become)(limited, environment)
    return 0


def name_the_run(command: Sequence[str], run: str) -> list[str]:
    """The command with the run's name in its request, where a schedule could not know it."""
    if run.startswith("{{"):
        raise NoRunName(
            f"Vertex AI has not put the job's name in the place of {run}",
            hint="start the run by `mlops run`, which names it itself, and tell the maintainers",
        )
    named = list(command)
    try:
        place = named.index(EXECUTOR_INPUT) + 1
        told = json.loads(named[place])
        request = told["inputs"]["parameterValues"]["request"]
    except (ValueError, LookupError, TypeError):
        raise NoRunName(f"the command has no {EXECUTOR_INPUT} with a request to name the run in") from None
    if request.get("run_id") == SCHEDULED:
        request["run_id"] = run
        named[place] = json.dumps(told)
    return named


def fetch_secret(version: str) -> str:
    """The text of one version in Secret Manager. Raises SecretUnavailable."""
    import httpx

    address = VertexVariables.load().secrets_api.rstrip("/")
    require_safe(address)
    try:
        transport = httpx.HTTPTransport(retries=3)
        with httpx.Client(transport=transport, timeout=PATIENCE_SECONDS) as client:
            headers = {"Authorization": f"Bearer {token_source()()}"}
            answer = client.get(f"{address}/v1/{version}:access", headers=headers)
            answer.raise_for_status()
            return base64.b64decode(answer.json()["payload"]["data"]).decode()
    except httpx.HTTPStatusError as error:
        raise SecretUnavailable(
            f"Secret Manager answered {error.response.status_code} for {version}",
            hint="the pipelines' service account needs roles/secretmanager.secretAccessor on that secret",
        ) from None
    except (httpx.TransportError, ValueError, LookupError) as error:
        raise SecretUnavailable(f"Secret Manager did not give {version}: {error or type(error).__name__}") from None


def _become(command: list[str], environment: dict[str, str]) -> None:
    sys.stdout.flush()
    os.execvpe(command[0], command, environment)  # noqa: S606 - the command is the pipeline's own


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    own, _, command = _split(list(arguments))
    parser = argparse.ArgumentParser(prog="python -m pipelines.vertex.step")
    parser.add_argument("--limit", type=int, required=True, help="seconds after which the step is stopped")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME=VERSION")
    parser.add_argument("--run", default="", help="the job's name, for scheduled runs")
    options = parser.parse_args(own)
    options.command = command
    return options


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], "--", arguments[place + 1 :]


if __name__ == "__main__":
    sys.exit(main())
