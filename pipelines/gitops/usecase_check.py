"""Is a use case ready to run? Its file, its overrides in every environment, and the functions it names.

The data is not looked at: loading it may take minutes, and a run holds it to usecase.yaml before it trains.
"""

from collections.abc import Sequence
from pathlib import Path

from pipelines.data.sources.load import open_source
from pipelines.environments import read_environments
from pipelines.errors import MlopsError
from pipelines.usecase.code import load_function
from pipelines.usecase.document import UsecaseInvalid
from pipelines.usecase.load import load_usecase


def told_valid(names: Sequence[str]) -> str:
    """What was found right, and what was not looked at."""
    return (
        f"{len(names)} use case{'s' if len(names) != 1 else ''} valid: {', '.join(names)}\n"
        "  not looked at: the data and its columns; `mlops run` checks them before it trains"
    )


def check_usecase(root: Path, name: str) -> list[str]:
    """Every problem, as `file:line: key: what is wrong`; empty when there is none."""
    problems: list[str] = []
    usecase = None
    for environment in (None, *read_environments(root).names):
        try:
            loaded = load_usecase(root, name, environment)
            usecase = usecase or loaded
        except UsecaseInvalid as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if usecase is None:
        return problems
    folder = root / "apps" / name
    for look in (
        lambda: load_function(folder, usecase.training.train),
        lambda: open_source(usecase.data.source, folder).check(),
    ):
        try:
            look()
        except MlopsError as error:
            problems.append(f"apps/{name}/usecase.yaml: {error.message}")
    return problems
