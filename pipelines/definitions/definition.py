"""What a pipeline is: data that runners, compilers and the run's own record read, and that imports none of its steps.

    snapshot ──data──▶ validate ──checks──▶ train ──model──▶ …

A step is linked to the steps before it by what it takes, never by order alone. Everything that has to agree about a
pipeline comes from here: the graph that is compiled, the graph that a laptop runs, the pods' secrets, the outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pipelines.errors import MlopsError

# git: the key that may commit releases. registry: the login to the images' registry. source: the use case's secrets.
SecretAccess = Literal["git", "registry", "source"]
ArtifactKind = Literal["Artifact", "Dataset", "HTML", "Metrics", "Model"]


class DefinitionInvalid(MlopsError):
    """A pipeline's definition contradicts itself."""


@dataclass(frozen=True)
class Artifact:
    """What a step hands on: a document, as a file or as one file of a folder.

    `document`: its class, as `module:name`. `file`: the document's name where the artifact is a folder.
    """

    name: str
    document: str
    kind: ArtifactKind = "Artifact"
    file: str = ""


@dataclass(frozen=True)
class Attachment:
    """A file for people that a step has written into the run's folder, shown by the orchestrator too."""

    name: str
    file: str
    kind: ArtifactKind = "HTML"


@dataclass(frozen=True)
class Ending:
    """A run is over once this step has finished with these tags and this result. The first ending that fits counts.

    `accepted`: what the run was for has happened, or need not; False where a gate has refused it.
    """

    step: str
    outcome: str
    tags: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    accepted: bool = True

    def fits(self, step: str, tags: Mapping[str, str], result: Mapping[str, Any] | None) -> bool:
        """Whether a step that finished with this ends the run so; a tag that is not there is an empty one."""
        if step != self.step or (self.result and result is None):
            return False
        return all(tags.get(name, "") == value for name, value in self.tags.items()) and all(
            (result or {}).get(name) == value for name, value in self.result.items()
        )


@dataclass(frozen=True)
class StepDefinition:
    """One step: a function over the Step that it runs in and what it takes, in that order.

    `function`: `module:name`, or the name of an entry point in the group mlops_blueprint.steps.
    `takes`: names of artifacts; `model` is the document, `model/` the folder that it lies in.
    `run_folder`: a folder of the run that the function is given last; without one, a step whose artifact is a folder
    is given that folder.
    `passes_if`: the key of its result that lets the steps through which name it in `only_if`.
    `libraries`: what its function imports, for runners that import ahead.
    """

    name: str
    function: str
    gives: Artifact
    takes: tuple[str, ...] = ()
    attaches: tuple[Attachment, ...] = ()
    run_folder: str = ""
    passes_if: str = ""
    only_if: str = ""
    sees: frozenset[SecretAccess] = frozenset()
    libraries: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the artifacts that it needs, each once."""
        return tuple(dict.fromkeys(name.removesuffix("/") for name in self.takes))


@dataclass(frozen=True)
class PipelineDefinition:
    """A pipeline. Raises DefinitionInvalid when it is made of parts that do not fit together."""

    name: str
    description: str
    steps: tuple[StepDefinition, ...]
    endings: tuple[Ending, ...]

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps)

    @cached_property
    def artifacts(self) -> dict[str, Artifact]:
        """By name, what the steps hand on."""
        return {step.gives.name: step.gives for step in self.steps}

    @cached_property
    def outcomes(self) -> tuple[str, ...]:
        """How a run can end, beside failing."""
        return tuple(dict.fromkeys(ending.outcome for ending in self.endings))

    def step(self, name: str) -> StepDefinition:
        """Raises DefinitionInvalid where the pipeline has no such step."""
        found = next((step for step in self.steps if step.name == name), None)
        if found is None:
            raise DefinitionInvalid(
                f"the pipeline {self.name} has no step {name!r}", hint=f"its steps: {', '.join(self.step_names)}"
            )
        return found

    def producer(self, artifact: str) -> StepDefinition:
        """The step that gives an artifact."""
        return next(step for step in self.steps if step.gives.name == artifact)

    def seeing(self, access: SecretAccess) -> tuple[str, ...]:
        """The steps that see a secret, and no others do."""
        return tuple(step.name for step in self.steps if access in step.sees)

    def ending(self, step: str, tags: Mapping[str, str], result: Mapping[str, Any] | None) -> Ending | None:
        """How the run ends with this step's end; None where it goes on."""
        return next((ending for ending in self.endings if ending.fits(step, tags, result)), None)

    def is_accepted(self, outcome: str) -> bool:
        """Whether a run that ended so has done what it was for."""
        return any(ending.outcome == outcome and ending.accepted for ending in self.endings)


def _check(pipeline: PipelineDefinition) -> None:
    known: set[str] = set()
    guards: set[str] = set()
    for step in pipeline.steps:
        missing = [name for name in step.inputs if name not in known]
        if missing:
            raise _invalid(pipeline, f"{step.name} takes {missing[0]!r}, which no step before it gives", known)
        if step.only_if and step.only_if not in guards:
            raise _invalid(pipeline, f"{step.name} waits for {step.only_if!r}, which decides nothing", guards)
        if step.gives.name in known:
            raise _invalid(pipeline, f"{step.name} gives {step.gives.name!r}, which an earlier step gives", known)
        known.add(step.gives.name)
        if step.passes_if:
            guards.add(step.name)
    names = pipeline.step_names
    if len(set(names)) < len(names):
        raise _invalid(pipeline, "two steps have one name", set(names))
    if strangers := [ending.step for ending in pipeline.endings if ending.step not in names]:
        raise _invalid(pipeline, f"an ending names {strangers[0]!r}, which is no step", set(names))
    if not pipeline.endings:
        raise _invalid(pipeline, "it has no ending, so no run of it would ever be over", set())


def _invalid(pipeline: PipelineDefinition, what: str, known: set[str]) -> DefinitionInvalid:
    return DefinitionInvalid(f"the pipeline {pipeline.name}: {what}", hint=f"known here: {', '.join(sorted(known))}")
