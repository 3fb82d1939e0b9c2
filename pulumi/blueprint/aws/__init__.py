"""Amazon Web Services: EKS in Auto Mode, one bucket, one registry prefix, and Pod Identity for who may use them."""

import pulumi
import pulumi_aws

from blueprint import kube
from blueprint.aws import access, cluster, data, network, pools
from blueprint.contract import WORKLOADS, Platform
from blueprint.site import Site
from blueprint.spec import Aws, PlatformSpec, section


def build(spec: PlatformSpec) -> Platform:
    """Everything of the spec, in the order in which one part needs another."""
    own = section(spec, Aws)
    provider = pulumi_aws.Provider("aws", region=spec.region, allowed_account_ids=[own.account])
    site = Site.open(spec, provider)

    keys = data.keys(site)
    bucket = data.bucket(site, own, keys.data)
    data.registry(site, keys.data)
    subnets = network.subnets(site)
    nodes = access.node_role(site)
    eks = cluster.cluster(site, own, subnets, access.cluster_role(site), nodes, keys.data)
    access.grant_all(access.Doors(site, own, bucket, keys), eks)
    access.budget(site)

    config: pulumi.Output[str] = pulumi.Output.secret(cluster.kubeconfig(site, eks))
    kubernetes = kube.provider(config, parent=site.component)
    inside = [*pools.pools(site, eks, nodes, subnets, kubernetes), cluster.storage_class(eks, kubernetes)]
    return Platform(
        cloud="aws",
        region=spec.region,
        kubeconfig=config,
        kubernetes=kubernetes,
        registry=pulumi.Output.from_input(f"{own.account}.dkr.ecr.{spec.region}.amazonaws.com/{site.name}"),
        bucket_uri=pulumi.Output.concat("s3://", bucket.bucket),
        object_store_endpoint="",
        storage_class=cluster.STORAGE_CLASS,
        sops_key=keys.sops.arn,
        identities={workload.name: pulumi.Output.from_input("") for workload in WORKLOADS},
        cluster=eks,
        ready=inside,
    )
