"""What every verb is given: where the checkout and the state are."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.environments import Environments
    from pipelines.settings import Settings

log = logging.getLogger("mlops")


class Context:
    """Settings are read when a verb needs them, so that --help works anywhere."""

    def __init__(self, root: Path | None, home: Path | None) -> None:
        self._root, self._home = root, home
        self._is_prepared = False

    @property
    def settings(self) -> "Settings":
        """From the environment; a variable that looks like a typo is pointed out once."""
        from pipelines import logs
        from pipelines.settings import Settings

        if not self._is_prepared:
            logs.configure_command()
        settings = Settings.load(root=self._root, home=self._home)
        if not self._is_prepared:
            _warn_of_typos()
            self._is_prepared = True
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
    for sentence in sentences:
        log.warning("%s", sentence)
