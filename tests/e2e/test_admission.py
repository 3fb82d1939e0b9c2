"""What a real API server says of the tree: every object is accepted, and a model's namespace takes nothing careless."""

import copy
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.cluster import ROOT, Cluster, ClusterError, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

GUARDED = "guarded-model"
DIGEST = f"registry.example.com/models/m@sha256:{'1' * 64}"


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, crds: None) -> Iterator[str]:
    """A model's namespace, under the policies that the stage `configs` brings."""
    policies = cluster.kubectl("kustomize", str(ROOT / "infrastructure" / "configs" / "model-policy"))
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=policies)
    labels = {"mlops-blueprint/usecase": GUARDED, "pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GUARDED, "labels": labels}})
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "model-server", "namespace": GUARDED}}
    )
    wait_for("the policies to hold", lambda: refused(cluster, {"image": "m:latest"}), 30)
    yield GUARDED
    cluster.kubectl("delete", "namespace", GUARDED, "--wait=false")
    cluster.kubectl("delete", "-f", "-", text=policies)


def model_server() -> dict:
    """The Deployment that every model gets, as it is before a release is put into it."""
    path = ROOT / "apps" / "components" / "model-server" / "deployment.yaml"
    deployment = yaml.safe_load(path.read_text(encoding="utf-8"))
    deployment["metadata"]["namespace"] = GUARDED
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = DIGEST
    return deployment


def refused(cluster: Cluster, container: dict | None = None, pod: dict | None = None) -> str:
    """Why the API server does not take the model server with these changes; empty when it does."""
    deployment = model_server()
    spec = deployment["spec"]["template"]["spec"]
    spec |= pod or {}
    spec["containers"][0] |= container or {}
    try:
        cluster.apply(deployment, dry_run=True)
    except ClusterError as error:
        return str(error)
    return ""


def test_the_model_server_itself_is_accepted(guarded, cluster):
    assert refused(cluster) == ""


@pytest.mark.parametrize(
    ("container", "pod", "told"),
    [
        ({"image": "registry.example.com/m:7"}, {}, "not by digest"),
        ({"image": "registry.example.com/m@sha256:12"}, {}, "not by digest"),
        ({"resources": {"limits": {"memory": "1Gi"}}}, {}, "requests cpu and memory"),
        ({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}, {}, "limit of memory"),
        ({}, {"securityContext": {}}, "no container runs as root"),
        ({"securityContext": {"allowPrivilegeEscalation": False}}, {}, "read-only"),
        ({}, {"automountServiceAccountToken": True}, "no token"),
    ],
)
def test_a_careless_one_is_refused_with_a_reason(guarded, cluster, container, pod, told):
    assert told in refused(cluster, copy.deepcopy(container), copy.deepcopy(pod))


def test_other_namespaces_are_left_alone(guarded, cluster):
    deployment = model_server()
    deployment["metadata"]["namespace"] = "default"
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "m:latest"
    cluster.apply(deployment, dry_run=True)
