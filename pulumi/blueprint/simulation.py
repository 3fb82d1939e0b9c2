"""What the clouds would answer, as placeholders that say whose value they stand for."""

import base64
from typing import Any

import yaml
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks

# type → properties that the cloud fills in and the program uses; the placeholder is <name.property>
COMPUTED: dict[str, tuple[str, ...]] = {
    "aws:eks/cluster:Cluster": ("endpoint", "arn"),
    "aws:iam/role:Role": ("arn",),
    "aws:kms/key:Key": ("arn",),
    "aws:s3/bucket:Bucket": ("arn",),
    "azure-native:containerregistry:Registry": ("loginServer",),
    "azure-native:keyvault:Key": ("keyUri", "keyUriWithVersion"),
    "azure-native:managedidentity:UserAssignedIdentity": ("clientId", "principalId"),
    "azure-native:network:PublicIPAddress": ("ipAddress",),
    "gcp:projects/serviceIdentity:ServiceIdentity": ("email",),
    "gcp:serviceaccount/account:Account": ("email",),
}
NAMES: dict[str, str] = {  # type → the input that is the resource's name, where the cloud gives it back as `name`
    "azure-native:containerregistry:Registry": "registryName",
    "azure-native:containerservice:ManagedCluster": "resourceName",
    "azure-native:keyvault:Key": "keyName",
    "azure-native:keyvault:Vault": "vaultName",
    "azure-native:managedidentity:UserAssignedIdentity": "resourceName",
    "azure-native:network:VirtualNetwork": "virtualNetworkName",
    "azure-native:resources:ResourceGroup": "resourceGroupName",
    "azure-native:storage:BlobContainer": "containerName",
    "azure-native:storage:StorageAccount": "accountName",
    "gcp:artifactregistry/repository:Repository": "repositoryId",
}
NESTED: dict[str, dict[str, Any]] = {
    "aws:eks/cluster:Cluster": {
        "certificateAuthority": {"data": "<cluster.ca>"},
        "vpcConfig": {"clusterSecurityGroupId": "<cluster.securityGroup>"},
    },
    "azure-native:containerservice:ManagedCluster": {
        "oidcIssuerProfile": {"enabled": True, "issuerURL": "<cluster.issuer>"},
        "identityProfile": {"kubeletidentity": {"objectId": "<cluster.kubelet>"}},
    },
    "gcp:container/cluster:Cluster": {
        "controlPlaneEndpointsConfig": {
            "dnsEndpointConfig": {"allowExternalTraffic": True, "endpoint": "<cluster.dns>"},
            "ipEndpointsConfig": {"enabled": False},
        }
    },
}
AKS_CREDENTIALS = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [
        {"name": "cluster", "cluster": {"server": "<cluster.fqdn>", "certificate-authority-data": "<cluster.ca>"}}
    ],
    "users": [{"name": "user", "user": {"exec": {"command": "kubelogin"}}}],
    "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "user"}}],
    "current-context": "cluster",
}
ANSWERS: dict[str, dict[str, Any]] = {
    "azure-native:containerservice:listManagedClusterUserCredentials": {
        "kubeconfigs": [{"name": "user", "value": base64.b64encode(yaml.safe_dump(AKS_CREDENTIALS).encode()).decode()}]
    },
    "gcp:organizations/getProject:getProject": {"number": "<project.number>"},
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": {"emailAddress": "<storage.email>"},
}


class Cloud(Mocks):
    """A cloud that says yes to everything; with `unknown` one that has not answered yet."""

    def __init__(self, *, unknown: bool = False) -> None:
        self.unknown = unknown

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = _as_answered(args.inputs)
        if self.unknown:
            return "", state
        computed = {key: f"<{args.name}.{key}>" for key in COMPUTED.get(args.typ, ())}
        if args.typ in NAMES and NAMES[args.typ] in args.inputs:
            computed["name"] = args.inputs[NAMES[args.typ]]
        return f"<{args.name}.id>", {**state, **computed, **NESTED.get(args.typ, {})}

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        if args.token not in ANSWERS:
            raise NotImplementedError(
                f"the rehearsal has no answer for {args.token}: add it to blueprint/simulation.py"
            )
        return ANSWERS[args.token], []


def _as_answered(inputs: dict[str, Any]) -> dict[str, Any]:
    """Azure is told a list of identities and answers with a mapping; all else comes back as it was asked for."""
    identity = inputs.get("identity")
    if not isinstance(identity, dict) or "userAssignedIdentities" not in identity:
        return dict(inputs)
    return {**inputs, "identity": {**identity, "userAssignedIdentities": {}}}
