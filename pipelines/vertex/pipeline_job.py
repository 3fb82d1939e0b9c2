"""A use case's compiled pipeline as a job of Vertex AI: the same steps and order as everywhere, in Vertex AI's terms.

What Kubernetes gives a pod and Vertex AI does not know (secrets, time limits) is brought by `pipelines.vertex.step`,
which each container starts with. Caching is off: steps commit, push and register.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.definitions.definition import PipelineDefinition
from pipelines.definitions.find import find_pipeline
from pipelines.runs.request import RunRequest
from pipelines.usecase import UseCase
from pipelines.vertex.config import Pipelines, VertexConfig
from pipelines.vertex.errors import PipelineNotForVertex
from pipelines.vertex.target import MANAGED, as_label

SCHEDULED = "scheduled"  # the run id of a request that Vertex AI's schedule makes; the job's name takes its place
JOB_NAME = "{{$.pipeline_job_name}}"
DEFAULT_IMAGE = "default"
Spec = dict[str, Any]


def image_of(usecase: UseCase, pipelines: Pipelines, environment: str) -> str:
    """Raises PipelineNotForVertex."""
    name = usecase.pipeline.image or DEFAULT_IMAGE
    if name not in pipelines.images:
        raise PipelineNotForVertex(
            f"{usecase.name} runs in the image {name!r}, which vertex/{environment}.yaml does not have under "
            f"pipelines.images; it has: {', '.join(pipelines.images)}",
            hint="push that image to Artifact Registry and name it there, by digest",
        )
    return pipelines.images[name]


def pipeline_job(usecase: UseCase, spec: Spec, request: RunRequest, config: VertexConfig) -> dict[str, Any]:
    """The body of a PipelineJob."""
    assert config.pipelines  # noqa: S101 - whoever asks has looked
    definition = find_pipeline(request.pipeline)
    job: dict[str, Any] = {
        "displayName": request.run_id if request.run_id != SCHEDULED else usecase.name,
        "pipelineSpec": _for_vertex(usecase, definition, spec, config.pipelines, request.run_id == SCHEDULED),
        "runtimeConfig": {
            "gcsOutputDirectory": config.pipelines.bucket,
            "parameterValues": {"request": request.to_values(exclude_none=True)},
            "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_FAST",
        },
        "serviceAccount": config.pipelines.service_account,
        "labels": job_labels(usecase.name, request.environment) | {"run": as_label(request.run_id)},
    }
    if config.key:
        job["encryptionSpec"] = {"kmsKeyName": config.key}
    return job


def job_labels(usecase: str, environment: str) -> dict[str, str]:
    return {**MANAGED, "usecase": usecase, "environment": environment}


def _for_vertex(
    usecase: UseCase, definition: PipelineDefinition, spec: Spec, pipelines: Pipelines, is_scheduled: bool
) -> Spec:
    require_secrets(usecase, pipelines.secrets)
    changed = copy.deepcopy(spec)
    for task in _tasks(changed):
        task["cachingOptions"] = {"enableCache": False}
    executors = changed["deploymentSpec"]["executors"]
    for step in definition.step_names:
        container = executors[f"exec-{step}"]["container"]
        if "accelerator" in container.get("resources", {}):
            raise PipelineNotForVertex(
                f"{usecase.name}: the step {step} asks for GPUs by a name that Vertex AI does not know",
                hint="train on Kubeflow, or take pipeline.gpus out by this environment's overrides.yaml",
            )
        secrets = _secrets(usecase, definition, step, pipelines.secrets)
        _prepare(container, usecase, step, pipelines.variables, secrets, is_scheduled)
    return changed


def _prepare(
    container: dict[str, Any],
    usecase: UseCase,
    step: str,
    variables: Mapping[str, str],
    secrets: Mapping[str, str],
    is_scheduled: bool,
) -> None:
    """Its variables, and before its own command the one that brings secrets, time limit and the run's name."""
    given = {entry["name"]: entry["value"] for entry in container.get("env", [])}
    given.pop("DOCKER_CONFIG", None)  # the folder of a Secret that Kubernetes mounts
    given |= variables
    container["env"] = [{"name": name, "value": value} for name, value in sorted(given.items())]
    limit = max(1, round(usecase.pipeline.needs_of(step).timeout.total_seconds()))
    before = ["python", "-m", "pipelines.vertex.step", "--limit", str(limit)]
    for name, version in sorted(secrets.items()):
        before += ["--secret", f"{name}={version}"]
    if is_scheduled:
        before += ["--run", JOB_NAME]
    container["command"] = [*before, "--", *container["command"]]


def require_secrets(usecase: UseCase, secrets: Mapping[str, str]) -> None:
    """Raises PipelineNotForVertex."""
    missing = [name for name in usecase.pipeline.secrets if name not in secrets]
    if missing:
        raise PipelineNotForVertex(
            f"{usecase.name} wants the secret {missing[0]}, which pipelines.secrets does not have here",
            hint="put it into Secret Manager and name its version there",
        )


def _secrets(usecase: UseCase, definition: PipelineDefinition, step: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """A login to Git or a registry goes to the steps that need it, a use case's own to the step that loads."""
    return {name: version for name, version in secrets.items() if step in _steps_for(name, usecase, definition)}


def _steps_for(name: str, usecase: UseCase, definition: PipelineDefinition) -> tuple[str, ...]:
    if name in usecase.pipeline.secrets:
        return definition.seeing("source")
    if name.startswith("MLOPS_GIT_"):
        return definition.seeing("git")
    if name.startswith("MLOPS_REGISTRY_"):
        return definition.seeing("registry")
    return definition.step_names


def _tasks(spec: Spec) -> Iterator[dict[str, Any]]:
    for component in (spec["root"], *spec.get("components", {}).values()):
        yield from component.get("dag", {}).get("tasks", {}).values()
