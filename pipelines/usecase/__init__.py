"""usecase.yaml as typed config: the contract between a data scientist and the platform.

Names are loaded when they are asked for: the model of usecase.yaml is large, and `pipelines.usecase.yaml12` alone is
what reads every release.yaml.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.usecase.document import UsecaseInvalid
    from pipelines.usecase.load import UsecaseNotFound, load_usecase, usecase_names
    from pipelines.usecase.model import UseCase

__all__ = ["UseCase", "UsecaseInvalid", "UsecaseNotFound", "load_usecase", "usecase_names"]

_PLACES = {"UseCase": "model", "UsecaseInvalid": "document"} | dict.fromkeys(
    ("UsecaseNotFound", "load_usecase", "usecase_names"), "load"
)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
