"""Every object that any of the clusters would apply is accepted by a real API server, field by field."""

import copy

import pytest

from pipelines.environments import read_environments
from pipelines.gitops.flux import read_clusters, title
from tests.e2e.cluster import ROOT, Cluster, ClusterError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def namespaces(cluster: Cluster, crds: None):
    """A dry run does not make the namespaces that other objects are in."""
    wanted = {
        found["metadata"]["name"]
        for each in read_clusters(ROOT)
        for _, found in each.objects()
        if found["kind"] == "Namespace"
    }
    listed = cluster.kubectl("get", "namespaces", "-o", "name").split()
    missing = sorted(wanted - {name.removeprefix("namespace/") for name in listed})
    for name in missing:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield
    cluster.kubectl("delete", "namespace", "--wait=false", *missing)


@pytest.mark.parametrize("environment", read_environments(ROOT).names)
def test_every_object_is_accepted(environment, cluster, namespaces):
    applied = next(each for each in read_clusters(ROOT) if each.environment == environment)
    refused = []
    objects = [found for _, found in applied.objects()]
    assert len(objects) > 50
    try:
        cluster.apply(*objects, dry_run=True)
    except ClusterError:
        for found in objects:
            try:
                cluster.apply(copy.deepcopy(found), dry_run=True)
            except ClusterError as error:
                refused.append(f"{title(found)}: {error}")
    assert refused == []
