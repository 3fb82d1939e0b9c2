"""Nodes on AWS: Auto Mode starts them when a pod waits and ends them when none needs them, from zero up."""

import re
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi_aws import eks

from blueprint import kube
from blueprint.aws.access import Role as IamRole
from blueprint.aws.network import Subnets
from blueprint.contract import POOL_LABEL, TAINTED
from blueprint.errors import PlatformError
from blueprint.site import Site
from blueprint.spec import ROLES, Pool, Role

MACHINES: dict[Role, tuple[str, ...]] = {
    "system": ("m7i.xlarge", "m6i.xlarge"),
    "serving": ("m7i.xlarge", "m6i.xlarge"),
    "training": ("m7i.2xlarge", "m6i.2xlarge", "m7a.2xlarge"),
    "gpu": ("g6.2xlarge",),
}
THREE_WEEKS = "504h"


class MachineUnknown(PlatformError):
    """A machine whose size its name does not say."""


def pools(
    site: Site, made: eks.Cluster, nodes: IamRole, subnets: Subnets, kubernetes: k8s.Provider
) -> list[pulumi.Resource]:
    """A class (what a node is made of) and a pool (which and how many) for each role."""
    waiting: list[pulumi.Resource] = []
    for role in ROLES:
        pool = site.spec.pool(role)
        if pool is None:
            continue
        options = kube.inside(kubernetes, made)
        node_class = k8s.apiextensions.CustomResource(
            f"{role}-class",
            api_version="eks.amazonaws.com/v1",
            kind="NodeClass",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=_name(site, role)),
            spec=_class(site, made, nodes, subnets, pool),
            opts=options,
        )
        node_pool = k8s.apiextensions.CustomResource(
            role,
            api_version="karpenter.sh/v1",
            kind="NodePool",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=_name(site, role)),
            spec=_pool(site, role, pool),
            opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[node_class])),
        )
        waiting += [node_class, node_pool]
    return waiting


def _name(site: Site, role: Role) -> str:
    """Never just `system`: that one is Auto Mode's own."""
    return f"{site.spec.name}-{role}"


def _class(site: Site, made: eks.Cluster, nodes: IamRole, subnets: Subnets, pool: Pool) -> dict[str, Any]:
    return {
        "role": nodes.role.name,
        "subnetSelectorTerms": [{"id": subnet.id} for subnet in subnets.private],
        "securityGroupSelectorTerms": [{"id": made.vpc_config.cluster_security_group_id}],
        "ephemeralStorage": {"size": f"{pool.disk_gb}Gi"},
        "tags": site.tags,
    }


def _pool(site: Site, role: Role, pool: Pool) -> dict[str, Any]:
    machines = pool.machines or MACHINES[role]
    taints = [{"key": POOL_LABEL, "value": role, "effect": "NoSchedule"}] if role in TAINTED else []
    return {
        "template": {
            "metadata": {"labels": {POOL_LABEL: role}},
            "spec": {
                "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": _name(site, role)},
                "requirements": [
                    _in("karpenter.sh/capacity-type", "spot" if pool.spot else "on-demand"),
                    _in("kubernetes.io/arch", "amd64"),
                    _in("node.kubernetes.io/instance-type", *machines),
                ],
                "taints": taints,
                "expireAfter": THREE_WEEKS,
            },
        },
        "disruption": {
            # A training that is moved to a fuller node begins anew.
            "consolidationPolicy": "WhenEmpty" if role in TAINTED else "WhenEmptyOrUnderutilized",
            "consolidateAfter": "5m",
        },
        "limits": {"cpu": str(pool.max * max(cores(machine) for machine in machines))},
    }


def _in(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def cores(machine: str) -> int:
    """How many vCPUs a machine has, by its name: m7i.2xlarge has 8."""
    match = re.fullmatch(r"[a-z0-9-]+\.(?:(\d*)xlarge|(large|medium))", machine)
    if match is None:
        raise MachineUnknown(
            f"machines: {machine!r} does not say its size", hint="use names such as m7i.xlarge, without metal"
        )
    return 2 if match[2] else 4 * int(match[1] or 1)
