"""The cluster on AWS: EKS in Auto Mode, which brings nodes, disks, load balancers and Pod Identity itself."""

import pulumi
import pulumi_kubernetes as k8s
from pulumi_aws import eks, kms

from blueprint import kube
from blueprint.aws.access import Role
from blueprint.aws.network import Subnets
from blueprint.site import Site
from blueprint.spec import Aws

STORAGE_CLASS = "gp3"
ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


def cluster(site: Site, own: Aws, subnets: Subnets, role: Role, nodes: Role, key: kms.Key) -> eks.Cluster:
    """Who made it administers it, and the roles that the spec names; nobody else does."""
    made = eks.Cluster(
        "cluster",
        name=site.name,
        role_arn=role.role.arn,
        version=site.spec.kubernetes,
        vpc_config=eks.ClusterVpcConfigArgs(
            subnet_ids=[subnet.id for subnet in subnets.private],
            endpoint_private_access=True,
            endpoint_public_access=True,
            public_access_cidrs=list(site.spec.api_access),
        ),
        access_config=eks.ClusterAccessConfigArgs(
            authentication_mode="API", bootstrap_cluster_creator_admin_permissions=True
        ),
        # Auto Mode: these four belong together. Its own pool `system` takes what the cluster itself needs.
        bootstrap_self_managed_addons=False,
        compute_config=eks.ClusterComputeConfigArgs(enabled=True, node_pools=["system"], node_role_arn=nodes.role.arn),
        kubernetes_network_config=eks.ClusterKubernetesNetworkConfigArgs(
            elastic_load_balancing=eks.ClusterKubernetesNetworkConfigElasticLoadBalancingArgs(enabled=True)
        ),
        storage_config=eks.ClusterStorageConfigArgs(
            block_storage=eks.ClusterStorageConfigBlockStorageArgs(enabled=True)
        ),
        encryption_config=eks.ClusterEncryptionConfigArgs(
            provider=eks.ClusterEncryptionConfigProviderArgs(key_arn=key.arn), resources=["secrets"]
        ),
        enabled_cluster_log_types=["api", "audit", "authenticator"],
        upgrade_policy=eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
        deletion_protection=site.spec.protected,
        tags=site.tags,
        opts=site.child(holds_data=True, after=[*role.attached, *nodes.attached]),
    )
    for index, admin in enumerate(own.admins):
        entry = eks.AccessEntry(
            f"admin-{index}", cluster_name=made.name, principal_arn=admin, tags=site.tags, opts=site.child()
        )
        eks.AccessPolicyAssociation(
            f"admin-{index}",
            cluster_name=made.name,
            principal_arn=admin,
            policy_arn=ADMIN,
            access_scope=eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
            opts=site.child(after=[entry]),
        )
    return made


def kubeconfig(site: Site, made: eks.Cluster) -> pulumi.Output[str]:
    """With `aws eks get-token` as login."""
    login = kube.Login(
        "aws",
        ["--region", site.spec.region, "eks", "get-token", "--cluster-name", site.name, "--output", "json"],
        hint="https://docs.aws.amazon.com/cli",
    )
    return pulumi.Output.all(made.endpoint, made.certificate_authority.data).apply(
        lambda known: kube.kubeconfig(site.name, known[0], login, known[1])
    )


def storage_class(made: eks.Cluster, kubernetes: k8s.Provider) -> k8s.storage.v1.StorageClass:
    """Auto Mode comes with a driver and without a class."""
    return k8s.storage.v1.StorageClass(
        STORAGE_CLASS,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=STORAGE_CLASS, annotations={"storageclass.kubernetes.io/is-default-class": "true"}
        ),
        provisioner="ebs.csi.eks.amazonaws.com",
        parameters={"type": "gp3", "encrypted": "true"},
        volume_binding_mode="WaitForFirstConsumer",
        allow_volume_expansion=True,
        reclaim_policy="Delete",
        opts=kube.inside(kubernetes, made),
    )
