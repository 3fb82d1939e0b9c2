"""The contract, held against every example stack: whatever the cloud, the same things come out."""

import json
import re
from collections import Counter

import pytest
import yaml

from blueprint.contract import POOL_LABEL, VARS, WORKLOADS, backup_uri
from blueprint.rehearsal import NOT_YET, PRETENDED, SECRET, Rehearsal, Resource
from tests.clouds import BUILT, REPOSITORY, STACKS, rehearsal

OUTPUTS = {"kubeconfig", "registry", "bucketUri", "sopsKey", "identities", "database", "vars"}
HOLD_DATA = (
    "bucket:Bucket",
    ":CryptoKey",
    "key:Key",
    "keyvault:Key",
    ":StorageAccount",
    ":Vault",
    "cluster:Cluster",
    ":ManagedCluster",
)
# Two of the same kind that may have the same name: they are in different containers.
PHYSICAL_NAMES = ("name", "bucket", "accountName", "registryName", "vaultName", "resourceName", "accountId")


@pytest.mark.parametrize("stack", STACKS)
def test_the_same_outputs_everywhere(stack):
    outputs = rehearsal(stack).outputs
    assert set(outputs) == OUTPUTS
    assert set(outputs["identities"]) == {workload.name for workload in WORKLOADS}
    assert outputs["database"] == {
        "kind": "cloudnative-pg",
        "storageClass": outputs["vars"]["STORAGE_CLASS"],
    }


@pytest.mark.parametrize("stack", STACKS)
def test_the_same_variables_everywhere_and_all_of_them_text(stack):
    values = rehearsal(stack).outputs["vars"]
    assert tuple(sorted(values)) == tuple(sorted(VARS))
    assert all(isinstance(value, str) for value in values.values())
    assert rehearsal(stack).one(":ConfigMap").inputs["data"] == values


@pytest.mark.parametrize("stack", STACKS)
def test_what_manifests_need_is_never_empty(stack):
    values = rehearsal(stack).outputs["vars"]
    assert all(values[key] for key in ("CLOUD", "REGION", "REGISTRY", "BUCKET_URI", "STORAGE_CLASS"))
    assert re.match(r"(gs|s3|wasbs)://[^/]+$", values["BUCKET_URI"])
    assert not values["REGISTRY"].endswith("/")


@pytest.mark.parametrize(
    ("bucket", "copies"),
    [
        ("gs://b", "gs://b/postgres"),
        ("s3://b", "s3://b/postgres"),
        ("wasbs://c@a.blob.core.windows.net", "https://a.blob.core.windows.net/c/postgres"),
    ],
)
def test_databases_are_copied_to_an_address_that_barman_knows(bucket, copies):
    assert backup_uri(bucket) == copies


def test_only_azure_needs_annotations():
    for stack in BUILT:
        identities = {rehearsal(stack).outputs["vars"][key] for key in VARS if key.startswith("IDENTITY")}
        assert identities == ({""} if not stack.startswith("azure") else identities - {""})


def test_the_variables_are_those_of_kind():
    path = REPOSITORY / "clusters" / "local" / "platform-vars.yaml"
    if not path.is_file():
        pytest.skip("clusters/local/platform-vars.yaml is not there yet")
    assert sorted(yaml.safe_load(path.read_text())["data"]) == sorted(VARS)


def test_every_variable_in_the_manifests_is_provided_and_every_one_provided_is_used():
    folders = [REPOSITORY / name for name in ("infrastructure", "clusters", "apps")]
    if not (REPOSITORY / "infrastructure" / "profiles").is_dir():
        pytest.skip("infrastructure/ is not there yet")
    chosen = yaml.safe_load((REPOSITORY / "clusters" / "local" / "cluster-vars.yaml").read_text())["data"]
    used: set[str] = set()
    for path in (path for folder in folders for path in folder.rglob("*.yaml")):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        used |= set(re.findall(r"(?<!\$)\$\{([A-Z][A-Z0-9_]*)", text))
    assert used - set(chosen) <= set(VARS), "a manifest wants a variable that no platform gives"
    assert set(VARS) <= used, "a platform gives a variable that no manifest wants"


@pytest.mark.parametrize("stack", STACKS)
def test_names_are_unique(stack):
    resources = rehearsal(stack).resources
    urns = Counter(resource.urn for resource in resources)
    assert not [urn for urn, count in urns.items() if count > 1]
    for key in PHYSICAL_NAMES:
        physical = Counter(
            (resource.type, json.dumps(resource.inputs[key]), json.dumps(resource.inputs.get("metadata")))
            for resource in resources
            if key in resource.inputs and _names_itself(resource, key)
        )
        assert not [name for name, count in physical.items() if count > 1], key


def _names_itself(resource: Resource, key: str) -> bool:
    """Many resources name another one by the same property: only those that are the thing itself count."""
    return {
        "bucket": resource.type.endswith("bucket:Bucket"),
        "accountName": resource.type.endswith(":StorageAccount"),
        "vaultName": resource.type.endswith(":Vault"),
        "resourceName": resource.type.endswith((":ManagedCluster", ":UserAssignedIdentity")),
    }.get(key, True)


@pytest.mark.parametrize("stack", STACKS)
def test_the_kubeconfig_is_a_secret(stack):
    done = rehearsal(stack)
    assert done.outputs["kubeconfig"] == SECRET
    assert done.one("providers:kubernetes").inputs["kubeconfig"] == SECRET


@pytest.mark.parametrize("stack", BUILT)
def test_and_holds_no_secret_all_the_same(stack):
    config = json.loads(rehearsal(stack).one("providers:kubernetes").revealed["kubeconfig"])
    (user,) = config["users"]
    assert set(user["user"]) == {"exec"}
    assert config["clusters"][0]["cluster"]["server"]


@pytest.mark.parametrize("stack", STACKS)
def test_no_secret_is_ever_written_in_the_clear(stack):
    done = rehearsal(stack)
    shown = json.dumps([dict(resource.inputs) for resource in done.resources]) + json.dumps(done.outputs)
    for name in ("gitToken", "ageKey"):
        assert PRETENDED[name] not in shown
    hidden = json.dumps([dict(resource.revealed) for resource in done.resources])
    assert all(PRETENDED[name] in hidden for name in ("gitToken", "ageKey")), "the test looks for the wrong words"


@pytest.mark.parametrize("stack", STACKS)
def test_a_preview_before_anything_exists_shows_the_same_resources(stack):
    def labels(done: Rehearsal) -> set[str]:
        return {resource.label for resource in done.resources}

    preview = rehearsal(stack, unknown=True)
    assert labels(preview) == labels(rehearsal(stack))
    if stack in BUILT:
        assert NOT_YET in json.dumps([dict(resource.inputs) for resource in preview.resources])


@pytest.mark.parametrize("stack", BUILT)
def test_production_protects_what_holds_data_and_staging_can_be_thrown_away(stack):
    protected = {resource.label for resource in rehearsal(stack).resources if resource.options.protect}
    if stack.endswith("staging"):
        assert not protected
        return
    holding = {r.label for r in rehearsal(stack).resources if r.type.endswith(HOLD_DATA)}
    assert len(holding) >= 4
    assert holding <= protected


@pytest.mark.parametrize("stack", BUILT)
def test_pools_have_their_label_and_only_training_and_gpus_a_taint(stack):
    found = {}
    for resource in rehearsal(stack).resources:
        text = json.dumps(dict(resource.inputs))
        if resource.type.endswith((":NodePool", ":AgentPool", ":ManagedCluster")):
            (role,) = set(re.findall(rf'"{POOL_LABEL}": "(\w+)"', text))
            tainted = re.search(r'"(node)?[tT]aints": \[[^\]]+\]', text) is not None
            found[role] = tainted
    expected = {"system": False, "training": True}
    if stack.endswith("production"):
        expected |= {"serving": False, "gpu": True}
    assert found == expected


@pytest.mark.parametrize("stack", BUILT)
def test_training_begins_at_zero_nodes_on_spot_machines(stack):
    (pool,) = [
        resource
        for resource in rehearsal(stack).resources
        if resource.type.endswith((":NodePool", ":AgentPool")) and resource.name == "training"
    ]
    text = json.dumps(dict(pool.inputs))
    assert re.search(r'"spot": true|"scaleSetPriority": "Spot"|"values": \["spot"\]', text)
    assert re.search(r'"totalMinNodeCount": 0|"minCount": 0', text) or ":karpenter.sh" in pool.type


@pytest.mark.parametrize("stack", BUILT)
def test_somebody_hears_when_it_gets_dear(stack):
    text = json.dumps([dict(r.inputs) for r in rehearsal(stack).resources if "udget" in r.type or r.name == "budget"])
    assert "ml-platform@example.com" in text


@pytest.mark.parametrize("stack", BUILT)
def test_no_two_environments_of_a_cloud_share_a_name(stack):
    if stack.endswith("production"):
        return
    other = rehearsal(stack.replace("staging", "production"))
    mine = rehearsal(stack).outputs["vars"]
    assert mine["BUCKET_URI"] != other.outputs["vars"]["BUCKET_URI"]
