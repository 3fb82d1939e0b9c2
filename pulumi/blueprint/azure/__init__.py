"""Microsoft Azure: AKS with workload identity, one container of blobs, one registry, keys in a Key Vault."""

import pulumi
import pulumi_azure_native

from blueprint import kube
from blueprint.azure import access, cluster, data
from blueprint.contract import Platform
from blueprint.site import Site
from blueprint.spec import Azure, PlatformSpec, section


def build(spec: PlatformSpec) -> Platform:
    """Everything of the spec, in the order in which one part needs another."""
    own = section(spec, Azure)
    provider = pulumi_azure_native.Provider("azure", subscription_id=own.subscription, location=spec.region)
    site = Site.open(spec, provider)

    group = data.group(site)
    keys = data.keys(site, own, group)
    net = cluster.net(site, group)
    blobs = data.blobs(site, own, group, keys, net.nodes)
    registry = data.registry(site, own, group)
    aks = cluster.cluster(site, own, group, net)
    pools = cluster.pools(site, group, aks, net)
    doors = access.Doors(site, own, group, blobs, registry, keys)
    pulls = doors.let_nodes_pull(aks)
    identities = doors.grant_all(aks)
    access.budget(site, group)

    config: pulumi.Output[str] = pulumi.Output.secret(cluster.kubeconfig(site, group, aks))
    return Platform(
        cloud="azure",
        region=spec.region,
        kubeconfig=config,
        kubernetes=kube.provider(config, parent=site.component),
        registry=registry.login_server,
        bucket_uri=pulumi.Output.concat(
            "wasbs://", blobs.container.name, "@", blobs.account.name, ".blob.core.windows.net"
        ),
        object_store_endpoint="",
        storage_class="managed-csi-premium",
        sops_key=keys.sops.key_uri_with_version,
        identities=identities,
        cluster=aks,
        ready=[*pools, pulls],
    )
