"""The policies: every resource of every example keeps them, and each of them notices what it is for."""

import copy
from typing import Any

import pytest

from blueprint.policies import RULES, TAGS, Seen, violations
from tests.clouds import BUILT, STACKS, rehearsal

# Clouds keep no tags on these.
UNTAGGABLE = {
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:kms/alias:Alias",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning",
    "azure-native:authorization:ManagementLockAtResourceGroupLevel",
    "azure-native:authorization:RoleAssignment",
    "azure-native:consumption:Budget",
    "azure-native:managedidentity:FederatedIdentityCredential",
    "azure-native:network:Subnet",
    "azure-native:storage:BlobContainer",
    "azure-native:storage:BlobServiceProperties",
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember",
    "gcp:billing/budget:Budget",
    "gcp:compute/network:Network",
    "gcp:compute/router:Router",
    "gcp:compute/routerNat:RouterNat",
    "gcp:compute/subnetwork:Subnetwork",
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
    "gcp:kms/keyRing:KeyRing",
    "gcp:projects/iAMMember:IAMMember",
    "gcp:projects/service:Service",
    "gcp:projects/serviceIdentity:ServiceIdentity",
    "gcp:secretmanager/secretIamMember:SecretIamMember",
    "gcp:serviceaccount/account:Account",
    "gcp:serviceaccount/iAMMember:IAMMember",
    "gcp:storage/bucketIAMMember:BucketIAMMember",
}

# rule, a resource of the examples, the change that must not pass, words of the violation
FAULTS: list[tuple[str, str, str, str, dict[str, Any], str]] = [
    (
        "private-data",
        "gcp-production",
        "bucket:Bucket",
        "artifacts",
        {"publicAccessPrevention": "inherited"},
        "enforced",
    ),
    ("private-data", "gcp-production", ":BucketIAMMember", "mlflow-bucket", {"member": "allUsers"}, "everybody"),
    ("private-data", "aws-production", ":BucketPublicAccessBlock", "artifacts", {"blockPublicPolicy": False}, "True"),
    (
        "private-data",
        "aws-production",
        ":BucketPolicy",
        "artifacts",
        {"policy": '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}]}'},
        "lets everybody in",
    ),
    ("private-data", "azure-production", ":StorageAccount", "artifacts", {"allowBlobPublicAccess": True}, "False"),
    ("private-data", "azure-production", ":BlobContainer", "artifacts", {"publicAccess": "Blob"}, "None"),
    ("private-data", "azure-production", ":Registry", "images", {"anonymousPullEnabled": True}, "False"),
    ("encrypted", "gcp-production", "bucket:Bucket", "artifacts", {"encryption": None}, "defaultKmsKeyName is not set"),
    ("encrypted", "gcp-production", "cluster:Cluster", "cluster", {"databaseEncryption": None}, "keyName is not set"),
    ("encrypted", "gcp-production", "secret:Secret", "release-token", {"replication": {"auto": {}}}, "Encryption"),
    ("encrypted", "aws-production", "cluster:Cluster", "cluster", {"encryptionConfig": None}, "keyArn is not set"),
    (
        "encrypted",
        "aws-production",
        ":BucketServerSideEncryptionConfiguration",
        "artifacts",
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        "'AES256'",
    ),
    ("encrypted", "aws-production", ":StorageClass", "gp3", {"parameters": {"type": "gp3"}}, "parameters.encrypted"),
    ("encrypted", "azure-production", ":StorageAccount", "artifacts", {"minimumTlsVersion": "TLS1_0"}, "TLS1_2"),
    ("versioned", "gcp-production", "bucket:Bucket", "artifacts", {"versioning": None}, "versioning.enabled"),
    ("versioned", "aws-production", ":BucketVersioning", "artifacts", {"versioningConfiguration": {}}, "Enabled"),
    ("versioned", "azure-production", ":BlobServiceProperties", "artifacts", {"isVersioningEnabled": False}, "True"),
    ("private-nodes", "gcp-production", "cluster:Cluster", "cluster", {"privateClusterConfig": None}, "PrivateNodes"),
    ("private-nodes", "aws-production", ":Subnet", "public-eu-central-1a", {"mapPublicIpOnLaunch": True}, "public"),
    ("private-nodes", "azure-production", ":AgentPool", "training", {"enableNodePublicIP": True}, "PublicIP"),
    ("closed-api", "gcp-production", "cluster:Cluster", "cluster", {"controlPlaneEndpointsConfig": None}, "address"),
    ("closed-api", "aws-production", "cluster:Cluster", "cluster", {"vpcConfig": {}}, "name the networks"),
    (
        "closed-api",
        "azure-production",
        ":ManagedCluster",
        "cluster",
        {"apiServerAccessProfile": {"authorizedIPRanges": ["0.0.0.0/0"]}},
        "name the networks",
    ),
    ("own-identities", "gcp-production", ":NodePool", "system", {"nodeConfig": {}}, "serviceAccount is not set"),
    (
        "own-identities",
        "gcp-production",
        ":NodePool",
        "system",
        {"nodeConfig": {"serviceAccount": "5-compute@developer.gserviceaccount.com"}},
        "default service account",
    ),
    ("own-identities", "aws-production", "cluster:Cluster", "cluster", {"accessConfig": {}}, "'API'"),
    ("own-identities", "azure-production", ":ManagedCluster", "cluster", {"disableLocalAccounts": False}, "True"),
    ("own-identities", "azure-production", ":Registry", "images", {"adminUserEnabled": True}, "False"),
    ("own-identities", "azure-production", ":StorageAccount", "artifacts", {"allowSharedKeyAccess": True}, "False"),
    ("least-privilege", "gcp-production", ":IAMMember", "nodes-run", {"role": "roles/editor"}, "roles/editor is more"),
    ("least-privilege", "gcp-production", ":BucketIAMMember", "mlflow-bucket", {"role": "roles/storage.admin"}, "more"),
    (
        "least-privilege",
        "azure-production",
        ":RoleAssignment",
        "mlflow-bucket",
        {"roleDefinitionId": "/x/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"},
        "Owner is more",
    ),
    (
        "least-privilege",
        "aws-production",
        ":RolePolicy",
        "mlflow",
        {"policy": '{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:x"}]}'},
        "allows s3:*",
    ),
    (
        "least-privilege",
        "aws-production",
        ":RolePolicy",
        "mlflow",
        {"policy": '{"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"}]}'},
        "on everything",
    ),
    ("tagged", "gcp-production", "bucket:Bucket", "artifacts", {"labels": {"owner": "x"}}, "lacks cost-center"),
    ("tagged", "aws-production", ":NodeClass", "training-class", {"spec": {}}, "lacks owner, cost-center"),
    ("tagged", "azure-production", ":Vault", "keys", {"tags": None}, "lacks owner"),
    (
        "spot-for-training",
        "gcp-production",
        ":NodePool",
        "serving",
        {"nodeConfig": {"spot": True, "labels": {"mlops-blueprint/pool": "serving"}}},
        "'serving'",
    ),
    ("spot-for-training", "azure-production", ":AgentPool", "serving", {"scaleSetPriority": "Spot"}, "'serving'"),
    (
        "spot-for-training",
        "aws-production",
        ":NodePool",
        "serving",
        {"spec": {"template": {"metadata": {"labels": {"mlops-blueprint/pool": "serving"}}, "spec": {}}}},
        "'serving'",
    ),
    ("immutable-images", "gcp-production", ":Repository", "images", {"dockerConfig": None}, "immutableTags"),
    ("immutable-images", "aws-production", "Template", "images", {"imageTagMutability": "MUTABLE"}, "IMMUTABLE"),
    ("kept-in-production", "gcp-production", "cluster:Cluster", "cluster", {"deletionProtection": False}, "True"),
    ("kept-in-production", "aws-production", "bucket:Bucket", "artifacts", {"forceDestroy": True}, "False"),
    ("kept-in-production", "azure-production", ":Vault", "keys", {"properties": {}}, "purge protection"),
]


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_of_every_cloud_keeps_every_policy(stack):
    found = [
        wrong
        for resource in rehearsal(stack).resources
        for wrong in violations(Seen(resource.type, resource.name, resource.revealed))
    ]
    assert found == []


@pytest.mark.parametrize(("rule", "stack", "kind", "name", "change", "words"), FAULTS)
def test_a_policy_notices_what_it_is_for(rule, stack, kind, name, change, words):
    resource = rehearsal(stack).one(kind, name)
    props = copy.deepcopy(dict(resource.revealed)) | change
    found = [wrong for wrong in violations(Seen(resource.type, name, props)) if wrong.startswith(f"{rule}: ")]
    assert any(words in wrong for wrong in found), found


def test_every_policy_is_tried_with_a_fault():
    assert {fault[0] for fault in FAULTS} == {rule.name for rule in RULES}


def test_a_staging_that_can_be_thrown_away_keeps_the_policies():
    bucket = rehearsal("gcp-staging").one("bucket:Bucket")
    assert bucket.inputs["forceDestroy"] is True


@pytest.mark.parametrize("stack", BUILT)
def test_every_type_either_has_tags_or_is_known_to_have_none(stack):
    ours = ("kubernetes:", "pulumi:", "mlops-blueprint:")
    types = {resource.type for resource in rehearsal(stack).resources if not resource.type.startswith(ours)}
    assert types <= set(TAGS) | UNTAGGABLE, "a new type: into TAGS of blueprint/policies.py, or into UNTAGGABLE here"
    assert not set(TAGS) & UNTAGGABLE
