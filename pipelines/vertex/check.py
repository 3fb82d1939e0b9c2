"""What `mlops check` finds wrong about Vertex AI, without asking it anything."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.environments import read_environments
from pipelines.errors import MlopsError, did_you_mean
from pipelines.usecase import load_usecase, usecase_names
from pipelines.vertex.config import FOLDER, VertexConfig, config_path, load_config
from pipelines.vertex.errors import VertexConfigInvalid
from pipelines.vertex.machines import size_of
from pipelines.vertex.pipeline_job import image_of, require_secrets


def check_vertex(root: Path) -> list[str]:
    """Every problem of vertex/*.yaml, as `file: key: what is wrong`."""
    return [problem for path in sorted((root / FOLDER).glob("*")) for problem in _of_file(root, path)]


def _of_file(root: Path, path: Path) -> Iterator[str]:
    if path.suffix != ".yaml" or path.stem not in read_environments(root).names:
        files = ", ".join(config_path(name) for name in read_environments(root).names)
        yield f"{path.relative_to(root)}: nothing reads this file; there may be {files}"
        return
    try:
        config = load_config(root, path.stem)
    except VertexConfigInvalid as error:
        yield from error.message.splitlines()
        return
    known = usecase_names(root)
    scheduled = config.pipelines.scheduled if config.pipelines else []
    for key, names in (("endpoints.usecases", config.endpoints.usecases), ("pipelines.scheduled", scheduled)):
        for name in names:
            if name not in known:
                wrong = f"there is no use case {name!r}{did_you_mean(name, known)}"
                yield f"{config_path(path.stem)}: {key}: {wrong}; there are {', '.join(known)}"
            else:
                yield from _of_usecase(root, path.stem, name, key, config)


def _of_usecase(root: Path, environment: str, name: str, key: str, config: VertexConfig) -> Iterator[str]:
    try:
        usecase = load_usecase(root, name, environment)
    except MlopsError:
        return  # told by the check of the use case itself
    try:
        if key == "endpoints.usecases":
            size_of(usecase.serving, config.endpoints.machine)
        elif config.pipelines:
            image_of(usecase, config.pipelines, environment)
            require_secrets(usecase, config.pipelines.secrets)
    except MlopsError as error:
        yield f"{config_path(environment)}: {key}: {name}: {error.message}"
