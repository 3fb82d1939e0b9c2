"""The contract: what every platform gives, whatever is below it. No manifest knows more than this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pulumi
import pulumi_kubernetes as k8s

# The keys of the ConfigMap `platform-vars`; clusters/local/platform-vars.yaml has the same ones for kind.
VARS = (
    "CLOUD",
    "REGION",
    "REGISTRY",
    "BUCKET_URI",
    "BACKUP_URI",
    "OBJECT_STORE_ENDPOINT",
    "STORAGE_CLASS",
    "IDENTITY_MLFLOW",
    "IDENTITY_PIPELINES",
    "IDENTITY_MONITOR",
    "IDENTITY_DATABASES",
)
POOL_LABEL = "mlops-blueprint/pool"  # on every node; pools for training and GPUs are tainted with it as well
TAINTED = ("training", "gpu")

Access = Literal["none", "read", "write"]


@dataclass(frozen=True)
class ServiceAccount:
    """A Kubernetes ServiceAccount that acts on the cloud."""

    namespace: str
    name: str

    @property
    def subject(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Workload:
    """Who needs what of the cloud, and nothing more."""

    name: str
    accounts: tuple[ServiceAccount, ...]
    bucket: Access = "none"
    registry: Access = "none"
    decrypt: bool = False
    vertex: bool = False


WORKLOADS = (
    Workload("mlflow", (ServiceAccount("mlflow", "mlflow"),), bucket="write"),
    Workload(
        "pipelines",
        (ServiceAccount("kubeflow", "pipeline-runner"),),
        bucket="write",
        registry="write",
        vertex=True,
    ),
    Workload("monitor", (ServiceAccount("mlops", "monitor"),), bucket="read"),
    # Backups: CloudNativePG gives each database a ServiceAccount of its name.
    Workload(
        "databases",
        (ServiceAccount("mlflow", "mlflow-db"), ServiceAccount("mlops", "predictions-db")),
        bucket="write",
    ),
    # For teams that let SOPS use the cloud's key beside the age key.
    Workload("secrets", (ServiceAccount("flux-system", "kustomize-controller"),), decrypt=True),
)


@dataclass(frozen=True)
class Database:
    """Where MLflow and the prediction store keep their rows: PostgreSQL in the cluster."""

    kind: Literal["cloudnative-pg"]
    storage_class: str


@dataclass(frozen=True)
class Platform:
    """What a cloud gives to Flux and to people."""

    cloud: str
    region: str
    kubeconfig: pulumi.Output[str]
    kubernetes: k8s.Provider
    registry: pulumi.Output[str]
    bucket_uri: pulumi.Output[str]
    object_store_endpoint: str
    storage_class: str
    sops_key: pulumi.Output[str]
    identities: Mapping[str, pulumi.Output[str]]
    cluster: pulumi.Resource | None = None
    ready: Sequence[pulumi.Resource] = field(default_factory=tuple)

    @property
    def database(self) -> Database:
        return Database("cloudnative-pg", self.storage_class)

    def vars(self) -> pulumi.Output[dict[str, str]]:
        """What manifests may substitute. Flat, text only, nothing secret."""
        values: dict[str, pulumi.Input[str]] = {
            "CLOUD": self.cloud,
            "REGION": self.region,
            "REGISTRY": self.registry,
            "BUCKET_URI": self.bucket_uri,
            "BACKUP_URI": self.bucket_uri.apply(backup_uri),
            "OBJECT_STORE_ENDPOINT": self.object_store_endpoint,
            "STORAGE_CLASS": self.storage_class,
            "IDENTITY_MLFLOW": self.identities["mlflow"],
            "IDENTITY_PIPELINES": self.identities["pipelines"],
            "IDENTITY_MONITOR": self.identities["monitor"],
            "IDENTITY_DATABASES": self.identities["databases"],
        }
        return pulumi.Output.all(**values).apply(lambda known: {key: str(known[key]) for key in VARS})

    def outputs(self) -> dict[str, pulumi.Output[object]]:
        """What `pulumi stack output` shows."""
        database = self.database
        return {
            "kubeconfig": pulumi.Output.secret(self.kubeconfig),
            "registry": pulumi.Output.from_input(self.registry),
            "bucketUri": pulumi.Output.from_input(self.bucket_uri),
            "sopsKey": pulumi.Output.from_input(self.sops_key),
            "identities": pulumi.Output.all(**self.identities),
            "database": pulumi.Output.all(kind=database.kind, storageClass=database.storage_class),
            "vars": self.vars(),
        }


def backup_uri(bucket_uri: str) -> str:
    """Where databases are copied to. Barman, which copies them, knows Azure's blobs by their web address alone."""
    scheme, _, place = bucket_uri.partition("://")
    if scheme != "wasbs":
        return f"{bucket_uri}/postgres"
    container, _, host = place.partition("@")
    return f"https://{host}/{container}/postgres"
