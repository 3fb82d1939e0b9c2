"""Logs as lines: text for people, or one JSON object a line, each with what it is about.

    with about(request_id="7f3a"):
        log.warning("the model failed")

    2026-03-01T12:00:00.123Z WARNING bento: the model failed [request_id=7f3a]
    {"time": "2026-03-01T12:00:00.123Z", "level": "warning", "logger": "bento", "message": "…", "request_id": "7f3a"}

What a line is about follows the work through threads' and tasks' contexts. No line shows a secret that this process has
read from its variables, nor the password in a URL.
"""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TextIO

from bento.variables import Variables, hide_secrets, variable

# What a line may say it is about, in this order.
FACTS = ("usecase", "environment", "run", "step", "trigger", "request_id", "trace_id")
# Libraries that say at INFO what only their authors want to know; and those that bring handlers of their own.
QUIET = ("httpx", "httpcore", "urllib3", "asyncio", "opentelemetry")
REROUTED = ("uvicorn", "uvicorn.error", "uvicorn.access", "bentoml")

_facts: ContextVar[Mapping[str, str]] = ContextVar("facts", default=MappingProxyType({}))


class LogVariables(Variables):
    """Read by every long-running program: the monitor, the reconciler, model servers, steps, and Jobs in a cluster."""

    title: ClassVar[str] = "Logs"

    format: Literal["text", "json"] = variable(
        "MLOPS_LOG_FORMAT", "text", "`text` for people; `json`: one object a line, as the clusters' manifests set it."
    )
    level: Literal["debug", "info", "warning", "error"] = variable(
        "MLOPS_LOG_LEVEL", "info", "The least level that is written: `debug`, `info`, `warning` or `error`."
    )


@contextlib.contextmanager
def about(**facts: str | None) -> Iterator[None]:
    """Every line that is logged inside says so. Facts that are None are left out; outer ones stay."""
    token = _facts.set({**_facts.get(), **{key: value for key, value in facts.items() if value}})
    try:
        yield
    finally:
        _facts.reset(token)


def fact(key: str) -> str | None:
    """What is known here and now, such as the id of the request that is being answered."""
    return _facts.get().get(key)


def configure(
    variables: LogVariables | None = None, stream: TextIO | None = None, quiet: Iterable[str] = ()
) -> logging.Handler:
    """Send everything that this process logs to `stream` (default: stderr), in the form that the variables ask for.

    Gives the handler that does so.

    Raises:
        VariableWrong: MLOPS_LOG_FORMAT or MLOPS_LOG_LEVEL has a value that it cannot have.
    """
    told = variables or LogVariables.load()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(told))
    # Not those of a test or a host program, which are of other classes.
    kept = [other for other in logging.root.handlers if type(other) is not logging.StreamHandler]
    logging.root.handlers[:] = [*kept, handler]
    logging.root.setLevel(told.level.upper())
    for name in REROUTED:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    if told.level != "debug":
        for name in (*QUIET, *quiet):
            logging.getLogger(name).setLevel(logging.WARNING)
    return handler


def formatter(variables: LogVariables) -> logging.Formatter:
    """For a handler of one's own, such as a file that is rotated."""
    return JsonLines() if variables.format == "json" else TextLines()


class TextLines(logging.Formatter):
    """`2026-03-01T12:00:00.123Z WARNING bento: the model failed [request_id=7f3a]`, then the traceback, if any."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{key}={value}" for key, value in facts_of(record).items())
        line = f"{timestamp(record)} {record.levelname} {record.name}: {record.getMessage()}"
        return hide_secrets("\n".join([f"{line} [{facts}]" if facts else line, *_trace_of(record, self)]))


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, what it is about, and the traceback as `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide_secrets(record.getMessage()),
            **{key: hide_secrets(value) for key, value in facts_of(record).items()},
        }
        if trace := _trace_of(record, self):
            line["error"] = hide_secrets("\n".join(trace))
        return json.dumps(line, ensure_ascii=False)


def facts_of(record: logging.LogRecord) -> dict[str, str]:
    """What a line is about: given with it by `extra=`, or known where it was logged."""
    known = _facts.get()
    found = {key: getattr(record, key, None) or known.get(key) for key in FACTS}
    return {key: str(value) for key, value in found.items() if value}


def timestamp(record: logging.LogRecord) -> str:
    """UTC, to the millisecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _trace_of(record: logging.LogRecord, formatter: logging.Formatter) -> list[str]:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    return [*parts, formatter.formatStack(record.stack_info)] if record.stack_info else parts
