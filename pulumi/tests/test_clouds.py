"""What each cloud does in its own way: the node's rights, the workloads' rights, the ways in."""

import ipaddress
import json

import pytest

from blueprint import kube
from blueprint.aws.pools import MachineUnknown, cores
from blueprint.existing import KubeconfigMissing
from blueprint.rehearsal import read_stack, rehearse
from blueprint.snapshots import TREE
from tests.clouds import changed, rehearsal

PIPELINES = "ns/kubeflow/sa/pipeline-runner"
DATABASES = ("ns/mlflow/sa/mlflow-db", "ns/mlops/sa/predictions-db")
BOTH = ("azure-staging", "azure-production")


# --- Google Cloud ------------------------------------------------------------------------------------------


def test_gcp_one_zone_makes_a_zonal_cluster_and_three_a_regional_one():
    zonal, regional = (rehearsal(f"gcp-{env}").one("cluster:Cluster").inputs for env in ("staging", "production"))
    assert zonal["location"] == "europe-west4-a"
    assert "nodeLocations" not in zonal
    assert regional["location"] == "europe-west4"
    assert len(regional["nodeLocations"]) == 3


def test_gcp_who_may_do_what():
    granted = {
        (str(r.inputs["member"]).split("/subject/")[-1], r.inputs["role"])
        for r in rehearsal("gcp-staging").resources
        if "member" in r.inputs and not str(r.inputs["member"]).startswith("serviceAccount:")
    }
    assert granted == {
        ("ns/mlflow/sa/mlflow", "roles/storage.objectUser"),
        (PIPELINES, "roles/storage.objectUser"),
        (PIPELINES, "roles/artifactregistry.writer"),
        *((account, "roles/storage.objectUser") for account in DATABASES),
        ("ns/mlops/sa/monitor", "roles/storage.objectViewer"),
        ("ns/flux-system/sa/kustomize-controller", "roles/cloudkms.cryptoKeyDecrypter"),
    }


def test_gcp_nodes_may_write_logs_and_pull_images_and_nothing_else():
    granted = {
        r.inputs["role"]
        for r in rehearsal("gcp-production").resources
        if r.inputs.get("member") == "serviceAccount:<nodes.email>"
    }
    assert granted == {"roles/container.defaultNodeServiceAccount", "roles/artifactregistry.reader"}


def test_gcp_vertex_ai_brings_the_only_service_account_with_rights_and_only_when_asked_for():
    assert {account.name for account in rehearsal("gcp-staging").of_type(":Account")} == {"nodes"}
    done = rehearsal("gcp-production")
    assert {account.name for account in done.of_type(":Account")} == {"nodes", "vertex"}
    assert done.one(":Service", "aiplatform")
    acting = {r.inputs["member"].split("/subject/")[-1] for r in done.of_type("serviceaccount/iAMMember:IAMMember")}
    assert acting == {PIPELINES, "serviceAccount:<vertex.email>"}


def test_gcp_vertex_ai_may_read_the_secrets_that_are_named_and_no_other():
    done = rehearsal("gcp-production")
    assert done.one("secret:Secret", "release-token").inputs["secretId"] == "mlops-production-release-token"
    (may,) = done.of_type(":SecretIamMember")
    assert may.inputs["role"] == "roles/secretmanager.secretAccessor"
    assert may.inputs["member"] == "serviceAccount:<vertex.email>"
    assert done.one(":Service", "secretmanager")
    without = changed("gcp-production", lambda platform: platform["gcp"].pop("vertex_secrets"))
    assert not [r for r in without.resources if "secretmanager" in r.type or r.name.startswith("secretmanager")]


def test_gcp_leaves_the_gateway_api_to_flux_unless_told():
    assert rehearsal("gcp-staging").one("cluster:Cluster").inputs["gatewayApiConfig"] == {"channel": "CHANNEL_DISABLED"}
    with_it = changed("gcp-staging", lambda platform: platform["gcp"].update(gateway_api=True))
    assert with_it.one("cluster:Cluster").inputs["gatewayApiConfig"] == {"channel": "CHANNEL_STANDARD"}


def test_gcp_everything_waits_until_the_project_is_switched_on():
    done = rehearsal("gcp-staging")
    apis = {api.urn for api in done.of_type(":Service")}
    for kind in (":KeyRing", ":Network", ":Account"):
        assert apis <= done.of_type(kind)[0].options.waits_for


# --- AWS ---------------------------------------------------------------------------------------------------


def statements(stack: str, role: str) -> list[dict]:
    return json.loads(rehearsal(stack).one(":RolePolicy", role).revealed["policy"])["Statement"]


def test_aws_a_role_is_for_its_own_pods_in_its_own_cluster():
    for role, namespaces, accounts in [
        ("pipelines", ["kubeflow"], ["pipeline-runner"]),
        ("databases", ["mlflow", "mlops"], ["mlflow-db", "predictions-db"]),
    ]:
        trust = json.loads(rehearsal("aws-staging").one("role:Role", role).revealed["assumeRolePolicy"])
        (statement,) = trust["Statement"]
        assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {
            "aws:RequestTag/eks-cluster-name": ["mlops-staging"],
            "aws:RequestTag/kubernetes-namespace": namespaces,
            "aws:RequestTag/kubernetes-service-account": accounts,
        }


def test_aws_who_may_do_what():
    actions = {
        role: {action for statement in statements("aws-staging", role) for action in statement["Action"]}
        for role in ("mlflow", "pipelines", "monitor", "secrets")
    }
    assert actions["secrets"] == {"kms:Decrypt"}
    assert "s3:PutObject" in actions["mlflow"]
    assert not any(action.startswith("ecr:") for action in actions["mlflow"] | actions["monitor"])
    assert {"ecr:PutImage", "ecr:CreateRepository", "s3:PutObject"} <= actions["pipelines"]
    assert not any(word in action for action in actions["monitor"] for word in ("Put", "Delete", "Generate"))


def test_aws_the_first_push_of_a_new_use_case_makes_its_repository():
    template = rehearsal("aws-staging").one(":RepositoryCreationTemplate").inputs
    assert template["appliedFors"] == ["CREATE_ON_PUSH"]
    registry = rehearsal("aws-staging").outputs["vars"]["REGISTRY"]
    assert registry == f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/{template['prefix']}"


def test_aws_production_has_a_way_out_for_each_zone_and_staging_one_for_all():
    assert len(rehearsal("aws-staging").of_type(":NatGateway")) == 1
    assert len(rehearsal("aws-production").of_type(":NatGateway")) == 3


def test_aws_subnets_do_not_overlap():
    networks = [
        ipaddress.ip_network(subnet.inputs["cidrBlock"]) for subnet in rehearsal("aws-production").of_type(":Subnet")
    ]
    assert len(networks) == 6
    assert not [(a, b) for i, a in enumerate(networks) for b in networks[i + 1 :] if a.overlaps(b)]


def test_aws_a_pool_is_never_called_like_auto_mode_s_own():
    names = {r.inputs["metadata"]["name"] for r in rehearsal("aws-production").of_type(":NodePool")}
    assert names == {"mlops-system", "mlops-serving", "mlops-training", "mlops-gpu"}
    own = rehearsal("aws-production").one("cluster:Cluster").inputs["computeConfig"]["nodePools"]
    assert not names & set(own)


def test_aws_a_pool_s_limit_is_its_largest_machine_as_often_as_it_may_grow():
    limits = {r.name: r.inputs["spec"]["limits"]["cpu"] for r in rehearsal("aws-production").of_type(":NodePool")}
    assert limits == {"system": "24", "serving": "24", "training": "32", "gpu": "16"}


@pytest.mark.parametrize(("machine", "count"), [("m7i.large", 2), ("m7i.xlarge", 4), ("c7g.16xlarge", 64)])
def test_aws_a_machine_s_name_says_its_size(machine, count):
    assert cores(machine) == count


def test_aws_a_machine_that_does_not_say_its_size():
    with pytest.raises(MachineUnknown, match=r"'m7i.metal' does not say its size"):
        cores("m7i.metal")


# --- Azure -------------------------------------------------------------------------------------------------


def test_azure_who_may_do_what():
    names = {assignment.name for assignment in rehearsal("azure-staging").of_type(":RoleAssignment")}
    assert names == {
        "cluster-network",
        "databases-bucket",
        "mlflow-bucket",
        "monitor-bucket",
        "nodes-pull",
        "pipelines-bucket",
        "pipelines-registry",
        "secrets-sops",
        "storage-encrypts",
    }


def test_azure_an_identity_is_for_its_own_service_accounts():
    subjects = {c.inputs["subject"] for c in rehearsal("azure-staging").of_type(":FederatedIdentityCredential")}
    assert subjects == {
        "system:serviceaccount:mlflow:mlflow",
        "system:serviceaccount:kubeflow:pipeline-runner",
        "system:serviceaccount:mlflow:mlflow-db",
        "system:serviceaccount:mlops:predictions-db",
        "system:serviceaccount:mlops:monitor",
        "system:serviceaccount:flux-system:kustomize-controller",
    }


def test_azure_credentials_of_one_identity_are_made_one_after_the_other():
    done = rehearsal("azure-staging")
    first, second = (done.one(":FederatedIdentityCredential", name) for name in ("mlflow-db", "predictions-db"))
    assert first.urn in second.options.waits_for


def test_azure_names_that_must_be_unique_in_the_world_belong_to_the_subscription():
    names = {
        rehearsal(stack).one(":StorageAccount").inputs["accountName"] for stack in ("azure-staging", "azure-production")
    }
    assert len(names) == 2
    assert all(3 <= len(name) <= 24 and name.isalnum() and name.islower() for name in names)
    other = changed("azure-staging", lambda p: p["azure"].update(subscription="00000000-0000-0000-0000-000000000009"))
    assert other.one(":StorageAccount").inputs["accountName"] not in names


def test_azure_the_nodes_themselves_reach_the_api_server():
    access = rehearsal("azure-staging").one(":ManagedCluster").inputs["apiServerAccessProfile"]
    assert access["authorizedIPRanges"] == ["192.0.2.0/24", "<egress.ipAddress>/32"]


def test_azure_production_is_locked():
    assert rehearsal("azure-production").one(":ManagementLockAtResourceGroupLevel").inputs["level"] == "CanNotDelete"
    assert not rehearsal("azure-staging").of_type(":ManagementLockAtResourceGroupLevel")


# --- an existing cluster -----------------------------------------------------------------------------------


def test_existing_creates_nothing_but_what_flux_needs():
    kinds = {r.type.split(":")[0] for r in rehearsal("existing-staging").resources}
    assert kinds == {"kubernetes", "pulumi", "mlops-blueprint"}


def test_existing_reads_the_file_that_kubectl_would_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = read_stack("existing-staging") | {"kubeconfig": None}
    with pytest.raises(KubeconfigMissing, match=r"\.kube/config does not exist"):
        rehearse("existing-staging", config, root=TREE)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("kind-kubeconfig")
    provider = rehearse("existing-staging", config, root=TREE).one("providers:kubernetes")
    assert provider.revealed["kubeconfig"] == "kind-kubeconfig"
    assert provider.inputs["kubeconfig"] != "kind-kubeconfig"


# --- kubeconfigs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "command", "server"),
    [
        ("gcp-staging", "gke-gcloud-auth-plugin", "https://<cluster.dns>"),
        ("aws-staging", "aws", "<cluster.endpoint>"),
        ("azure-staging", "kubelogin", "<cluster.fqdn>"),
    ],
)
def test_a_kubeconfig_logs_in_by_the_cloud_s_own_program(stack, command, server):
    config = json.loads(rehearsal(stack).one("providers:kubernetes").revealed["kubeconfig"])
    assert config["users"][0]["user"]["exec"]["command"] == command
    assert config["clusters"][0]["cluster"]["server"] == server


def test_a_server_with_a_certificate_everybody_trusts_needs_no_authority():
    login = kube.Login("login")
    without = json.loads(kube.kubeconfig("a", "https://a", login))
    assert "certificate-authority-data" not in without["clusters"][0]["cluster"]
    with_one = json.loads(kube.kubeconfig("a", "https://a", login, "Zm9v"))
    assert with_one["clusters"][0]["cluster"]["certificate-authority-data"] == "Zm9v"
