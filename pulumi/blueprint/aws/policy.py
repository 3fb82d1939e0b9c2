"""IAM policy documents, said in functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from blueprint.contract import Access, ServiceAccount
from blueprint.site import Site

Statement = dict[str, Any]
Resources = Sequence[pulumi.Input[str]]

READ = ["s3:GetObject"]
WRITE = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"]
PUSH = [
    "ecr:CompleteLayerUpload",
    "ecr:CreateRepository",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
]
UNTAGGED_EXPIRE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "untagged images after 30 days",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 30,
            },
            "action": {"type": "expire"},
        }
    ]
}


def document(*statements: Statement) -> pulumi.Output[str]:
    """A policy as the text that AWS wants."""
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: Sequence[str], resources: Resources, condition: Mapping[str, Any] | None = None) -> Statement:
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def assumed_by(
    service: str, actions: Sequence[str] = ("sts:AssumeRole",), condition: Mapping[str, Any] | None = None
) -> Statement:
    """Who may take on a role."""
    statement: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": list(actions)}
    return {**statement, "Condition": condition} if condition else statement


def assumed_by_pods(cluster: str, accounts: Sequence[ServiceAccount]) -> Statement:
    """Only these ServiceAccounts, only in this cluster: EKS says who asks by tags of the request."""
    tags = {
        "eks-cluster-name": [cluster],
        "kubernetes-namespace": sorted({account.namespace for account in accounts}),
        "kubernetes-service-account": sorted(account.name for account in accounts),
    }
    condition = {"StringEquals": {f"aws:RequestTag/{key}": values for key, values in tags.items()}}
    return assumed_by("pods.eks.amazonaws.com", ("sts:AssumeRole", "sts:TagSession"), condition)


def tls_only(bucket: pulumi.Input[str]) -> Statement:
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket, pulumi.Output.concat(bucket, "/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def repositories(site: Site) -> str:
    """Every repository below the platform's prefix."""
    account = site.spec.aws.account if site.spec.aws else ""
    return f"arn:aws:ecr:{site.spec.region}:{account}:repository/{site.name}/*"


def use_bucket(access: Access, bucket: pulumi.Input[str], key: pulumi.Input[str]) -> list[Statement]:
    actions = READ + WRITE if access == "write" else READ
    return [
        allow(["s3:ListBucket", "s3:GetBucketLocation"], [bucket]),
        allow(actions, [pulumi.Output.concat(bucket, "/*")]),
        allow(["kms:Decrypt", *(["kms:GenerateDataKey"] if access == "write" else [])], [key]),
    ]


def use_registry(access: Access, repository: str) -> list[Statement]:
    actions = PULL + PUSH if access == "write" else PULL
    return [allow(["ecr:GetAuthorizationToken"], ["*"]), allow(actions, [repository])]


def tag_nodes(region: str, account: str) -> list[Statement]:
    """Auto Mode may tag what it makes with nothing but its own tags, unless the cluster's role says more."""
    own = {"aws:RequestTag/eks:eks-cluster-name": "${aws:PrincipalTag/eks:eks-cluster-name}"}
    nodes = {"aws:RequestTag/eks:kubernetes-node-class-name": "*", "aws:RequestTag/eks:kubernetes-node-pool-name": "*"}
    return [
        allow(
            ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:RunInstances"],
            ["*"],
            {"StringEquals": own, "StringLike": nodes},
        ),
        allow(
            ["ec2:CreateSnapshot", "ec2:CreateVolume"],
            [f"arn:aws:ec2:{region}:{account}:volume/*", f"arn:aws:ec2:{region}::snapshot/*"],
            {"StringEquals": own},
        ),
    ]
