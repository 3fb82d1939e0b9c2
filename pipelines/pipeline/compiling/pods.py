"""What each step's pod is given: its size, its nodes, and no secret that it does not need.

Which step sees which secret is said once, in the pipeline's definition.

    mlops-settings   ConfigMap   where the stores are (infrastructure/platform/kubeflow-pipelines/settings.yaml)
    object-store     Secret      keys of the bucket, where the cluster has one of its own
    mlops-git        Secret      the deploy key or token that may commit releases, as files
    registry-login   Secret      config.json with the login to the registry, as a file
"""

from typing import TYPE_CHECKING

from pipelines.definitions.definition import PipelineDefinition, StepDefinition
from pipelines.usecase import UseCase

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

SETTINGS = "mlops-settings"
STORES = ("MLOPS_TRACKING_URI", "MLOPS_SNAPSHOTS", "MLOPS_REMOTE", "MLOPS_BRANCH", "MLOPS_IMAGES", "MLOPS_BASE_IMAGE")
TELEMETRY = ("MLOPS_LOG_FORMAT", "MLOPS_LOG_LEVEL", "OTEL_EXPORTER_OTLP_ENDPOINT")
NETWORK = ("MLOPS_PLAIN_REGISTRIES", "SSL_CERT_FILE", "AWS_REGION")
GIT_ACCESS = ("MLOPS_GIT_TOKEN_FILE", "MLOPS_GIT_SSH_KEY", "MLOPS_GIT_KNOWN_HOSTS", "MLOPS_GIT_AUTHOR")
BUCKET = "object-store"
BUCKET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL")
GIT = "mlops-git"
LOGIN = "registry-login"
MOUNTS = "/var/run/secrets"
USER = 1034  # as in pipelines/Dockerfile
POOL_LABEL = "mlops-blueprint/pool"


def prepare(task: "PipelineTask", usecase: UseCase, definition: PipelineDefinition) -> None:
    """Give a step's task everything that its pod shall have."""
    step = definition.step(task.name)
    _size(task, usecase, step)
    _settings(task, step)
    _secrets(task, usecase, step)
    _place(task, usecase, step)


def _size(task: "PipelineTask", usecase: UseCase, step: StepDefinition) -> None:
    from kfp import kubernetes

    needs = usecase.pipeline.needs_of(step.name)
    task.set_cpu_request(needs.cpu)
    task.set_memory_request(needs.memory)
    task.set_memory_limit(needs.memory)
    if needs.gpus:
        task.set_accelerator_type("nvidia.com/gpu")
        task.set_accelerator_limit(needs.gpus)
    if needs.retries:
        task.set_retry(needs.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")
    kubernetes.set_timeout(task, max(1, round(needs.timeout.total_seconds())))


def _settings(task: "PipelineTask", step: StepDefinition) -> None:
    from kfp import kubernetes

    task.set_env_variable("MLOPS_STEPS_APART", "1")
    wanted = [*STORES, *NETWORK, *TELEMETRY, *(GIT_ACCESS if "git" in step.sees else ())]
    # Optional: what is missing is told by the step, by name; a pod that cannot start tells nothing.
    kubernetes.use_config_map_as_env(task, SETTINGS, {name: name for name in wanted}, optional=True)


def _secrets(task: "PipelineTask", usecase: UseCase, step: StepDefinition) -> None:
    from kfp import kubernetes

    kubernetes.use_secret_as_env(task, BUCKET, {name: name for name in BUCKET_KEYS}, optional=True)
    if "git" in step.sees:
        kubernetes.use_secret_as_volume(task, GIT, f"{MOUNTS}/{GIT}", optional=True)
    if "registry" in step.sees:
        task.set_env_variable("DOCKER_CONFIG", f"{MOUNTS}/{LOGIN}")
        kubernetes.use_secret_as_volume(task, LOGIN, f"{MOUNTS}/{LOGIN}", optional=True)
    if "source" in step.sees:
        for variable, secret in usecase.pipeline.secrets.items():
            kubernetes.use_secret_as_env(task, secret.name, {secret.key: variable})


def _place(task: "PipelineTask", usecase: UseCase, step: StepDefinition) -> None:
    from kfp import kubernetes

    pool = usecase.pipeline.needs_of(step.name).pool
    if pool:
        kubernetes.add_node_selector(task, POOL_LABEL, pool)
        kubernetes.add_toleration(task, key=POOL_LABEL, operator="Equal", value=pool, effect="NoSchedule")
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    kubernetes.add_pod_label(task, "mlops-blueprint/usecase", usecase.name)
    kubernetes.add_pod_label(task, "mlops-blueprint/step", step.name)
    # Azure alone reads it.
    kubernetes.add_pod_label(task, "azure.workload.identity/use", "true")
