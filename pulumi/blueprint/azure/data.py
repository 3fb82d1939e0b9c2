"""What holds data on Azure: keys, blobs, the registry, and the group that all of it lies in."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, containerregistry, keyvault, managedidentity, network, resources, storage

from blueprint.azure import names
from blueprint.site import Site
from blueprint.spec import Azure

ENCRYPTS = "e147488a-f6f5-4113-8e2d-b22465e65bf6"  # Key Vault Crypto Service Encryption User


@dataclass(frozen=True)
class Keys:
    """One for what the platform stores, one for the secrets that people encrypt into Git."""

    vault: keyvault.Vault
    data: keyvault.Key
    sops: keyvault.Key


@dataclass(frozen=True)
class Blobs:
    account: storage.StorageAccount
    container: storage.BlobContainer


def group(site: Site) -> resources.ResourceGroup:
    """Production's is locked: nothing in it can be deleted before somebody takes the lock away."""
    made = resources.ResourceGroup(
        "group",
        resource_group_name=site.name,
        location=site.spec.region,
        tags=site.tags,
        opts=site.child(holds_data=True),
    )
    if site.spec.protected:
        authorization.ManagementLockAtResourceGroupLevel(
            "group",
            lock_name="keep",
            resource_group_name=made.name,
            level="CanNotDelete",
            notes="Held by pulumi: deletion_protection of the stack.",
            opts=site.child(),
        )
    return made


def keys(site: Site, own: Azure, group: resources.ResourceGroup) -> Keys:
    """Who may use them is said by roles, not by the vault's own lists; a deleted vault can be had back for 90 days."""
    vault = keyvault.Vault(
        "keys",
        vault_name=names.worldwide(site, own),
        resource_group_name=group.name,
        location=site.spec.region,
        properties=keyvault.VaultPropertiesArgs(
            tenant_id=own.tenant,
            sku=keyvault.SkuArgs(family="A", name=keyvault.SkuName.STANDARD),
            enable_rbac_authorization=True,
            enable_purge_protection=True,
            enable_soft_delete=True,
            soft_delete_retention_in_days=90,
        ),
        tags=site.tags,
        opts=site.child(holds_data=True),
    )

    def key(name: str) -> keyvault.Key:
        return keyvault.Key(
            name,
            key_name=name,
            vault_name=vault.name,
            resource_group_name=group.name,
            properties=keyvault.KeyPropertiesArgs(kty="RSA", key_size=3072),
            tags=site.tags,
            opts=site.child(holds_data=True),
        )

    return Keys(vault, data=key("data"), sops=key("sops"))


def blobs(site: Site, own: Azure, group: resources.ResourceGroup, keys: Keys, subnet: network.Subnet) -> Blobs:
    """Private, versioned, encrypted with our key, without account keys; reached from the cluster's network only."""
    identity = managedidentity.UserAssignedIdentity(
        "storage",
        resource_name_=f"{site.name}-storage",
        resource_group_name=group.name,
        location=site.spec.region,
        tags=site.tags,
        opts=site.child(),
    )
    may_encrypt = authorization.RoleAssignment(
        "storage-encrypts",
        role_assignment_name=names.assignment(site.name, own.subscription, "storage-encrypts"),
        principal_id=identity.principal_id,
        principal_type="ServicePrincipal",
        role_definition_id=names.role(own, ENCRYPTS),
        scope=keys.vault.id,
        opts=site.child(),
    )
    account = storage.StorageAccount(
        "artifacts",
        account_name=names.worldwide(site, own),
        resource_group_name=group.name,
        location=site.spec.region,
        kind="StorageV2",
        sku=storage.SkuArgs(name="Standard_ZRS" if len(site.spec.zones) > 1 else "Standard_LRS"),
        allow_blob_public_access=False,
        allow_shared_key_access=False,
        allow_cross_tenant_replication=False,
        enable_https_traffic_only=True,
        minimum_tls_version="TLS1_2",
        network_rule_set=storage.NetworkRuleSetArgs(
            default_action=storage.DefaultAction.DENY,
            bypass="None",
            virtual_network_rules=[storage.VirtualNetworkRuleArgs(virtual_network_resource_id=subnet.id)],
        ),
        identity=storage.IdentityArgs(type="UserAssigned", user_assigned_identities=[identity.id]),
        encryption=storage.EncryptionArgs(
            key_source="Microsoft.Keyvault",
            key_vault_properties=storage.KeyVaultPropertiesArgs(
                key_name=keys.data.name,
                key_vault_uri=pulumi.Output.concat("https://", keys.vault.name, ".vault.azure.net"),
            ),
            encryption_identity=storage.EncryptionIdentityArgs(encryption_user_assigned_identity=identity.id),
        ),
        tags=site.tags,
        opts=site.child(holds_data=True, after=[may_encrypt]),
    )
    kept = storage.DeleteRetentionPolicyArgs(enabled=True, days=30)
    storage.BlobServiceProperties(
        "artifacts",
        account_name=account.name,
        resource_group_name=group.name,
        blob_services_name="default",
        is_versioning_enabled=True,
        delete_retention_policy=kept,
        container_delete_retention_policy=kept,
        opts=site.child(),
    )
    container = storage.BlobContainer(
        "artifacts",
        container_name="artifacts",
        account_name=account.name,
        resource_group_name=group.name,
        public_access=storage.PublicAccess.NONE,
        opts=site.child(holds_data=True),
    )
    return Blobs(account, container)


def registry(site: Site, own: Azure, group: resources.ResourceGroup) -> containerregistry.Registry:
    """No administrator with a password, no anonymous pull."""
    return containerregistry.Registry(
        "images",
        registry_name=names.worldwide(site, own),
        resource_group_name=group.name,
        location=site.spec.region,
        sku=containerregistry.SkuArgs(name="Premium" if site.spec.environment == "production" else "Standard"),
        admin_user_enabled=False,
        anonymous_pull_enabled=False,
        tags=site.tags,
        opts=site.child(holds_data=True),
    )
