"""The functions of a use case's own code: `model.py:train` as something to call."""

import functools
import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.errors import MlopsError, did_you_mean

_folders: list[str] = []


class CodeMissing(MlopsError):
    """The file that usecase.yaml names is not in the use case's folder."""


class FunctionMissing(MlopsError):
    """The file has no such function."""


class CodeUnimportable(MlopsError):
    """Importing the file raised; the cause is kept."""


def load_function(folder: Path, entry: str) -> Callable[..., Any]:
    """The function that `file.py:name` names in this folder.

    Modules beside it can be imported, also later while the function runs, and two use cases may have modules
    of the same name. The file is executed again only after it has changed. Raises CodeMissing,
    FunctionMissing or CodeUnimportable.
    """
    folder = folder.absolute()
    file_name, _, name = entry.rpartition(":")
    module = _module(folder, file_name, entry)
    function = getattr(module, name, None)
    if not callable(function):
        raise _function_missing(module, entry, name, exists=hasattr(module, name))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _put_first(folder)
        return function(*args, **kwargs)

    return call


def raised_at(error: BaseException, folder: Path) -> str:
    """` at model.py:12`, the deepest line of the use case's own code in a traceback, or nothing."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)
    ]
    return f" at {Path(frames[-1].filename).relative_to(folder)}:{frames[-1].lineno}" if frames else ""


def returned(value: object) -> str:
    """What a function gave back; None is mostly a forgotten `return`."""
    return "None (is a return missing?)" if value is None else kind_of(value)


def kind_of(value: object) -> str:
    """The value's type as one would say it: `dict`, `numpy.ndarray`."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _module(folder: Path, file_name: str, entry: str) -> ModuleType:
    path = folder / file_name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CodeMissing(f"{entry}: {file_name} is outside of {folder.name}/; a use case's code is in its own folder")
    if not path.is_file():
        raise _file_missing(folder, file_name, entry)
    _put_first(folder)
    stat = path.stat()
    identity = f"{path}:{stat.st_mtime_ns}:{stat.st_size}"
    unique = f"usecase_{path.stem}_{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if unique in sys.modules:
        return sys.modules[unique]
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None  # noqa: S101 - a .py file always has a loader
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[unique]
        if isinstance(error, SyntaxError) and error.filename:
            where = f" at {Path(error.filename).name}:{error.lineno}"
        else:
            where = raised_at(error, folder)
        raise CodeUnimportable(
            f"{entry}: importing {file_name} raised {type(error).__name__}{where}: {error}",
            hint="install what it imports, or move it into a function"
            if isinstance(error, ImportError)
            else "a use case's file must be importable without doing any work",
        ) from error
    return module


def _put_first(folder: Path) -> None:
    """Make this folder's modules importable, and forget another use case's modules of the same names."""
    here = str(folder)
    others = [known for known in _folders if known != here]
    sys.path[:] = [here, *(entry for entry in sys.path if entry != here and entry not in others)]
    if here not in _folders:
        _folders.append(here)
    siblings = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in siblings and _lies_in(module, others):
            del sys.modules[name]
    importlib.invalidate_caches()


def _lies_in(module: ModuleType, folders: list[str]) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and any(str(file).startswith(folder + os.sep) for folder in folders)


def _file_missing(folder: Path, file_name: str, entry: str) -> CodeMissing:
    there = sorted(str(path.relative_to(folder)) for path in folder.glob("**/*.py"))
    guess = did_you_mean(file_name, there)
    return CodeMissing(
        f"{entry}: {folder / file_name} does not exist{guess}; files there: {', '.join(there) or 'none'}"
    )


def _function_missing(module: ModuleType, entry: str, name: str, *, exists: bool) -> FunctionMissing:
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    functions = sorted(key for key in own if callable(getattr(module, key)) and not key.startswith("_"))
    what = f"{name} is not a function" if exists else f"no function {name}{did_you_mean(name, functions)}"
    return FunctionMissing(f"{entry}: {what}; functions there: {', '.join(functions) or 'none'}")
