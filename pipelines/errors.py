"""The root of every error a user can cause or meet.

Each room defines its own errors next to the code that raises them. All of them say what happened, where,
and what would be right; `hint` is the next thing to do.
"""


class MlopsError(Exception):
    """Something a person can act on. The command line prints it without a traceback."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message
