"""The root of every error a user can cause or meet.

Each room defines its own errors next to the code that raises them. All of them say what happened, where,
and what would be right; `hint` is the next thing to do.
"""

import difflib
from collections.abc import Iterable

from bento.errors import LONGEST_LINE
from bento.errors import one_line as _one_line


class MlopsError(Exception):
    """Something a person can act on. The command line prints it without a traceback."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    @property
    def line(self) -> str:
        """Message and hint, for logs and answers that are read line by line."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


def one_line(error: BaseException, longest: int = LONGEST_LINE) -> str:
    """What went wrong on one line of at most `longest` characters: without a hint, and never empty."""
    return _one_line(Exception(error.message) if isinstance(error, MlopsError) else error, longest)


def one_line_with_type(error: BaseException, longest: int = LONGEST_LINE) -> str:
    """The same for an error that nobody foresaw, which says little without its type."""
    if isinstance(error, MlopsError) or not str(error).strip():
        return one_line(error, longest)
    return one_line(Exception(f"{type(error).__name__}: {error}"), longest)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean this?)`, or nothing when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
