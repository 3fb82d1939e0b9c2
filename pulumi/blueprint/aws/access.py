"""Who may do what on AWS, and who hears when it gets dear."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import budgets, eks, iam, s3

from blueprint.aws import policy
from blueprint.aws.data import Keys
from blueprint.contract import WORKLOADS, Workload
from blueprint.site import Site
from blueprint.spec import Aws, section

MANAGED = "arn:aws:iam::aws:policy/"
CLUSTER_POLICIES = (
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
)
NODE_POLICIES = ("AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodeMinimalPolicy")


@dataclass(frozen=True)
class Role:
    """A role, and what must be attached to it before it is of use."""

    role: iam.Role
    attached: list[pulumi.Resource]


def cluster_role(site: Site) -> Role:
    """What EKS itself does for the cluster: nodes, disks, load balancers."""
    own = section(site.spec, Aws)
    made = _role(site, "cluster", "eks.amazonaws.com", ("sts:AssumeRole", "sts:TagSession"), CLUSTER_POLICIES)
    tagging = iam.RolePolicy(
        "cluster-tags",
        role=made.role.name,
        policy=policy.document(*policy.tag_nodes(site.spec.region, own.account)),
        opts=site.child(),
    )
    return Role(made.role, [*made.attached, tagging])


def node_role(site: Site) -> Role:
    """What a node itself may do: join, and pull images. Pods have roles of their own."""
    return _role(site, "nodes", "ec2.amazonaws.com", ("sts:AssumeRole",), NODE_POLICIES)


def _role(site: Site, name: str, service: str, actions: tuple[str, ...], policies: tuple[str, ...]) -> Role:
    role = iam.Role(
        name,
        name=f"{site.name}-{name}",
        assume_role_policy=policy.document(policy.assumed_by(service, actions)),
        tags=site.tags,
        opts=site.child(),
    )
    attached: list[pulumi.Resource] = [
        iam.RolePolicyAttachment(
            f"{name}-{managed}", role=role.name, policy_arn=f"{MANAGED}{managed}", opts=site.child()
        )
        for managed in policies
    ]
    return Role(role, attached)


@dataclass(frozen=True)
class Doors:
    """What a workload can be let into."""

    site: Site
    own: Aws
    bucket: s3.Bucket
    keys: Keys

    def statements(self, workload: Workload) -> list[policy.Statement]:
        """Just what the workload's line in the contract says."""
        said: list[policy.Statement] = []
        if workload.bucket != "none":
            said += policy.use_bucket(workload.bucket, self.bucket.arn, self.keys.data.arn)
        if workload.registry != "none":
            said += policy.use_registry(workload.registry, policy.repositories(self.site))
        if workload.decrypt:
            said.append(policy.allow(["kms:Decrypt"], [self.keys.sops.arn]))
        return said


def grant_all(doors: Doors, cluster: eks.Cluster) -> None:
    """A role a workload; EKS hands it to the ServiceAccount's pods, which need no annotation."""
    site = doors.site
    for workload in WORKLOADS:
        role = iam.Role(
            workload.name,
            name=f"{site.name}-{workload.name}",
            assume_role_policy=policy.document(policy.assumed_by_pods(site.name, workload.accounts)),
            tags=site.tags,
            opts=site.child(),
        )
        iam.RolePolicy(
            workload.name,
            role=role.name,
            policy=policy.document(*doors.statements(workload)),
            opts=site.child(),
        )
        for account in workload.accounts:
            eks.PodIdentityAssociation(
                account.name,
                cluster_name=cluster.name,
                namespace=account.namespace,
                service_account=account.name,
                role_arn=role.arn,
                tags=site.tags,
                opts=site.child(),
            )


def budget(site: Site) -> None:
    """Counts what carries the platform's tag, once `platform` is activated as a cost allocation tag."""
    wanted = site.spec.budget
    if wanted is None:
        return
    budgets.Budget(
        "budget",
        name=site.name,
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=str(wanted.monthly),
        limit_unit=wanted.currency,
        cost_filters=[budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:platform${site.name}"])],
        notifications=[
            budgets.BudgetNotificationArgs(
                comparison_operator="GREATER_THAN",
                notification_type="ACTUAL",
                threshold=100 * part,
                threshold_type="PERCENTAGE",
                subscriber_email_addresses=[wanted.contact],
            )
            for part in wanted.thresholds
        ],
        tags=site.tags,
        opts=site.child(),
    )
