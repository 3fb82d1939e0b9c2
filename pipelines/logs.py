"""Logs of the pipelines' programs: the same lines as a model server's, about a run, a use case, a trigger.

Daemons and Jobs call `configure()` when they start. Commands that a person types call `configure_command()`: warnings
go to stderr as plain sentences, unless MLOPS_LOG_FORMAT=json, as in a CronJob: then what is printed becomes log lines.
"""

import logging
from typing import TYPE_CHECKING

from bento.logs import LogVariables, about, fact, formatter
from bento.logs import configure as _configure
from bento.variables import VariableWrong as ServerVariableWrong

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["LogLines", "about", "configure", "configure_command", "fact", "formatter", "is_json", "log_variables"]

QUIET = ("alembic", "mlflow", "kubernetes", "kfp", "matplotlib", "filelock", "circus")


def log_variables() -> LogVariables:
    """MLOPS_LOG_FORMAT and MLOPS_LOG_LEVEL.

    Raises:
        VariableWrong: one of them has a value that it cannot have.
    """
    try:
        return LogVariables.load()
    except ServerVariableWrong as error:
        from pipelines.variables import VariableWrong

        raise VariableWrong(str(error), hint="docs/settings.md lists what they take") from None


def configure(stream: "TextIO | None" = None) -> None:
    """Log everything to `stream` (default: stderr).

    Raises:
        VariableWrong: MLOPS_LOG_FORMAT or MLOPS_LOG_LEVEL has a value that it cannot have.
    """
    _configure(log_variables(), stream, QUIET)


def configure_command() -> None:
    """For a command that a person types: warnings on stderr, one sentence each; JSON lines where that is asked for.

    Raises:
        VariableWrong: MLOPS_LOG_FORMAT or MLOPS_LOG_LEVEL has a value that it cannot have.
    """
    told = log_variables()
    handler = _configure(told, None, QUIET)
    if told.format == "text":
        handler.setFormatter(_Sentences())
        logging.root.setLevel(logging.DEBUG if told.level == "debug" else logging.WARNING)


def is_json() -> bool:
    """Whether this process logs JSON lines, so that nothing else may be printed between them."""
    try:
        return LogVariables.load().format == "json"
    except ServerVariableWrong:  # refused where logs are configured
        return False


class _Sentences(logging.Formatter):
    """`warning: the alias stays where it was`"""

    def format(self, record: logging.LogRecord) -> str:
        from bento.variables import hide_secrets

        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info and record.exc_info[0] else ""
        return hide_secrets(f"{record.levelname.lower()}: {record.getMessage()}{trace}")


class LogLines:
    """A text file that logs each line written to it: what a command prints, where logs are JSON."""

    encoding = "utf-8"

    def __init__(self, level: int = logging.INFO) -> None:
        self._log = logging.getLogger("mlops")
        self._level = level
        self._rest = ""

    def write(self, text: str) -> int:
        """Whole lines are logged; the rest waits for its end."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._log.log(self._level, "%s", line.strip())
        return len(text)

    def flush(self) -> None:
        """Lines are logged when they end."""

    def isatty(self) -> bool:
        return False
