"""What no platform may do, as pure functions over single resources.

The CrossGuard pack in policy/ applies them to a real `pulumi up`, the tests to every resource of every cloud.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from blueprint.contract import POOL_LABEL, TAINTED
from blueprint.spec import EVERYBODY, REQUIRED_LABELS


@dataclass(frozen=True)
class Seen:
    """A resource as a policy sees it: its properties are spelled as in the engine."""

    type: str
    name: str
    props: Mapping[str, Any] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """A property within properties; None where there is none."""
        value: Any = self.props
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


Check = Callable[[Seen], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """A policy: its name, what it is for, and the function that says what is wrong."""

    name: str
    purpose: str
    check: Check


def violations(seen: Seen) -> list[str]:
    """Everything that is wrong with a resource, each with the name of the rule."""
    return [f"{rule.name}: {seen.type} {seen.name}: {wrong}" for rule in RULES for wrong in rule.check(seen)]


# type → (property, the value it must have)
Wanted = Mapping[str, Mapping[str, Any]]


def _must_have(wanted: Wanted) -> Check:
    """A check that compares properties with the only values that are right."""

    def check(seen: Seen) -> Iterator[str]:
        for path, right in wanted.get(seen.type, {}).items():
            found = seen.get(path)
            if found != right:
                yield f"{path} is {found!r}, must be {right!r}"

    return check


def _must_say(wanted: Mapping[str, tuple[str, ...]]) -> Check:
    """A check that properties are set at all."""

    def check(seen: Seen) -> Iterator[str]:
        for path in wanted.get(seen.type, ()):
            if not seen.get(path):
                yield f"{path} is not set"

    return check


_private = _must_have(
    {
        "gcp:storage/bucket:Bucket": {"uniformBucketLevelAccess": True, "publicAccessPrevention": "enforced"},
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": {
            "blockPublicAcls": True,
            "blockPublicPolicy": True,
            "ignorePublicAcls": True,
            "restrictPublicBuckets": True,
        },
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls": {"rule.objectOwnership": "BucketOwnerEnforced"},
        "azure-native:storage:StorageAccount": {
            "allowBlobPublicAccess": False,
            "networkRuleSet.defaultAction": "Deny",
        },
        "azure-native:storage:BlobContainer": {"publicAccess": "None"},
        "azure-native:containerregistry:Registry": {"anonymousPullEnabled": False},
    }
)


def private_data(seen: Seen) -> Iterator[str]:
    yield from _private(seen)
    if seen.get("member") in ("allUsers", "allAuthenticatedUsers"):
        yield f"member is {seen.get('member')}: that is everybody"
    if seen.type == "aws:s3/bucketPolicy:BucketPolicy":
        for statement in _statements(seen, "policy"):
            if statement["Effect"] == "Allow" and statement.get("Principal") in ("*", {"AWS": "*"}):
                yield "policy lets everybody in"


encryption_set = _must_say(
    {
        "gcp:storage/bucket:Bucket": ("encryption.defaultKmsKeyName",),
        "gcp:artifactregistry/repository:Repository": ("kmsKeyName",),
        "gcp:container/cluster:Cluster": ("databaseEncryption.keyName",),
        "aws:eks/cluster:Cluster": ("encryptionConfig.provider.keyArn",),
        "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": ("encryptionConfigurations",),
        "azure-native:storage:StorageAccount": ("encryption.keyVaultProperties.keyName",),
    }
)
encryption_right = _must_have(
    {
        "gcp:container/cluster:Cluster": {"databaseEncryption.state": "ENCRYPTED"},
        "azure-native:storage:StorageAccount": {
            "encryption.keySource": "Microsoft.Keyvault",
            "enableHttpsTrafficOnly": True,
            "minimumTlsVersion": "TLS1_2",
        },
        "kubernetes:storage.k8s.io/v1:StorageClass": {"parameters.encrypted": "true"},
    }
)


def encrypted(seen: Seen) -> Iterator[str]:
    yield from encryption_set(seen)
    yield from encryption_right(seen)
    if seen.type == "gcp:secretmanager/secret:Secret":
        replicas = seen.get("replication.userManaged.replicas") or [{}]  # `auto` has none, and Google's own key
        if not all(replica.get("customerManagedEncryption") for replica in replicas):
            yield "customerManagedEncryption is not set"
    if seen.type.endswith(":BucketServerSideEncryptionConfiguration"):
        for rule in seen.get("rules") or []:
            algorithm = rule.get("applyServerSideEncryptionByDefault", {}).get("sseAlgorithm")
            if algorithm != "aws:kms":
                yield f"sseAlgorithm is {algorithm!r}, must be 'aws:kms'"


versioned = _must_have(
    {
        "gcp:storage/bucket:Bucket": {"versioning.enabled": True},
        "aws:s3/bucketVersioning:BucketVersioning": {"versioningConfiguration.status": "Enabled"},
        "azure-native:storage:BlobServiceProperties": {
            "isVersioningEnabled": True,
            "deleteRetentionPolicy.enabled": True,
        },
    }
)

_nodes = _must_have(
    {
        "gcp:container/cluster:Cluster": {"privateClusterConfig.enablePrivateNodes": True},
        "gcp:container/nodePool:NodePool": {"networkConfig.enablePrivateNodes": True},
        "azure-native:containerservice:AgentPool": {"enableNodePublicIP": False},
        "azure-native:network:Subnet": {"defaultOutboundAccess": False},
    }
)


def private_nodes(seen: Seen) -> Iterator[str]:
    yield from _nodes(seen)
    if seen.get("mapPublicIpOnLaunch"):
        yield "machines in this subnet would get public addresses"


def closed_api(seen: Seen) -> Iterator[str]:
    match seen.type:
        case "gcp:container/cluster:Cluster":
            if seen.get("controlPlaneEndpointsConfig.ipEndpointsConfig.enabled") is not False:
                yield "the API server has an address; reach it by its DNS name, which asks IAM"
        case "aws:eks/cluster:Cluster":
            yield from _named_networks(seen, "vpcConfig.publicAccessCidrs")
        case "azure-native:containerservice:ManagedCluster":
            yield from _named_networks(seen, "apiServerAccessProfile.authorizedIPRanges")


def _named_networks(seen: Seen, path: str) -> Iterator[str]:
    networks = seen.get(path) or []
    if not networks or set(networks) & set(EVERYBODY):
        yield f"{path} is {networks!r}: name the networks that may reach the API server"


_identities = _must_have(
    {
        "gcp:container/nodePool:NodePool": {"nodeConfig.workloadMetadataConfig.mode": "GKE_METADATA"},
        "aws:eks/cluster:Cluster": {"accessConfig.authenticationMode": "API"},
        "azure-native:containerservice:ManagedCluster": {
            "disableLocalAccounts": True,
            "oidcIssuerProfile.enabled": True,
            "securityProfile.workloadIdentity.enabled": True,
        },
        "azure-native:containerregistry:Registry": {"adminUserEnabled": False},
        "azure-native:storage:StorageAccount": {"allowSharedKeyAccess": False},
        "azure-native:keyvault:Vault": {"properties.enableRbacAuthorization": True},
    }
)
_workload_pool = _must_say(
    {
        "gcp:container/cluster:Cluster": ("workloadIdentityConfig.workloadPool",),
        "gcp:container/nodePool:NodePool": ("nodeConfig.serviceAccount",),
    }
)


def own_identities(seen: Seen) -> Iterator[str]:
    yield from _identities(seen)
    yield from _workload_pool(seen)
    account = str(seen.get("nodeConfig.serviceAccount"))
    if account == "default" or account.endswith("-compute@developer.gserviceaccount.com"):
        yield "nodes run as the project's default service account, which may do nearly everything"
    if seen.type.endswith(("serviceaccount/key:Key", "iam/accessKey:AccessKey")):
        yield "a long-lived key; use workload identity"


BROAD_GCP_ROLES = ("roles/owner", "roles/editor", "roles/viewer")
BROAD_AZURE_ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
}
NEEDS_EVERYTHING = {"ecr:GetAuthorizationToken"}  # AWS knows no narrower resource for it


def least_privilege(seen: Seen) -> Iterator[str]:
    role = str(seen.get("role"))
    if seen.type.startswith("gcp:") and (role in BROAD_GCP_ROLES or role.lower().endswith("admin")):
        yield f"{role} is more than anything here needs"
    definition = str(seen.get("roleDefinitionId")).rsplit("/", 1)[-1]
    if definition in BROAD_AZURE_ROLES:
        yield f"{BROAD_AZURE_ROLES[definition]} is more than anything here needs"
    if str(seen.get("policyArn")).endswith("/AdministratorAccess"):
        yield "AdministratorAccess is more than anything here needs"
    if seen.type == "aws:iam/rolePolicy:RolePolicy":
        yield from _narrow(seen)


def _narrow(seen: Seen) -> Iterator[str]:
    for statement in _statements(seen, "policy"):
        actions = _as_list(statement["Action"])
        if statement["Effect"] != "Allow":
            continue
        for action in actions:
            if "*" in action:
                yield f"allows {action}: name the actions"
        if "*" in _as_list(statement["Resource"]) and not statement.get("Condition"):
            for action in sorted(set(actions) - NEEDS_EVERYTHING):
                yield f"allows {action} on everything, without a condition"


# Where each type has its tags. A type that stands in neither this nor the next fails the tests.
TAGS = {
    "aws:budgets/budget:Budget": "tags",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "tags",
    "aws:ec2/eip:Eip": "tags",
    "aws:ec2/internetGateway:InternetGateway": "tags",
    "aws:ec2/natGateway:NatGateway": "tags",
    "aws:ec2/routeTable:RouteTable": "tags",
    "aws:ec2/subnet:Subnet": "tags",
    "aws:ec2/vpc:Vpc": "tags",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "tags",
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": "resourceTags",
    "aws:eks/accessEntry:AccessEntry": "tags",
    "aws:eks/cluster:Cluster": "tags",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "tags",
    "aws:iam/role:Role": "tags",
    "aws:kms/key:Key": "tags",
    "aws:s3/bucket:Bucket": "tags",
    "azure-native:containerregistry:Registry": "tags",
    "azure-native:containerservice:AgentPool": "tags",
    "azure-native:containerservice:ManagedCluster": "tags",
    "azure-native:keyvault:Key": "tags",
    "azure-native:keyvault:Vault": "tags",
    "azure-native:managedidentity:UserAssignedIdentity": "tags",
    "azure-native:network:NatGateway": "tags",
    "azure-native:network:PublicIPAddress": "tags",
    "azure-native:network:VirtualNetwork": "tags",
    "azure-native:resources:ResourceGroup": "tags",
    "azure-native:storage:StorageAccount": "tags",
    "gcp:artifactregistry/repository:Repository": "labels",
    "gcp:container/cluster:Cluster": "resourceLabels",
    "gcp:container/nodePool:NodePool": "nodeConfig.resourceLabels",
    "gcp:kms/cryptoKey:CryptoKey": "labels",
    "gcp:monitoring/notificationChannel:NotificationChannel": "userLabels",
    "gcp:secretmanager/secret:Secret": "labels",
    "gcp:storage/bucket:Bucket": "labels",
    "kubernetes:eks.amazonaws.com/v1:NodeClass": "spec.tags",
}


def tagged(seen: Seen) -> Iterator[str]:
    path = TAGS.get(seen.type)
    missing = [key for key in REQUIRED_LABELS if path and key not in (seen.get(path) or {})]
    if missing:
        yield f"{path} lacks {', '.join(missing)}: nobody could say whose cost it is"


def spot_for_training(seen: Seen) -> Iterator[str]:
    """What can be taken away at any minute may train, and never serves."""
    spot, role = _spot_and_role(seen)
    if spot and role not in TAINTED:
        yield f"a spot pool for {role!r}; only {' and '.join(TAINTED)} may be"


def _spot_and_role(seen: Seen) -> tuple[bool, str | None]:
    match seen.type:
        case "gcp:container/nodePool:NodePool":
            spot = bool(seen.get("nodeConfig.spot") or seen.get("nodeConfig.preemptible"))
            return spot, (seen.get("nodeConfig.labels") or {}).get(POOL_LABEL)
        case "azure-native:containerservice:AgentPool":
            return seen.get("scaleSetPriority") == "Spot", (seen.get("nodeLabels") or {}).get(POOL_LABEL)
        case "kubernetes:karpenter.sh/v1:NodePool":
            kinds = [
                requirement["values"]
                for requirement in seen.get("spec.template.spec.requirements") or []
                if requirement["key"] == "karpenter.sh/capacity-type"
            ]
            labels = seen.get("spec.template.metadata.labels") or {}
            return any("spot" in values for values in kinds) or not kinds, labels.get(POOL_LABEL)
    return False, None


immutable_images = _must_have(
    {
        "gcp:artifactregistry/repository:Repository": {"dockerConfig.immutableTags": True},
        "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": {"imageTagMutability": "IMMUTABLE"},
    }
)

_kept = _must_have(
    {
        "gcp:container/cluster:Cluster": {"deletionProtection": True},
        "gcp:storage/bucket:Bucket": {"forceDestroy": False},
        "aws:eks/cluster:Cluster": {"deletionProtection": True},
        "aws:s3/bucket:Bucket": {"forceDestroy": False},
    }
)


def kept_in_production(seen: Seen) -> Iterator[str]:
    tags = seen.get(TAGS[seen.type]) if seen.type in TAGS else None
    if isinstance(tags, Mapping) and tags.get("environment") == "production":
        yield from _kept(seen)
    if seen.type == "azure-native:keyvault:Vault" and seen.get("properties.enablePurgeProtection") is not True:
        yield "without purge protection all that its keys encrypted can be lost for ever"


def _statements(seen: Seen, path: str) -> list[dict[str, Any]]:
    document = json.loads(seen.get(path) or '{"Statement": []}')
    return [dict(statement) for statement in document["Statement"]]


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


RULES = (
    Rule("private-data", "Buckets and registries are for nobody but us.", private_data),
    Rule("encrypted", "What is stored is encrypted with our own key, what travels with TLS.", encrypted),
    Rule("versioned", "What was overwritten or deleted can be had back.", versioned),
    Rule("private-nodes", "Nodes have no address on the internet.", private_nodes),
    Rule("closed-api", "The API server is not for everybody.", closed_api),
    Rule("own-identities", "No default service account, no password, no long-lived key.", own_identities),
    Rule("least-privilege", "Nobody gets a role that is broader than the job.", least_privilege),
    Rule("tagged", "Everything that can be tagged says whose it is.", tagged),
    Rule("spot-for-training", "Spot machines train; they never serve.", spot_for_training),
    Rule("immutable-images", "A tag, once pushed, stays what it is.", immutable_images),
    Rule("kept-in-production", "Production's data is not deleted by mistake.", kept_in_production),
)
