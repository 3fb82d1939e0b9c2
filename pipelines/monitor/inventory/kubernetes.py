"""In a cluster: the API server tells the use cases (ConfigMaps `usecase`) and what runs (Deployments `model-server`).

Only these names may be read, in every namespace; a list is allowed because it asks for the name.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import MlopsError
from pipelines.monitor.inventory.inventory import DeployedModelState, Health, ServingState, Sight
from pipelines.packaging.bentos import fetch_bento
from pipelines.release.release import Release
from pipelines.settings import Settings
from pipelines.usecase import UseCase, load_usecase
from pipelines.usecase.load import OVERRIDES_FILE, USECASE_FILE

if TYPE_CHECKING:
    from kubernetes import client

USECASE_LABEL = "mlops-blueprint/usecase"
CONFIGMAP, DEPLOYMENT, CONTAINER = "usecase", "model-server", "model-server"
ANNOTATIONS = ("bento", "model", "run", "data", "code")
ANSWER_SECONDS = 10
MOST_USECASES = 1024


class ClusterUnreachable(MlopsError):
    """The API server does not answer, or does not let the monitor read what it must."""


class ClusterWatching:
    """What is watched in the cluster that the monitor runs in, or in that of a kubeconfig."""

    def __init__(self, settings: Settings, api: client.ApiClient | None = None) -> None:
        self._settings = settings
        self._api = api or _api()

    def look(self) -> Sight:
        from kubernetes import client

        usecases = self._list(client.CoreV1Api(self._api).list_config_map_for_all_namespaces, CONFIGMAP)
        servers = self._list(client.AppsV1Api(self._api).list_deployment_for_all_namespaces, DEPLOYMENT)
        by_namespace = {server.metadata.namespace: server for server in servers}
        models, problems = [], []
        for configmap in usecases:
            try:
                usecase = _read_usecase(configmap, self._settings.environment)
                server = by_namespace.get(configmap.metadata.namespace)
                models.append(_model(usecase, self._settings.environment, server))
            except MlopsError as error:
                problems.append(f"{configmap.metadata.namespace}/{configmap.metadata.name}: {error.message}")
        models.sort(key=lambda model: model.place)
        return Sight(tuple(models), tuple(problems), seen_at=datetime.now(UTC))

    def bento(self, release: Release) -> Path:
        return fetch_bento(self._settings.bentos, release.image)

    def _list(self, ask: Any, name: str) -> list[Any]:
        import urllib3
        from kubernetes import client

        try:
            found = ask(field_selector=f"metadata.name={name}", _request_timeout=ANSWER_SECONDS)
        except client.ApiException as error:
            raise ClusterUnreachable(
                f"listing {name} failed: {error.status} {error.reason}",
                hint="what it may read: infrastructure/platform/monitor/clusterrole.yaml"
                if error.status == 403
                else None,
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnreachable(f"the API server does not answer: {error}") from error
        return [one for one in found.items if USECASE_LABEL in (one.metadata.labels or {})]


def _api() -> client.ApiClient:
    """As the pod's ServiceAccount; outside a cluster, as the kubeconfig says."""
    from kubernetes import client, config

    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            config.load_kube_config()
        except config.ConfigException as error:
            raise ClusterUnreachable(
                f"no cluster to look at: {error}", hint="run it in a pod, set KUBECONFIG, or watch Git: MLOPS_WATCH=git"
            ) from error
    return client.ApiClient()


def _read_usecase(configmap: Any, environment: str) -> UseCase:
    name, files = configmap.metadata.labels[USECASE_LABEL], configmap.data or {}
    return _parse(name, environment, files.get(USECASE_FILE), files.get(OVERRIDES_FILE))


@lru_cache(maxsize=MOST_USECASES)
def _parse(name: str, environment: str, main: str | None, overrides: str | None) -> UseCase:
    """The ConfigMap's files are read as those of a checkout are, once as long as they say the same."""
    with tempfile.TemporaryDirectory(prefix="usecase-") as scratch:
        folder = Path(scratch) / "apps" / name
        (folder / environment).mkdir(parents=True)
        for text, path in ((main, folder / USECASE_FILE), (overrides, folder / environment / OVERRIDES_FILE)):
            if text is not None:
                path.write_text(text, encoding="utf-8")
        return load_usecase(Path(scratch), name, environment)


def _model(usecase: UseCase, environment: str, server: Any | None) -> DeployedModelState:
    release = _release_of(server) if server else None
    if server is None or release is None:
        return DeployedModelState(usecase, environment)
    return DeployedModelState(
        usecase,
        environment,
        release=release,
        commit=_template(server).get("mlops-blueprint/commit", ""),
        since=_available_since(server) or server.metadata.creation_timestamp,
        health=_health(server, release.bento),
    )


def _template(server: Any) -> dict[str, str]:
    return server.spec.template.metadata.annotations or {}


def _release_of(server: Any) -> Release | None:
    """None before the first release, when the Deployment names no image yet."""
    said = {key: _template(server).get(f"mlops-blueprint/{key}", "") for key in ANNOTATIONS}
    image = next((one.image for one in server.spec.template.spec.containers if one.name == CONTAINER), "")
    try:
        return Release(image=image, **said)
    except ValueError:
        return None


def _health(server: Any, bento: str) -> Health:
    wanted, told = server.spec.replicas or 0, server.status
    ready, updated = told.ready_replicas or 0, told.updated_replicas or 0
    progress = next((one for one in told.conditions or [] if one.type == "Progressing"), None)
    problem = f"{progress.reason}: {progress.message}" if progress and progress.status == "False" else None
    is_new = updated >= wanted and (told.observed_generation or 0) >= server.metadata.generation
    state: ServingState = "serving" if ready and is_new else "starting" if problem is None else "failed"
    return Health(
        state,
        bento=bento if is_new else None,
        since=_available_since(server),
        detail=f"{ready} of {wanted} pods ready",
        problem=problem,
    )


def _available_since(server: Any) -> datetime | None:
    """When the newest version was rolled out, as far as the Deployment knows."""
    return next((one.last_update_time for one in server.status.conditions or [] if one.type == "Progressing"), None)
