"""Who may do what on Azure, and who hears when it gets dear."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import (
    authorization,
    consumption,
    containerregistry,
    containerservice,
    managedidentity,
    resources,
)

from blueprint.azure import names
from blueprint.azure.data import Blobs, Keys
from blueprint.contract import WORKLOADS, Workload
from blueprint.site import Site
from blueprint.spec import Azure

# Azure's own roles, by their ids.
BUCKET_ROLES = {
    "read": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",  # Storage Blob Data Reader
    "write": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",  # Storage Blob Data Contributor
}
REGISTRY_ROLES = {
    "read": "7f951dda-4ed3-4680-a7ca-43fe172d538d",  # AcrPull
    "write": "8311e382-0749-4cb8-b61a-304f252e45ec",  # AcrPush
}
DECRYPTS = "12338af0-0e69-4776-bea7-57ae8d297424"  # Key Vault Crypto User


@dataclass(frozen=True)
class Doors:
    """What a workload can be let into."""

    site: Site
    own: Azure
    group: resources.ResourceGroup
    blobs: Blobs
    registry: containerregistry.Registry
    keys: Keys

    def let_nodes_pull(self, cluster: containerservice.ManagedCluster) -> authorization.RoleAssignment:
        """All that a node itself may do: pull images. Pods have identities of their own."""
        kubelet = cluster.identity_profile.apply(
            lambda profile: (profile["kubeletidentity"].object_id or "") if profile else ""
        )
        return self._assign("nodes-pull", kubelet, REGISTRY_ROLES["read"], self.registry.id)

    def grant_all(self, cluster: containerservice.ManagedCluster) -> dict[str, pulumi.Output[str]]:
        """An identity a workload; its client id goes onto the ServiceAccount as an annotation."""
        issuer = cluster.oidc_issuer_profile.apply(lambda profile: profile.issuer_url if profile else "")
        return {workload.name: self._grant(workload, issuer) for workload in WORKLOADS}

    def _grant(self, workload: Workload, issuer: pulumi.Output[str]) -> pulumi.Output[str]:
        identity = managedidentity.UserAssignedIdentity(
            workload.name,
            resource_name_=f"{self.site.name}-{workload.name}",
            resource_group_name=self.group.name,
            location=self.site.spec.region,
            tags=self.site.tags,
            opts=self.site.child(),
        )
        before: list[pulumi.Resource] = []
        for account in workload.accounts:  # one after the other: Azure refuses two at once for one identity
            credential = managedidentity.FederatedIdentityCredential(
                account.name,
                federated_identity_credential_resource_name=account.name,
                resource_name_=identity.name,
                resource_group_name=self.group.name,
                issuer=issuer,
                subject=account.subject,
                audiences=["api://AzureADTokenExchange"],
                opts=self.site.child(after=before),
            )
            before = [credential]
        who = identity.principal_id
        if workload.bucket != "none":
            container = pulumi.Output.concat(
                self.blobs.account.id, "/blobServices/default/containers/", self.blobs.container.name
            )
            self._assign(f"{workload.name}-bucket", who, BUCKET_ROLES[workload.bucket], container)
        if workload.registry != "none":
            self._assign(f"{workload.name}-registry", who, REGISTRY_ROLES[workload.registry], self.registry.id)
        if workload.decrypt:
            key = pulumi.Output.concat(self.keys.vault.id, "/keys/", self.keys.sops.name)
            self._assign(f"{workload.name}-sops", who, DECRYPTS, key)
        return identity.client_id

    def _assign(
        self, name: str, principal: pulumi.Input[str], role: str, scope: pulumi.Input[str]
    ) -> authorization.RoleAssignment:
        return authorization.RoleAssignment(
            name,
            role_assignment_name=names.assignment(self.site.name, self.own.subscription, name),
            principal_id=principal,
            principal_type="ServicePrincipal",
            role_definition_id=names.role(self.own, role),
            scope=scope,
            opts=self.site.child(),
        )


def budget(site: Site, group: resources.ResourceGroup) -> None:
    """Counts what lies in the group. AKS keeps its machines in a second one, which carries the same tags."""
    wanted = site.spec.budget
    if wanted is None:
        return
    subscription = f"/subscriptions/{site.spec.azure.subscription}" if site.spec.azure else ""
    consumption.Budget(
        "budget",
        budget_name=site.name,
        scope=subscription,
        category="Cost",
        amount=wanted.monthly,
        time_grain="Monthly",
        time_period=consumption.BudgetTimePeriodArgs(start_date=f"{wanted.since}T00:00:00Z"),
        filter=consumption.BudgetFilterArgs(
            tags=consumption.BudgetComparisonExpressionArgs(name="platform", operator="In", values=[site.name])
        ),
        notifications={
            f"at-{round(100 * part)}": consumption.NotificationArgs(
                enabled=True,
                operator="GreaterThanOrEqualTo",
                threshold=100 * part,
                threshold_type="Actual",
                contact_emails=[wanted.contact],
            )
            for part in wanted.thresholds
        },
        opts=site.child(after=[group]),
    )
