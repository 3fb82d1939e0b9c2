"""The root of every error that a person who sets up a platform can cause or meet."""


class PlatformError(Exception):
    """Says what is wrong and where; `hint` is the next thing to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message
