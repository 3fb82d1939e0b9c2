"""What every verb is given: where the checkout and the state are."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.environments import Environments
    from pipelines.settings import Settings


class Context:
    """Settings are read when a verb needs them, so that --help works anywhere."""

    def __init__(self, root: Path | None, home: Path | None) -> None:
        self._root, self._home = root, home
        self._warned = False

    @property
    def settings(self) -> "Settings":
        """From the environment; a variable that looks like a typo is pointed out once."""
        from pipelines.settings import Settings

        settings = Settings.load(root=self._root, home=self._home)
        if not self._warned:
            self._warned = True
            _warn_of_typos()
        return settings

    @property
    def environments(self) -> "Environments":
        """Those of the checkout. Raises NoCheckout, EnvironmentsInvalid."""
        return self.settings.environments


def _warn_of_typos() -> None:
    from pipelines.cli.typos import likely_typos

    sentences = likely_typos(os.environ)
    if not sentences:
        return
    from pipelines.console import make_console

    for sentence in sentences:
        make_console(stderr=True).print(f"[yellow]warning:[/] {sentence}")
