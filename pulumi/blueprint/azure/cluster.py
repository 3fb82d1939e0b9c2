"""The network and the cluster on Azure."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, containerservice, managedidentity, network, resources

from blueprint import kube
from blueprint.azure import names
from blueprint.contract import POOL_LABEL, TAINTED
from blueprint.site import Site
from blueprint.spec import ROLES, Azure, Pool, Role

MACHINES: dict[Role, str] = {
    "system": "Standard_D4s_v5",
    "serving": "Standard_D4s_v5",
    "training": "Standard_D8s_v5",
    "gpu": "Standard_NC8as_T4_v3",
}
NETWORK_CONTRIBUTOR = "4d97b98b-1d4f-4787-a291-c67834d212e7"
# AKS's own application in Entra ID, the same in every tenant.
AKS_SERVER = "6dae42f8-4368-4678-94ff-3960e28e3630"
LOGIN = kube.Login(
    "kubelogin",
    ["get-token", "--login", "azurecli", "--server-id", AKS_SERVER],
    hint="https://azure.github.io/kubelogin",
)


@dataclass(frozen=True)
class Network:
    """Where nodes are, and the address by which the world sees them."""

    nodes: network.Subnet
    egress: network.PublicIPAddress


def net(site: Site, group: resources.ResourceGroup) -> Network:
    """Nodes in one subnet, out to the world by a NAT gateway; pods have addresses of an overlay."""
    zone = list(site.spec.zones[:1])
    address = network.PublicIPAddress(
        "egress",
        public_ip_address_name=f"{site.name}-egress",
        sku=network.PublicIPAddressSkuArgs(name="Standard"),
        public_ip_allocation_method="Static",
        zones=zone,
        resource_group_name=group.name,
        location=site.spec.region,
        tags=site.tags,
        opts=site.child(),
    )
    egress = network.NatGateway(
        "egress",
        nat_gateway_name=site.name,
        sku=network.NatGatewaySkuArgs(name="Standard"),
        public_ip_addresses=[network.SubResourceArgs(id=address.id)],
        zones=zone,
        resource_group_name=group.name,
        location=site.spec.region,
        tags=site.tags,
        opts=site.child(),
    )
    vnet = network.VirtualNetwork(
        "network",
        virtual_network_name=site.name,
        address_space=network.AddressSpaceArgs(address_prefixes=["10.0.0.0/16"]),
        resource_group_name=group.name,
        location=site.spec.region,
        tags=site.tags,
        # Subnets are resources of their own; seen from here they would look like strangers.
        opts=site.child(ignore=["subnets"]),
    )
    nodes = network.Subnet(
        "nodes",
        subnet_name="nodes",
        virtual_network_name=vnet.name,
        resource_group_name=group.name,
        address_prefix="10.0.0.0/20",
        nat_gateway=network.SubResourceArgs(id=egress.id),
        default_outbound_access=False,
        service_endpoints=[network.ServiceEndpointPropertiesFormatArgs(service="Microsoft.Storage")],
        opts=site.child(),
    )
    return Network(nodes, address)


def cluster(site: Site, own: Azure, group: resources.ResourceGroup, net: Network) -> containerservice.ManagedCluster:
    """Without local accounts: who comes in, comes by Entra ID."""
    identity = managedidentity.UserAssignedIdentity(
        "cluster",
        resource_name_=f"{site.name}-cluster",
        resource_group_name=group.name,
        location=site.spec.region,
        tags=site.tags,
        opts=site.child(),
    )
    may_join = authorization.RoleAssignment(
        "cluster-network",
        role_assignment_name=names.assignment(site.name, own.subscription, "cluster-network"),
        principal_id=identity.principal_id,
        principal_type="ServicePrincipal",
        role_definition_id=names.role(own, NETWORK_CONTRIBUTOR),
        scope=net.nodes.id,
        opts=site.child(),
    )
    system = site.spec.pool("system") or Pool(min=2, max=4)
    return containerservice.ManagedCluster(
        "cluster",
        resource_name_=site.name,
        resource_group_name=group.name,
        location=site.spec.region,
        node_resource_group=f"{site.name}-nodes",
        dns_prefix=site.name,
        kubernetes_version=site.spec.kubernetes,
        sku=containerservice.ManagedClusterSKUArgs(
            name="Base", tier="Standard" if site.spec.environment == "production" else "Free"
        ),
        identity=containerservice.ManagedClusterIdentityArgs(
            type=containerservice.ResourceIdentityType.USER_ASSIGNED, user_assigned_identities=[identity.id]
        ),
        aad_profile=containerservice.ManagedClusterAADProfileArgs(
            managed=True,
            enable_azure_rbac=False,
            admin_group_object_ids=list(own.admin_groups),
            tenant_id=own.tenant,
        ),
        disable_local_accounts=True,
        enable_rbac=True,
        api_server_access_profile=containerservice.ManagedClusterAPIServerAccessProfileArgs(
            # The nodes come in by their own public address, which nobody else adds to the list.
            authorized_ip_ranges=[*site.spec.api_access, _one(net.egress.ip_address)],
            disable_run_command=True,
        ),
        oidc_issuer_profile=containerservice.ManagedClusterOIDCIssuerProfileArgs(enabled=True),
        security_profile=containerservice.ManagedClusterSecurityProfileArgs(
            workload_identity=containerservice.ManagedClusterSecurityProfileWorkloadIdentityArgs(enabled=True),
            image_cleaner=containerservice.ManagedClusterSecurityProfileImageCleanerArgs(
                enabled=True, interval_hours=48
            ),
        ),
        network_profile=containerservice.ContainerServiceNetworkProfileArgs(
            network_plugin="azure",
            network_plugin_mode="overlay",
            network_dataplane="cilium",
            network_policy="cilium",
            outbound_type="userAssignedNATGateway",
            load_balancer_sku="standard",
            pod_cidr="10.64.0.0/14",
            service_cidr="10.1.0.0/20",
            dns_service_ip="10.1.0.10",
        ),
        auto_upgrade_profile=containerservice.ManagedClusterAutoUpgradeProfileArgs(
            upgrade_channel="patch", node_os_upgrade_channel="NodeImage"
        ),
        agent_pool_profiles=[
            containerservice.ManagedClusterAgentPoolProfileArgs(
                name="system",
                mode="System",
                vm_size=system.machines[0] if system.machines else MACHINES["system"],
                count=max(system.min, 1),
                enable_auto_scaling=True,
                min_count=max(system.min, 1),
                max_count=system.max,
                os_disk_size_gb=system.disk_gb,
                availability_zones=list(site.spec.zones),
                vnet_subnet_id=net.nodes.id,
                enable_node_public_ip=False,
                node_labels={POOL_LABEL: "system"},
                tags=site.tags,
            )
        ],
        tags=site.tags,
        opts=site.child(holds_data=True, after=[may_join], ignore=["agentPoolProfiles[0].count", "kubernetesVersion"]),
    )


def _one(address: pulumi.Output[str | None]) -> pulumi.Output[str]:
    return address.apply(lambda known: f"{known}/32")


def kubeconfig(site: Site, group: resources.ResourceGroup, aks: containerservice.ManagedCluster) -> pulumi.Output[str]:
    """As AKS gives it to users, with a login that works without a browser too."""
    given = containerservice.list_managed_cluster_user_credentials_output(
        resource_group_name=group.name, resource_name=aks.name, opts=site.invoke(after=[aks])
    )
    return given.apply(lambda answer: kube.with_login(answer.kubeconfigs[0].value, LOGIN))


def pools(
    site: Site, group: resources.ResourceGroup, aks: containerservice.ManagedCluster, net: Network
) -> Sequence[containerservice.AgentPool]:
    """Those beside the system's, which is a part of the cluster itself."""
    return [
        _pool(site, group, aks, net.nodes, role, pool)
        for role in ROLES
        if role != "system" and (pool := site.spec.pool(role))
    ]


def _pool(
    site: Site,
    group: resources.ResourceGroup,
    aks: containerservice.ManagedCluster,
    nodes: network.Subnet,
    role: Role,
    pool: Pool,
) -> containerservice.AgentPool:
    return containerservice.AgentPool(
        role,
        agent_pool_name=role,
        resource_name_=aks.name,
        resource_group_name=group.name,
        mode="User",
        vm_size=pool.machines[0] if pool.machines else MACHINES[role],
        enable_auto_scaling=True,
        min_count=pool.min,
        max_count=pool.max,
        count=pool.min,
        os_disk_size_gb=pool.disk_gb,
        availability_zones=list(site.spec.zones),
        vnet_subnet_id=nodes.id,
        enable_node_public_ip=False,
        scale_set_priority="Spot" if pool.spot else "Regular",
        scale_set_eviction_policy="Delete" if pool.spot else None,
        spot_max_price=-1 if pool.spot else None,
        node_labels={POOL_LABEL: role},
        node_taints=[f"{POOL_LABEL}={role}:NoSchedule"] if role in TAINTED else [],
        tags=site.tags,
        # From the first day on the count is the autoscaler's. AKS adds a taint of its own to spot nodes.
        opts=site.child(ignore=["count", *(["nodeTaints"] if pool.spot else [])]),
    )
