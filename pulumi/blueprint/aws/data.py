"""What holds data on AWS: keys, the bucket, the registry."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import ecr, iam, kms, s3

from blueprint.aws import policy
from blueprint.site import Site
from blueprint.spec import Aws


@dataclass(frozen=True)
class Keys:
    """One for what the platform stores, one for the secrets that people encrypt into Git."""

    data: kms.Key
    sops: kms.Key


def keys(site: Site) -> Keys:
    """Rotated every year by AWS; deleted 30 days after somebody asked for it."""

    def key(name: str) -> kms.Key:
        made = kms.Key(
            name,
            description=f"{site.name}: {name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            tags=site.tags,
            opts=site.child(holds_data=True),
        )
        kms.Alias(name, name=f"alias/{site.name}-{name}", target_key_id=made.id, opts=site.child())
        return made

    return Keys(data=key("data"), sops=key("sops"))


def bucket(site: Site, own: Aws, key: kms.Key) -> s3.Bucket:
    """Private, versioned, encrypted, by TLS only; a version that was replaced is kept for 30 days."""
    made = s3.Bucket(
        "artifacts",
        bucket=f"{own.account}-{site.name}",
        force_destroy=not site.spec.protected,
        tags=site.tags,
        opts=site.child(holds_data=True),
    )
    s3.BucketPublicAccessBlock(
        "artifacts",
        bucket=made.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=site.child(),
    )
    s3.BucketOwnershipControls(
        "artifacts",
        bucket=made.id,
        rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
        opts=site.child(),
    )
    s3.BucketVersioning(
        "artifacts",
        bucket=made.id,
        versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        opts=site.child(),
    )
    s3.BucketServerSideEncryptionConfiguration(
        "artifacts",
        bucket=made.id,
        rules=[
            s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                    sse_algorithm="aws:kms", kms_master_key_id=key.arn
                ),
                bucket_key_enabled=True,
            )
        ],
        opts=site.child(),
    )
    s3.BucketLifecycleConfiguration("artifacts", bucket=made.id, rules=_lifecycle(), opts=site.child())
    s3.BucketPolicy(
        "artifacts",
        bucket=made.id,
        policy=policy.document(policy.tls_only(made.arn)),
        opts=site.child(),
    )
    return made


def _lifecycle() -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    everything = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
    return [
        s3.BucketLifecycleConfigurationRuleArgs(
            id="replaced-versions",
            status="Enabled",
            filter=everything,
            noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                noncurrent_days=30
            ),
        ),
        s3.BucketLifecycleConfigurationRuleArgs(
            id="broken-uploads",
            status="Enabled",
            filter=everything,
            abort_incomplete_multipart_upload=s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                days_after_initiation=7
            ),
        ),
    ]


def registry(site: Site, key: kms.Key) -> ecr.RepositoryCreationTemplate:
    """ECR wants a repository for each image: the first push of a new use case makes its own, after this template."""
    maker = iam.Role(
        "registry",
        name=f"{site.name}-registry",
        assume_role_policy=policy.document(policy.assumed_by("ecr.amazonaws.com")),
        tags=site.tags,
        opts=site.child(),
    )
    allowed = iam.RolePolicy(
        "registry",
        role=maker.name,
        policy=policy.document(
            policy.allow(["ecr:CreateRepository", "ecr:TagResource"], [policy.repositories(site)]),
            policy.allow(["kms:CreateGrant", "kms:RetireGrant", "kms:DescribeKey"], [key.arn]),
        ),
        opts=site.child(),
    )
    return ecr.RepositoryCreationTemplate(
        "images",
        prefix=site.name,
        applied_fors=["CREATE_ON_PUSH"],
        image_tag_mutability="IMMUTABLE",
        encryption_configurations=[
            ecr.RepositoryCreationTemplateEncryptionConfigurationArgs(encryption_type="KMS", kms_key=key.arn)
        ],
        lifecycle_policy=pulumi.Output.json_dumps(policy.UNTAGGED_EXPIRE),
        custom_role_arn=maker.arn,
        resource_tags=site.tags,
        opts=site.child(after=[allowed]),
    )
