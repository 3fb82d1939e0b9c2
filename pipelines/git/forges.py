"""The hosts that are known, asked in turn whether the repository is on them."""

import os
from collections.abc import Callable, Mapping

from pipelines.git.forge import Forge, PlainRemote
from pipelines.git.github import GitHub
from pipelines.settings import Settings

Finder = Callable[[Settings, Mapping[str, str]], Forge | None]

FORGES: tuple[Finder, ...] = (GitHub.of,)


def forge_of(settings: Settings, environ: Mapping[str, str] | None = None) -> Forge:
    """The host of the repository that these settings release to. Raises ForgeInvalid."""
    env = os.environ if environ is None else environ
    return next((forge for find in FORGES if (forge := find(settings, env))), PlainRemote())
