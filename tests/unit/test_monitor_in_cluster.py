"""What the monitor sees of a cluster. The API server is a stand-in that gives lists; tests/e2e asks a real one."""

import copy
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pipelines.monitor.inventory.kubernetes import ClusterUnreachable, ClusterWatching
from pipelines.settings import Settings
from pipelines.usecase.api_version import API_VERSION
from tests.monitor_cases import USECASE, usecase

ROOT = Path(__file__).parents[2]
DEPLOYMENT = ROOT / "apps" / "components" / "model-server" / "deployment.yaml"
RELEASED = {"bento": f"{USECASE}:7", "model": f"{USECASE}/7", "run": "r" * 32, "data": "d" * 12, "code": "c" * 40}
IMAGE = f"registry.example.com/models/{USECASE}@sha256:{'5c' * 32}"
ASKED = {"/api/v1/configmaps": "usecase", "/apis/apps/v1/deployments": "model-server"}


def configmap(text: str | None = None, **files: str) -> dict[str, Any]:
    told = text if text is not None else yaml.safe_dump(usecase().model_dump(mode="json", exclude_unset=True))
    return {"metadata": _metadata("usecase"), "data": {"usecase.yaml": told, **files}}


def deployment(ready: int = 2, updated: int = 2, progressing: str = "True", **released: str) -> dict[str, Any]:
    """The tree's own, as the API server gives it back after a rollout."""
    made = yaml.safe_load(DEPLOYMENT.read_text())
    made["metadata"] = {**_metadata("model-server"), "generation": 3}
    made["spec"]["replicas"] = 2
    template = made["spec"]["template"]
    template["metadata"]["annotations"] |= {f"mlops-blueprint/{key}": value for key, value in released.items()}
    if released:
        template["spec"]["containers"][0]["image"] = IMAGE
    condition = {
        "type": "Progressing",
        "status": progressing,
        "reason": "NewReplicaSetAvailable",
        "message": "so it is",
    }
    if progressing == "False":
        condition |= {"reason": "ProgressDeadlineExceeded", "message": "no pod became ready"}
    condition |= {"lastUpdateTime": "2026-11-20T10:00:00Z", "lastTransitionTime": "2026-11-20T10:00:00Z"}
    counts = {"replicas": 2, "readyReplicas": ready, "updatedReplicas": updated, "observedGeneration": 3}
    made["status"] = {**counts, "conditions": [condition]}
    return made


def _metadata(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": USECASE,
        "labels": {"mlops-blueprint/usecase": USECASE},
        "creationTimestamp": "2026-11-01T10:00:00Z",
    }


class Cluster:
    """Gives lists, or refuses with a status."""

    def __init__(self, tmp_path: Path) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {"usecase": [], "model-server": []}
        self.status = 200
        self.settings = Settings.load({"MLOPS_ENVIRONMENT": "staging"}, root=tmp_path, home=tmp_path)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                name = ASKED[asked.path]
                assert parse_qs(asked.query)["fieldSelector"] == [f"metadata.name={name}"], "else its role forbids it"
                body = {"items": outer.lists[name]} if outer.status == 200 else {"reason": "Forbidden"}
                self.send_response(outer.status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def watching(self) -> ClusterWatching:
        from kubernetes import client

        known = client.Configuration(host=f"http://127.0.0.1:{self.server.server_address[1]}")
        known.retries = 0
        return ClusterWatching(self.settings, client.ApiClient(known))


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_released_model_is_seen_with_its_version_and_its_pods(cluster):
    cluster.lists = {"usecase": [configmap()], "model-server": [deployment(**RELEASED)]}
    [model] = cluster.watching().look().models
    assert model.place == (USECASE, "staging")
    assert (model.release.bento, model.release.image) == (f"{USECASE}:7", IMAGE)
    assert (model.health.state, model.health.detail) == ("serving", "2 of 2 pods ready")
    assert model.since == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert model.watched.release.model == f"{USECASE}/7"


@pytest.mark.parametrize(
    ("given", "state", "problem"),
    [
        (deployment(updated=1, **RELEASED), "starting", None),
        (deployment(ready=0, **RELEASED), "starting", None),
        (
            deployment(ready=1, updated=1, progressing="False", **RELEASED),
            "failed",
            "ProgressDeadlineExceeded: no pod became ready",
        ),
    ],
)
def test_a_rollout_under_way_or_stuck_is_told(cluster, given, state, problem):
    cluster.lists = {"usecase": [configmap()], "model-server": [given]}
    [model] = cluster.watching().look().models
    assert (model.health.state, model.health.problem) == (state, problem)


@pytest.mark.parametrize("servers", [[], [deployment()]])
def test_a_use_case_before_its_first_release_is_known(cluster, servers):
    cluster.lists = {"usecase": [configmap()], "model-server": servers}
    [model] = cluster.watching().look().models
    assert model.release is None


def test_overrides_of_the_environment_count(cluster):
    cluster.lists["usecase"] = [configmap(**{"overrides.yaml": f"apiVersion: {API_VERSION}\nserving: {{p99_ms: 7}}\n"})]
    [model] = cluster.watching().look().models
    assert model.usecase.serving.p99_ms == 7


def test_a_use_case_that_cannot_be_read_is_a_problem_and_holds_up_no_other(cluster):
    broken = configmap(f"apiVersion: {API_VERSION}\nname: tiny-table\nserving: {{p99_sm: 7}}\n")
    stranger = copy.deepcopy(configmap())
    stranger["metadata"]["labels"] = {}
    cluster.lists["usecase"] = [broken, configmap(), stranger]
    sight = cluster.watching().look()
    assert len(sight.models) == 1
    assert "p99_sm" in "".join(sight.problems)


def test_rights_that_are_missing_are_named(cluster):
    cluster.status = 403
    with pytest.raises(ClusterUnreachable, match="listing usecase failed: 403") as raised:
        cluster.watching().look()
    assert "clusterrole.yaml" in raised.value.hint


def test_an_api_server_that_is_away_is_told(cluster):
    watching = cluster.watching()
    cluster.server.shutdown()
    cluster.server.server_close()
    with pytest.raises(ClusterUnreachable, match="does not answer"):
        watching.look()
