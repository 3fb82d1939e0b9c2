"""The Kubernetes objects of a use case's pipeline: the name it is started by, one version of it, its schedule."""

from typing import Any

from pipelines.pipeline.compiling.compiled import Compiled
from pipelines.pipeline.compiling.pods import BUCKET, SETTINGS, USER
from pipelines.usecase import UseCase

NAMESPACE = "kubeflow"
GROUP = "pipelines.kubeflow.org/v2beta1"
VERSION_TAG = "version"
API_SERVER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
PRUNE = "kustomize.toolkit.fluxcd.io/prune"
USECASE_LABEL = "mlops-blueprint/usecase"
DISABLED = "disabled"


def pipeline(usecase: UseCase, compiled: Compiled) -> dict[str, Any]:
    """What runs are started by. Its tag says which version is the one that Git asks for."""
    return {
        "apiVersion": GROUP,
        "kind": "Pipeline",
        "metadata": _metadata(usecase, usecase.name),
        "spec": {
            "displayName": usecase.name,
            "description": usecase.purpose,
            "tags": {VERSION_TAG: compiled.version, "team": usecase.owner.team[:63]},
        },
    }


def pipeline_version(usecase: UseCase, compiled: Compiled) -> dict[str, Any]:
    """Immutable. It stays when the next one comes: runs that it began are explained by it."""
    return {
        "apiVersion": GROUP,
        "kind": "PipelineVersion",
        "metadata": _metadata(usecase, compiled.version, {PRUNE: DISABLED}),
        "spec": {
            "pipelineName": usecase.name,
            "displayName": compiled.version,
            "pipelineSpec": compiled.spec,
            "platformSpec": compiled.platform,
        },
    }


def schedule(usecase: UseCase, environment: str, image: str) -> dict[str, Any] | None:
    """`mlops run` at the times of retrain.schedule: it starts the run and leaves it to Kubeflow."""
    if usecase.retrain.schedule is None:
        return None
    command = ["run", usecase.name, "--environment", environment, "--reason", "schedule", "--runner", "kubeflow"]
    container = {
        "name": "mlops",
        "image": image,
        "args": [*command, "--detach"],
        "envFrom": [
            {"configMapRef": {"name": SETTINGS}},
            {"secretRef": {"name": BUCKET, "optional": True}},
        ],
        "env": [{"name": "MLOPS_KUBEFLOW_URL", "value": API_SERVER}],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    job = {"backoffLimit": 2, "activeDeadlineSeconds": 600, "ttlSecondsAfterFinished": 604800}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(usecase, f"run-{usecase.name}"),
        "spec": {
            "schedule": usecase.retrain.schedule,
            "timeZone": "Etc/UTC",
            "suspend": usecase.retrain.suspended,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": {**job, "template": {"metadata": {"labels": _labels(usecase)}, "spec": pod}}},
        },
    }


def _metadata(usecase: UseCase, name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    """Flux would fill in what looks like a variable in a program's text; it has none of Flux's."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "labels": _labels(usecase),
        "annotations": {SUBSTITUTE: DISABLED, **(annotations or {})},
    }


def _labels(usecase: UseCase) -> dict[str, str]:
    return {USECASE_LABEL: usecase.name}
