"""A use case's pipeline compiled to KFP's intermediate representation; the same input gives the same bytes."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.definitions.definition import PipelineDefinition
from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.errors import MlopsError
from pipelines.usecase import UseCase


class CompilerMissing(MlopsError):
    """KFP's compiler is not installed."""


@dataclass(frozen=True)
class Compiled:
    """`spec` is what every orchestrator reads, `platform` what Kubernetes alone does."""

    name: str
    spec: dict[str, Any]
    platform: dict[str, Any]

    @property
    def version(self) -> str:
        """The version's name: the use case and a hash of all that it would run."""
        content = json.dumps([self.spec, self.platform], sort_keys=True, separators=(",", ":"))
        return f"{self.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def compile_pipeline(usecase: UseCase, image: str, definition: PipelineDefinition = TRAIN_AND_RELEASE) -> Compiled:
    """A pipeline for one use case, its steps in `image`. Raises CompilerMissing."""
    import yaml

    try:
        from kfp import compiler

        from pipelines.pipeline.compiling.pods import prepare
        from pipelines.pipeline.graph import pipeline_of
    except ImportError as error:
        raise CompilerMissing(
            f"a pipeline is compiled with kfp, which is not installed: {error}",
            hint="pip install 'mlops-blueprint[pipeline]'",
        ) from error

    pipeline = pipeline_of(
        definition, image, usecase.name, usecase.purpose, prepare=lambda task: prepare(task, usecase, definition)
    )
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        spec, *others = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    return Compiled(name=usecase.name, spec=spec, platform=others[0] if others else {})
