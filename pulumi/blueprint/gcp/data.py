"""What holds data on Google Cloud: keys, the bucket, the registry, places for secrets."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_gcp import artifactregistry, kms, projects, secretmanager
from pulumi_gcp import storage as gcs

from blueprint.site import Site
from blueprint.spec import Gcp

ENCRYPT = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
NINETY_DAYS = f"{90 * 24 * 3600}s"


@dataclass(frozen=True)
class Keys:
    """One for what the platform stores, one for the secrets that people encrypt into Git."""

    data: kms.CryptoKey
    sops: kms.CryptoKey


def keys(site: Site) -> Keys:
    """A key ring cannot be deleted, so a platform made again under the same name imports it: see docs/cloud.md."""
    ring = kms.KeyRing("keys", name=site.name, location=site.spec.region, opts=site.child())

    def key(name: str) -> kms.CryptoKey:
        return kms.CryptoKey(
            name,
            name=name,
            key_ring=ring.id,
            purpose="ENCRYPT_DECRYPT",
            rotation_period=NINETY_DAYS,
            labels=site.tags,
            opts=site.child(holds_data=True),
        )

    return Keys(data=key("data"), sops=key("sops"))


def let_services_encrypt(
    site: Site, own: Gcp, key: kms.CryptoKey, number: pulumi.Output[str]
) -> list[kms.CryptoKeyIAMMember]:
    """Google's own services use the key on our behalf; some of their accounts exist only once somebody asks."""

    def identity(service: str) -> pulumi.Output[str]:
        made = projects.ServiceIdentity(
            service, project=own.project, service=f"{service}.googleapis.com", opts=site.child()
        )
        return made.email

    storage = gcs.get_project_service_account_output(project=own.project, opts=site.invoke()).email_address
    container = pulumi.Output.concat("service-", number, "@container-engine-robot.iam.gserviceaccount.com")
    accounts = {"storage": storage, "artifactregistry": identity("artifactregistry"), "container": container}
    if own.vertex_secrets:
        accounts["secretmanager"] = identity("secretmanager")
    return [
        kms.CryptoKeyIAMMember(
            f"{name}-encrypts",
            crypto_key_id=key.id,
            role=ENCRYPT,
            member=pulumi.Output.concat("serviceAccount:", email),
            opts=site.child(),
        )
        for name, email in accounts.items()
    ]


def bucket(site: Site, own: Gcp, key: kms.CryptoKey, after: Sequence[pulumi.Resource]) -> gcs.Bucket:
    """Private and versioned; a version that was replaced is kept for 30 days."""
    return gcs.Bucket(
        "artifacts",
        name=f"{own.project}-{site.name}",
        location=site.spec.region,
        uniform_bucket_level_access=True,
        public_access_prevention="enforced",
        versioning=gcs.BucketVersioningArgs(enabled=True),
        encryption=gcs.BucketEncryptionArgs(default_kms_key_name=key.id),
        lifecycle_rules=[
            gcs.BucketLifecycleRuleArgs(
                action=gcs.BucketLifecycleRuleActionArgs(type="Delete"),
                condition=gcs.BucketLifecycleRuleConditionArgs(days_since_noncurrent_time=30),
            ),
            gcs.BucketLifecycleRuleArgs(
                action=gcs.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
                condition=gcs.BucketLifecycleRuleConditionArgs(age=7),
            ),
        ],
        force_destroy=not site.spec.protected,
        labels=site.tags,
        opts=site.child(holds_data=True, after=after),
    )


def registry(site: Site, key: kms.CryptoKey, after: Sequence[pulumi.Resource]) -> artifactregistry.Repository:
    """A tag, once pushed, stays what it is."""
    return artifactregistry.Repository(
        "images",
        repository_id=site.name,
        location=site.spec.region,
        format="DOCKER",
        docker_config=artifactregistry.RepositoryDockerConfigArgs(immutable_tags=True),
        kms_key_name=key.id,
        cleanup_policies=[
            artifactregistry.RepositoryCleanupPolicyArgs(
                id="untagged",
                action="DELETE",
                condition=artifactregistry.RepositoryCleanupPolicyConditionArgs(tag_state="UNTAGGED", older_than="30d"),
            )
        ],
        cleanup_policy_dry_run=False,
        labels=site.tags,
        opts=site.child(holds_data=True, after=after),
    )


def secrets(
    site: Site, own: Gcp, key: kms.CryptoKey, after: Sequence[pulumi.Resource]
) -> dict[str, secretmanager.Secret]:
    """Places without a text, in the platform's region alone: `gcloud secrets versions add` puts the text there."""
    replica = secretmanager.SecretReplicationUserManagedReplicaArgs(
        location=site.spec.region,
        customer_managed_encryption=secretmanager.SecretReplicationUserManagedReplicaCustomerManagedEncryptionArgs(
            kms_key_name=key.id
        ),
    )
    return {
        name: secretmanager.Secret(
            name,
            secret_id=f"{site.name}-{name}",
            replication=secretmanager.SecretReplicationArgs(
                user_managed=secretmanager.SecretReplicationUserManagedArgs(replicas=[replica])
            ),
            labels=site.tags,
            opts=site.child(holds_data=True, after=after),
        )
        for name in own.vertex_secrets
    }
