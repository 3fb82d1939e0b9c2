"""Reading usecase.yaml, with an environment's overrides, into a UseCase.

apps/<use case>/usecase.yaml                    the contract
apps/<use case>/<environment>/overrides.yaml    optional: the few keys that differ there
"""

from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import MlopsError, did_you_mean
from pipelines.usecase.api_version import check_api_version
from pipelines.usecase.document import Layers, UsecaseInvalid, YamlDocument
from pipelines.usecase.explain import Problem, explain
from pipelines.usecase.model import UseCase, is_name

USECASE_FILE = "usecase.yaml"
OVERRIDES_FILE = "overrides.yaml"
NEVER_OVERRIDDEN = ("name", "purpose", "owner", "risk", "task")


class UsecaseNotFound(MlopsError):
    """There is no such folder under apps/; or, where releases are asked for, none in the repository either."""


def usecase_names(root: Path) -> list[str]:
    """The use cases of a checkout: the folders under apps/ that hold a usecase.yaml."""
    folders = (path.parent.name for path in (root / "apps").glob(f"*/{USECASE_FILE}"))
    return sorted(name for name in folders if not name.startswith("."))


def load_usecase(root: Path, name: str, environment: str | None = None) -> UseCase:
    """Read and validate one use case, as it is in this environment.

    Raises UsecaseNotFound, or UsecaseInvalid with every problem as `file:line: key: what is wrong`.
    """
    folder = root / "apps" / name
    main = folder / USECASE_FILE
    if not is_name(name) or not main.is_file():
        raise _not_found(root, name)
    documents = [YamlDocument.read(main, root)]
    check_api_version(documents[0])
    overrides = folder / environment / OVERRIDES_FILE if environment else None
    if overrides and overrides.is_file():
        overlay = YamlDocument.read(overrides, root, may_be_empty=True)
        if overlay.values:
            check_api_version(overlay)
        _refuse_identity_changes(overlay)
        documents.append(overlay)
    layers = Layers(*documents)
    try:
        usecase = UseCase.model_validate(layers.values)
    except ValidationError as error:
        raise UsecaseInvalid(_told(explain(error), layers)) from None
    if usecase.name != name:
        wrong = Problem(("name",), f"{usecase.name!r} is not its folder's name, {name!r}; make them equal")
        raise UsecaseInvalid(_told([wrong], layers))
    return usecase


def _told(problems: list[Problem], layers: Layers) -> list[str]:
    """In the order of the files and their lines."""
    placed = sorted(((layers.place(problem.path), problem) for problem in problems), key=lambda pair: pair[0])
    return [f"{layers.label(number)}:{line}: {problem.key}: {problem.message}" for (number, line), problem in placed]


def _refuse_identity_changes(overlay: YamlDocument) -> None:
    changed = [
        f"{overlay.label}:{overlay.line((key,))}: {key}: is the same in every environment; change it in {USECASE_FILE}"
        for key in overlay.values
        if key in NEVER_OVERRIDDEN
    ]
    if changed:
        raise UsecaseInvalid(changed)


def _not_found(root: Path, name: str) -> UsecaseNotFound:
    known = usecase_names(root)
    others = f"use cases here: {', '.join(known) or 'none'}"
    other_ending = root / "apps" / name / "usecase.yml"
    if other_ending.is_file():
        return UsecaseNotFound(f"apps/{name}/ has a usecase.yml, which nothing reads; rename it {USECASE_FILE}")
    return UsecaseNotFound(
        f"apps/{name}/{USECASE_FILE} does not exist{did_you_mean(name, known)}; {others}",
        hint=f"`mlops new {name} --template tabular` makes one" if is_name(name) else None,
    )
