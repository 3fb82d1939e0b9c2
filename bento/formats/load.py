"""From a signature's `format` to the format itself: a built-in one or a plugin's."""

from importlib import metadata

from bento.errors import FormatBroken, FormatUnknown
from bento.formats.format import ModelFormat
from bento.formats.onnx import Onnx

GROUP = "mlops_blueprint.model_formats"
BUILT_IN: dict[str, ModelFormat] = {"onnx": Onnx()}


def format_of(name: str) -> ModelFormat:
    """The format of this name.

    Raises:
        FormatUnknown: no built-in format and no installed distribution has the name.
        FormatBroken: its distribution cannot be loaded, or offers no ModelFormat; both are named.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    entry = next(iter(metadata.entry_points(group=GROUP, name=name)), None)
    if entry is None:
        raise FormatUnknown(f"no model format is called {name!r} here; known: {', '.join(BUILT_IN)}")
    origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a distribution"
    who = f"{origin} (entry point {GROUP}: {name} = {entry.value})"
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        raise FormatBroken(f"{who} cannot be loaded: {type(error).__name__}: {error}") from error
    return checked(found, name, who)


def checked(found: object, name: str, who: str) -> ModelFormat:
    """An instance of what an entry point names; `who` begins the error. Raises FormatBroken."""
    if not (isinstance(found, type) and issubclass(found, ModelFormat)):
        raise FormatBroken(f"{who} offers no subclass of bento.formats.format.ModelFormat")
    for attribute in ("name", "files", "training"):
        if not getattr(found, attribute, None):
            raise FormatBroken(f"{who} needs `{attribute}`")
    if found.name != name:
        raise FormatBroken(f"{who} is called {found.name!r} by its class")
    try:
        return found()
    except TypeError as error:
        raise FormatBroken(f"{who} cannot be made: TypeError: {error}") from error
