"""One use case's model and endpoint on Vertex AI: what is there, and each step that changes it."""

from datetime import UTC, datetime
from functools import singledispatch
from typing import Any

from pipelines.vertex import plan
from pipelines.vertex.api import VertexApi, VertexResponse
from pipelines.vertex.machines import MachineSize
from pipelines.vertex.target import VertexTarget

PORT, PREDICT_ROUTE, HEALTH_ROUTE = 3000, "/predict", "/readyz"
SCALE_ON = {"metricName": "aiplatform.googleapis.com/prediction/online/cpu/utilization", "target": 60}
OPERATION_SECONDS = 3600.0


def observe(api: VertexApi, target: VertexTarget) -> plan.Observed:
    """What Vertex AI has of this use case."""
    endpoint = api.find(_endpoint(api, target))
    model = api.find(_model(api, target))
    version = api.find(f"{_model(api, target)}@{target.alias}") if target.release and model else None
    return plan.Observed(
        exists=endpoint is not None,
        model_exists=model is not None,
        version=version["versionId"] if version else None,
        deployed=_deployed(endpoint or {}, target),
        labels=(endpoint or {}).get("labels", {}),
        key=(endpoint or {}).get("encryptionSpec", {}).get("kmsKeyName", ""),
        etag=(endpoint or {}).get("etag", ""),
    )


def finish_running(api: VertexApi, target: VertexTarget) -> list[VertexResponse]:
    """Wait for what an earlier run has begun; gives those operations. How they ended shows in the next look."""
    begun = [*api.running(_endpoint(api, target)), *api.running(_model(api, target))]
    for operation in begun:
        api.wait(operation, OPERATION_SECONDS)
    return begun


def do(step: plan.PlanStep, api: VertexApi, target: VertexTarget, seen: plan.Observed) -> None:
    """Bring one step about, to its end."""
    _do(step, api, target, seen)


@singledispatch
def _do(step: object, api: VertexApi, target: VertexTarget, seen: plan.Observed) -> None:
    raise NotImplementedError(step)


@_do.register
def _create(_: plan.CreateEndpoint, api: VertexApi, target: VertexTarget, __: plan.Observed) -> None:
    body = {"displayName": target.resource, "labels": _without_release(target), **_encryption(target)}
    asked = api.ask("POST", f"{api.parent}/endpoints", body, {"endpointId": target.resource})
    api.wait(asked, OPERATION_SECONDS)


@_do.register
def _upload(step: plan.UploadVersion, api: VertexApi, target: VertexTarget, seen: plan.Observed) -> None:
    assert target.release  # noqa: S101 - nothing is uploaded without one
    model = {
        "displayName": target.resource,
        "versionAliases": [target.alias],
        "versionDescription": f"{target.release.bento}, MLflow run {target.release.run}, data {target.release.data}",
        "labels": target.labels,
        "containerSpec": {
            "imageUri": step.image,
            "ports": [{"containerPort": PORT}],
            "predictRoute": PREDICT_ROUTE,
            "healthRoute": HEALTH_ROUTE,
            "env": [
                {"name": "MLOPS_ENVIRONMENT", "value": target.environment},
                {"name": "MLOPS_LOG_FORMAT", "value": "json"},
            ],
        },
        **_encryption(target),
    }
    place = {"parentModel": _model(api, target)} if seen.model_exists else {"modelId": target.resource}
    asked = api.ask("POST", f"{api.parent}/models:upload", {**place, "model": model})
    api.wait(asked, OPERATION_SECONDS)


@_do.register
def _deploy(step: plan.Deploy, api: VertexApi, target: VertexTarget, seen: plan.Observed) -> None:
    assert target.release  # noqa: S101 - nothing is deployed without one
    low, high = step.size.replicas
    deployed: dict[str, Any] = {
        "model": f"{_model(api, target)}@{seen.version}",
        "displayName": target.release.bento,
        "dedicatedResources": {
            "machineSpec": {"machineType": step.size.machine},
            "minReplicaCount": low,
            "maxReplicaCount": high,
            "autoscalingMetricSpecs": [SCALE_ON],
        },
    }
    if target.service_account:
        deployed["serviceAccount"] = target.service_account
    body = {"deployedModel": deployed, "trafficSplit": dict(step.traffic)}
    api.wait(api.ask("POST", f"{_endpoint(api, target)}:deployModel", body), OPERATION_SECONDS)


@_do.register
def _shift(step: plan.Shift, api: VertexApi, target: VertexTarget, seen: plan.Observed) -> None:
    body = {"trafficSplit": dict(step.traffic), "etag": seen.etag}
    api.ask("PATCH", _endpoint(api, target), body, {"updateMask": "trafficSplit"})


@_do.register
def _resize(step: plan.Resize, api: VertexApi, target: VertexTarget, _: plan.Observed) -> None:
    low, high = step.size.replicas
    resources = {"minReplicaCount": low, "maxReplicaCount": high}
    mask = ",".join(f"dedicatedResources.{name}" for name in resources)
    body = {"deployedModel": {"id": step.id, "dedicatedResources": resources}, "updateMask": mask}
    api.wait(api.ask("POST", f"{_endpoint(api, target)}:mutateDeployedModel", body), OPERATION_SECONDS)


@_do.register
def _undeploy(step: plan.Undeploy, api: VertexApi, target: VertexTarget, _: plan.Observed) -> None:
    asked = api.ask("POST", f"{_endpoint(api, target)}:undeployModel", {"deployedModelId": step.deployed.id})
    api.wait(asked, OPERATION_SECONDS)


@_do.register
def _label(step: plan.Label, api: VertexApi, target: VertexTarget, seen: plan.Observed) -> None:
    body = {"labels": dict(step.labels), "etag": seen.etag}
    api.ask("PATCH", _endpoint(api, target), body, {"updateMask": "labels"})


def _endpoint(api: VertexApi, target: VertexTarget) -> str:
    return api.name("endpoints", target.resource)


def _model(api: VertexApi, target: VertexTarget) -> str:
    return api.name("models", target.resource)


def _without_release(target: VertexTarget) -> dict[str, str]:
    """The labels of an endpoint that serves nothing yet."""
    return {key: target.labels[key] for key in ("managed_by", "usecase", "environment")}


def _encryption(target: VertexTarget) -> dict[str, Any]:
    return {"encryptionSpec": {"kmsKeyName": target.key}} if target.key else {}


def _deployed(endpoint: VertexResponse, target: VertexTarget) -> tuple[plan.DeployedModel, ...]:
    shares = endpoint.get("trafficSplit", {})
    return tuple(
        plan.DeployedModel(
            id=each["id"],
            version=_version(each, target),
            size=_size(each.get("dedicatedResources", {})),
            traffic=int(shares.get(each["id"], 0)),
            created=_time(each.get("createTime", "")),
            account=each.get("serviceAccount", ""),
        )
        for each in endpoint.get("deployedModels", [])
    )


def _version(deployed: VertexResponse, target: VertexTarget) -> str:
    """Its number; a whole name where it is another model, which somebody has deployed there by hand."""
    model = deployed.get("model", "").partition("@")[0]
    version = deployed.get("modelVersionId", "")
    return version if model.rpartition("/")[2] == target.resource else f"{model}@{version}"


def _size(resources: VertexResponse) -> MachineSize:
    machine = resources.get("machineSpec", {}).get("machineType", "")
    return MachineSize(machine, (int(resources.get("minReplicaCount", 0)), int(resources.get("maxReplicaCount", 0))))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)
