"""Make a use case's folder from a template: it runs at once, on real data, and is then changed into what is needed."""

import errno
import os
import string
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pipelines.environments import read_environments
from pipelines.errors import MlopsError, did_you_mean
from pipelines.usecase.load import load_usecase
from pipelines.usecase.model import MAX_NAME, RESERVED_NAMES, is_name

Template = Literal["tabular", "image"]
TEMPLATES = Path(__file__).parents[1] / "templates"
DEPLOYMENT = TEMPLATES / "deployment"
ANY_ENVIRONMENT = "environment"


class BadName(MlopsError):
    """The name cannot name a use case."""


class AlreadyThere(MlopsError):
    """There is such a folder already; nothing is overwritten."""


class UnknownTemplate(MlopsError):
    """There is no such template."""


class NotWritten(MlopsError):
    """The folder could not be made."""


def new_usecase(root: Path, name: str, template: Template) -> Path:
    """Write apps/<name>/ whole or not at all; gives the folder.

    Raises BadName, UnknownTemplate, AlreadyThere or NotWritten.
    """
    if not is_name(name):
        raise _bad_name(name)
    if template not in get_args(Template):
        known = get_args(Template)
        guess = did_you_mean(template, known)
        raise UnknownTemplate(f"there is no template {template!r}{guess}; templates: {', '.join(known)}")
    folder = root / "apps" / name
    try:
        _write(folder, name, TEMPLATES / template, read_environments(root).names)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) and os.path.lexists(folder):
            raise AlreadyThere(
                f"apps/{name} is there already; nothing was changed", hint="choose another name"
            ) from None
        raise NotWritten(
            f"apps/{name} could not be written: {error.strerror}", hint=f"look at {folder.parent}"
        ) from error
    load_usecase(root, name)
    return folder


def _write(folder: Path, name: str, template: Path, environments: Sequence[str]) -> None:
    if os.path.lexists(folder):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as scratch:
        made = Path(scratch) / name
        made.mkdir()
        parts = {".": template, "base": DEPLOYMENT / "base"}
        parts |= {environment: _template_of(environment) for environment in environments}
        for part, source in parts.items():
            (made / part).mkdir(exist_ok=True)
            for file, text in _filled(source, name).items():
                (made / part / file).write_text(text, encoding="utf-8")
        made.rename(folder)


def environment_files(name: str, environment: str) -> dict[str, str]:
    """What apps/<name>/<environment>/ begins with: file → text."""
    return _filled(_template_of(environment), name)


def _template_of(environment: str) -> Path:
    """The environment's own template, or the one for all."""
    own = DEPLOYMENT / environment
    return own if own.is_dir() else DEPLOYMENT / ANY_ENVIRONMENT


def _filled(folder: Path, name: str) -> dict[str, str]:
    sources = sorted(folder.glob("*.tmpl"))
    return {path.stem: string.Template(path.read_text(encoding="utf-8")).substitute(name=name) for path in sources}


def _bad_name(name: str) -> BadName:
    if name in RESERVED_NAMES:
        return BadName(f"apps/{name}/ is no use case but holds what all of them share", hint="choose another name")
    return BadName(
        f"{name!r} cannot name a use case; use lower-case words joined by hyphens, {MAX_NAME} characters at most",
        hint="such as demand-forecast",
    )
