"""Make a use case's folder from a template: it runs at once, on real data, and is then changed into what is needed."""

import string
import tempfile
from pathlib import Path
from typing import Literal, get_args

from pipelines.errors import MlopsError
from pipelines.usecase.load import load_usecase
from pipelines.usecase.model import is_name
from pipelines.usecase.strict import did_you_mean

Template = Literal["tabular", "image"]
TEMPLATES = Path(__file__).parents[1] / "templates"


class BadName(MlopsError):
    """The name cannot name a use case."""


class AlreadyThere(MlopsError):
    """There is such a folder already; nothing is overwritten."""


class UnknownTemplate(MlopsError):
    """There is no such template."""


def new_usecase(root: Path, name: str, template: Template) -> Path:
    """Write apps/<name>/ whole or not at all; gives the folder."""
    if not is_name(name):
        raise BadName(
            f"{name!r} cannot name a use case; use lower-case words joined by hyphens, 40 characters at most",
            hint="such as demand-forecast",
        )
    if template not in get_args(Template):
        known = get_args(Template)
        guess = did_you_mean(template, known)
        raise UnknownTemplate(f"there is no template {template!r}{guess}; templates: {', '.join(known)}")
    folder = root / "apps" / name
    if folder.exists():
        raise AlreadyThere(f"apps/{name} is there already; nothing was changed", hint="choose another name")
    with tempfile.TemporaryDirectory(dir=root / "apps", prefix=".new-") as scratch:
        made = Path(scratch) / name
        made.mkdir()
        for source in sorted((TEMPLATES / template).glob("*.tmpl")):
            text = string.Template(source.read_text(encoding="utf-8")).substitute(name=name)
            (made / source.stem).write_text(text, encoding="utf-8")
        made.rename(folder)
    load_usecase(root, name)
    return folder
