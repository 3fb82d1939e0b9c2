"""The environments of a repository: environments.yaml at its root, in the order in which a release gets to them.

    name            the folder apps/<use case>/<name>/, and the cluster's folder clusters/<name>/
    promoted_from   the environment whose releases it takes; without it, runs release here
    releases        `commit` (default), or `review`: a proposal that somebody merges, where the host has reviews
    embedded        whether the embedded platform serves it as well (default: true)

Everything that depends on an environment's name asks here. A program without a checkout, or one from before there was
the file, has DEFAULTS: there is no other place with these names in it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.errors import MlopsError

ENVIRONMENTS_FILE = "environments.yaml"
API_VERSION = "mlops-blueprint/v1"
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
RESERVED = ("base", "champion", "challenger")  # a folder that all share, aliases of models
CHAMPION = "champion"

Way = Literal["commit", "review"]


class UnknownEnvironment(MlopsError):
    """An environment that the repository does not have."""


class EnvironmentsInvalid(MlopsError):
    """environments.yaml says something that cannot be."""


class NoPromotion(MlopsError):
    """Nothing is promoted that way, or in more than one way."""


class TakesNoRuns(MlopsError):
    """An environment that only gets what another one has run."""


@dataclass(frozen=True)
class Environment:
    """One environment; see the module for what each key means."""

    name: str
    promoted_from: str | None = None
    releases: Way = "commit"
    embedded: bool = True

    @property
    def takes_runs(self) -> bool:
        """Whether runs release here by themselves."""
        return self.promoted_from is None

    @property
    def alias(self) -> str:
        """The alias in the model registry that follows its release."""
        return CHAMPION if self.takes_runs else self.name


@dataclass(frozen=True)
class Environments:
    """All of them, in order; at least one takes runs."""

    every: tuple[Environment, ...]

    def __iter__(self) -> Iterator[Environment]:
        return iter(self.every)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(one.name for one in self.every)

    @property
    def embedded(self) -> tuple[str, ...]:
        """The names of those that the embedded platform serves."""
        return tuple(one.name for one in self.every if one.embedded)

    @property
    def default(self) -> Environment:
        """Where a run releases to when nothing is said: the first that takes runs and is embedded, if there is one."""
        return min((one for one in self.every if one.takes_runs), key=lambda one: not one.embedded)

    @property
    def promoted(self) -> tuple[Environment, ...]:
        """Those that take the releases of another one."""
        return tuple(one for one in self.every if not one.takes_runs)

    def get(self, name: str) -> Environment:
        """The one of this name. Raises UnknownEnvironment, which lists those that there are."""
        found = next((one for one in self.every if one.name == name), None)
        if found is None:
            raise UnknownEnvironment(
                f"{name!r} is no environment; allowed: {', '.join(self.names)}",
                hint=f"{ENVIRONMENTS_FILE} at the repository's root lists them",
            )
        return found

    def takes_runs(self, name: str) -> bool:
        """Whether runs release there; an environment that is not known here decides that where it is known."""
        return next((one.takes_runs for one in self.every if one.name == name), True)

    def trained_in(self, name: str) -> str:
        """Where a run has to release to so that its model can get to this environment: the start of its way."""
        one = next((one for one in self.every if one.name == name), None)
        return name if one is None or one.promoted_from is None else self.trained_in(one.promoted_from)

    def require_runs(self, name: str) -> Environment:
        """The one of this name, if runs may release there. Raises UnknownEnvironment, TakesNoRuns."""
        one = self.get(name)
        if not one.takes_runs:
            raise TakesNoRuns(
                f"{name} takes what {one.promoted_from} has run, and no run releases to it",
                hint=f"run the pipeline for {self.trained_in(name)}, then `mlops promote`",
            )
        return one

    def promotion(self, source: str | None = None, target: str | None = None) -> Environment:
        """The environment that a promotion is for: the only one, or the one that is left by `source` and `target`.

        Raises UnknownEnvironment, NoPromotion.
        """
        for name in (source, target):
            if name is not None:
                self.get(name)
        found = [one for one in self.promoted if source in (None, one.promoted_from) and target in (None, one.name)]
        if len(found) == 1:
            return found[0]
        ways = ", ".join(f"{one.promoted_from} → {one.name}" for one in found or self.promoted) or "none"
        if found:
            raise NoPromotion(f"there is more than one promotion: {ways}", hint="say which, by --to")
        asked = (f" from {source}" if source else "") + (f" to {target}" if target else "")
        raise NoPromotion(
            f"nothing is promoted{asked}; promotions: {ways}",
            hint=f"promoted_from in {ENVIRONMENTS_FILE} says what takes whose releases",
        )

    def branch(self, act: str, usecase: str, environment: str) -> str:
        """The branch of a proposal: `promote/<use case>` for the first environment by review, else with its name."""
        ends = [one for one in self.every if one.releases == "review"] or list(self.promoted)
        is_first = not ends or ends[0].name == environment
        return f"{act}/{usecase}" if is_first else f"{act}-{environment}/{usecase}"


DEFAULTS = Environments(
    (
        Environment("local", embedded=False),
        Environment("staging"),
        Environment("production", promoted_from="staging", releases="review"),
    )
)


def read_environments(root: Path) -> Environments:
    """Those of a checkout; DEFAULTS where it has no such file. Raises EnvironmentsInvalid."""
    path = root / ENVIRONMENTS_FILE
    try:
        seen = path.stat()
    except OSError:
        return DEFAULTS
    return _read(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int, _size: int) -> Environments:
    return parse_environments(path.read_text(encoding="utf-8", errors="replace"))


def parse_environments(text: str, where: str = ENVIRONMENTS_FILE) -> Environments:
    """Read the file's text. Raises EnvironmentsInvalid, which names the entry and what would be right."""
    import yaml

    try:
        document = yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise EnvironmentsInvalid(f"{where}{f':{mark.line + 1}' if mark else ''}: not valid YAML") from None
    if not isinstance(document, dict) or set(document) != {"apiVersion", "environments"}:
        raise EnvironmentsInvalid(f"{where}: expected the keys apiVersion and environments")
    if document["apiVersion"] != API_VERSION:
        raise EnvironmentsInvalid(f"{where}: apiVersion: expected {API_VERSION} (got {document['apiVersion']!r})")
    entries = document["environments"]
    if not isinstance(entries, list) or not entries:
        raise EnvironmentsInvalid(f"{where}: environments: expected a list with at least one entry")
    found: list[Environment] = []
    for number, entry in enumerate(entries):
        found.append(_environment(entry, found, f"{where}: environments[{number}]"))
    if not any(one.takes_runs for one in found):
        raise EnvironmentsInvalid(f"{where}: every environment is promoted_from another; runs must release to one")
    return Environments(tuple(found))


def _environment(entry: Any, before: list[Environment], where: str) -> Environment:
    keys = [field.name for field in fields(Environment)]
    if not isinstance(entry, dict):
        raise EnvironmentsInvalid(f"{where}: expected a mapping with {', '.join(keys)}")
    for key in entry:
        if key not in keys:
            raise EnvironmentsInvalid(f"{where}: {key}: no such key; there are {', '.join(keys)}")
    name, source = entry.get("name"), entry.get("promoted_from")
    known = [one.name for one in before]
    problem = None
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problem = f"name: expected small letters, digits and dashes, 31 at most, a letter first (got {name!r})"
    elif name in known or name in RESERVED:
        problem = f"name: {name!r} is {'there twice' if name in known else 'taken by something else'}"
    elif source is not None and source not in known:
        problem = (
            f"promoted_from: expected one of the environments before it, {', '.join(known) or 'none'} (got {source!r})"
        )
    elif entry.get("releases", "commit") not in get_args(Way):
        problem = f"releases: expected {' or '.join(get_args(Way))} (got {entry['releases']!r})"
    elif entry.get("releases") == "review" and source is None:
        problem = "releases: review needs promoted_from; a run commits its release, and asks nobody"
    elif not isinstance(entry.get("embedded", True), bool):
        problem = f"embedded: expected true or false (got {entry['embedded']!r})"
    if problem:
        raise EnvironmentsInvalid(f"{where}: {problem}")
    return Environment(**entry)
