"""The network and the cluster on Google Cloud."""

from collections.abc import Sequence

import pulumi
from pulumi_gcp import compute, container, kms, serviceaccount

from blueprint import kube
from blueprint.contract import POOL_LABEL, TAINTED
from blueprint.site import Site
from blueprint.spec import ROLES, Gcp, Pool, Role

MACHINES: dict[Role, str] = {
    "system": "e2-standard-4",
    "serving": "n2-standard-4",
    "training": "n2-standard-8",
    "gpu": "g2-standard-8",
}
GPU = "nvidia-l4"
LOGIN = kube.Login("gke-gcloud-auth-plugin", hint="gcloud components install gke-gcloud-auth-plugin")


def subnet(site: Site) -> compute.Subnetwork:
    """Nodes, pods and services in ranges of their own; out to the world by NAT, in by nobody."""
    network = compute.Network("network", name=site.name, auto_create_subnetworks=False, opts=site.child())
    router = compute.Router("router", name=site.name, network=network.id, region=site.spec.region, opts=site.child())
    compute.RouterNat(
        "egress",
        name=site.name,
        router=router.name,
        region=site.spec.region,
        nat_ip_allocate_option="AUTO_ONLY",
        source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
        log_config=compute.RouterNatLogConfigArgs(enable=True, filter="ERRORS_ONLY"),
        opts=site.child(),
    )
    return compute.Subnetwork(
        "nodes",
        name=f"{site.name}-nodes",
        network=network.id,
        region=site.spec.region,
        ip_cidr_range="10.0.0.0/20",
        secondary_ip_ranges=[
            compute.SubnetworkSecondaryIpRangeArgs(range_name="pods", ip_cidr_range="10.16.0.0/14"),
            compute.SubnetworkSecondaryIpRangeArgs(range_name="services", ip_cidr_range="10.1.0.0/20"),
        ],
        private_ip_google_access=True,
        opts=site.child(),
    )


def cluster(
    site: Site, own: Gcp, nodes: serviceaccount.Account, key: kms.CryptoKey, after: Sequence[pulumi.Resource]
) -> container.Cluster:
    """Zonal with one zone, regional with more."""
    nodes_in = subnet(site)
    zones = site.spec.zones
    return container.Cluster(
        "cluster",
        name=site.name,
        location=zones[0] if len(zones) == 1 else site.spec.region,
        node_locations=None if len(zones) == 1 else list(zones),
        network=nodes_in.network,
        subnetwork=nodes_in.id,
        networking_mode="VPC_NATIVE",
        ip_allocation_policy=container.ClusterIpAllocationPolicyArgs(
            cluster_secondary_range_name="pods", services_secondary_range_name="services"
        ),
        datapath_provider="ADVANCED_DATAPATH",
        private_cluster_config=container.ClusterPrivateClusterConfigArgs(enable_private_nodes=True),
        control_plane_endpoints_config=_reached_by_name_only(),
        workload_identity_config=container.ClusterWorkloadIdentityConfigArgs(
            workload_pool=f"{own.project}.svc.id.goog"
        ),
        database_encryption=container.ClusterDatabaseEncryptionArgs(state="ENCRYPTED", key_name=key.id),
        # Flux installs the Gateway API for Envoy Gateway on every cloud; two owners of its CRDs would fight.
        gateway_api_config=container.ClusterGatewayApiConfigArgs(
            channel="CHANNEL_STANDARD" if own.gateway_api else "CHANNEL_DISABLED"
        ),
        release_channel=container.ClusterReleaseChannelArgs(channel="REGULAR"),
        min_master_version=site.spec.kubernetes,
        maintenance_policy=container.ClusterMaintenancePolicyArgs(
            recurring_window=container.ClusterMaintenancePolicyRecurringWindowArgs(
                start_time="2026-01-03T02:00:00Z", end_time="2026-01-03T10:00:00Z", recurrence="FREQ=WEEKLY;BYDAY=SA,SU"
            )
        ),
        security_posture_config=container.ClusterSecurityPostureConfigArgs(mode="BASIC"),
        cost_management_config=container.ClusterCostManagementConfigArgs(enabled=True),
        logging_config=container.ClusterLoggingConfigArgs(enable_components=["SYSTEM_COMPONENTS", "WORKLOADS"]),
        monitoring_config=container.ClusterMonitoringConfigArgs(
            enable_components=["SYSTEM_COMPONENTS"],
            managed_prometheus=container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=False),
        ),
        # The pool that every cluster begins with goes at once; ours follow.
        remove_default_node_pool=True,
        initial_node_count=1,
        node_config=container.ClusterNodeConfigArgs(service_account=nodes.email),
        deletion_protection=site.spec.protected,
        resource_labels=site.tags,
        opts=site.child(holds_data=True, after=after, ignore=["nodeConfig", "initialNodeCount"]),
    )


def _reached_by_name_only() -> container.ClusterControlPlaneEndpointsConfigArgs:
    """No address of its own: the API server answers behind Google's front, which asks IAM first."""
    return container.ClusterControlPlaneEndpointsConfigArgs(
        dns_endpoint_config=container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(
            allow_external_traffic=True
        ),
        ip_endpoints_config=container.ClusterControlPlaneEndpointsConfigIpEndpointsConfigArgs(enabled=False),
    )


def kubeconfig(site: Site, gke: container.Cluster) -> pulumi.Output[str]:
    """By its DNS name, whose certificate everybody trusts."""
    endpoint = gke.control_plane_endpoints_config.dns_endpoint_config.endpoint
    return endpoint.apply(lambda name: kube.kubeconfig(site.name, f"https://{name}", LOGIN))


def pools(site: Site, gke: container.Cluster, nodes: serviceaccount.Account) -> list[container.NodePool]:
    """One for each role that the spec or its size has."""
    return [_pool(site, gke, nodes, role, pool) for role in ROLES if (pool := site.spec.pool(role))]


def _pool(
    site: Site, gke: container.Cluster, nodes: serviceaccount.Account, role: Role, pool: Pool
) -> container.NodePool:
    return container.NodePool(
        role,
        name=role,
        cluster=gke.id,
        initial_node_count=-(-pool.min // len(site.spec.zones)),  # in each zone
        autoscaling=container.NodePoolAutoscalingArgs(
            total_min_node_count=pool.min,
            total_max_node_count=pool.max,
            location_policy="ANY" if pool.spot else "BALANCED",
        ),
        management=container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
        network_config=container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
        node_config=container.NodePoolNodeConfigArgs(
            machine_type=pool.machines[0] if pool.machines else MACHINES[role],
            spot=pool.spot,
            disk_size_gb=pool.disk_gb,
            disk_type="pd-balanced",
            image_type="COS_CONTAINERD",
            service_account=nodes.email,
            oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
            workload_metadata_config=container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
            shielded_instance_config=container.NodePoolNodeConfigShieldedInstanceConfigArgs(
                enable_secure_boot=role != "gpu",  # the GPU's driver is not signed
                enable_integrity_monitoring=True,
            ),
            labels={POOL_LABEL: role},
            taints=_taints(role),
            guest_accelerators=_gpus() if role == "gpu" else None,
            resource_labels=site.tags,
        ),
        # From the first day on the count is the autoscaler's.
        opts=site.child(ignore=["initialNodeCount", "nodeCount"]),
    )


def _taints(role: Role) -> list[container.NodePoolNodeConfigTaintArgs]:
    if role not in TAINTED:
        return []
    return [container.NodePoolNodeConfigTaintArgs(key=POOL_LABEL, value=role, effect="NO_SCHEDULE")]


def _gpus() -> list[container.NodePoolNodeConfigGuestAcceleratorArgs]:
    driver = container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(gpu_driver_version="DEFAULT")
    return [container.NodePoolNodeConfigGuestAcceleratorArgs(type=GPU, count=1, gpu_driver_installation_config=driver)]
