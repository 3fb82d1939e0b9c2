"""Who may do what on Google Cloud, and who hears when it gets dear."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_gcp import artifactregistry, billing, kms, monitoring, projects, secretmanager, serviceaccount, storage

from blueprint.contract import WORKLOADS, ServiceAccount, Workload
from blueprint.site import Site
from blueprint.spec import Gcp

BUCKET_ROLES = {"read": "roles/storage.objectViewer", "write": "roles/storage.objectUser"}
REGISTRY_ROLES = {"read": "roles/artifactregistry.reader", "write": "roles/artifactregistry.writer"}


def node_identity(site: Site, own: Gcp, registry: artifactregistry.Repository) -> serviceaccount.Account:
    """What a node itself may do: write its logs and metrics, pull our images. Pods have identities of their own."""
    account = serviceaccount.Account(
        "nodes", account_id=f"{site.name}-nodes", display_name=f"Nodes of {site.name}", opts=site.child()
    )
    member = pulumi.Output.concat("serviceAccount:", account.email)
    projects.IAMMember(
        "nodes-run",
        project=own.project,
        role="roles/container.defaultNodeServiceAccount",
        member=member,
        opts=site.child(),
    )
    artifactregistry.RepositoryIamMember(
        "nodes-pull",
        location=site.spec.region,
        repository=registry.name,
        role=REGISTRY_ROLES["read"],
        member=member,
        opts=site.child(),
    )
    return account


@dataclass(frozen=True)
class Doors:
    """What a workload can be let into."""

    site: Site
    own: Gcp
    bucket: storage.Bucket
    registry: artifactregistry.Repository
    sops: kms.CryptoKey
    number: pulumi.Output[str]

    def member(self, account: ServiceAccount) -> pulumi.Output[str]:
        """A Kubernetes ServiceAccount as Google's IAM spells it: no service account, no key, no annotation."""
        pool = f"/locations/global/workloadIdentityPools/{self.own.project}.svc.id.goog"
        subject = f"/subject/ns/{account.namespace}/sa/{account.name}"
        return pulumi.Output.concat("principal://iam.googleapis.com/projects/", self.number, pool, subject)

    def grant_all(self, *, after: pulumi.Resource) -> None:
        """Waits for the cluster: a project's pool of identities comes with its first one."""
        for workload in WORKLOADS:
            for account in workload.accounts:
                self.grant(workload, account.name, self.member(account), after)

    def grant(self, workload: Workload, who: str, member: pulumi.Output[str], after: pulumi.Resource) -> None:
        opts = self.site.child(after=[after])
        if workload.bucket != "none":
            role = BUCKET_ROLES[workload.bucket]
            storage.BucketIAMMember(f"{who}-bucket", bucket=self.bucket.name, role=role, member=member, opts=opts)
        if workload.registry != "none":
            artifactregistry.RepositoryIamMember(
                f"{who}-registry",
                location=self.site.spec.region,
                repository=self.registry.name,
                role=REGISTRY_ROLES[workload.registry],
                member=member,
                opts=opts,
            )
        if workload.decrypt:
            role = "roles/cloudkms.cryptoKeyDecrypter"
            kms.CryptoKeyIAMMember(f"{who}-sops", crypto_key_id=self.sops.id, role=role, member=member, opts=opts)

    def open_vertex(self, secrets: Mapping[str, secretmanager.Secret], *, after: pulumi.Resource) -> None:
        """Vertex AI runs a pipeline as a service account: the only one with rights here, and only when asked for."""
        pipelines = next(workload for workload in WORKLOADS if workload.vertex)
        opts = self.site.child(after=[after])
        runner = serviceaccount.Account(
            "vertex",
            account_id=f"{self.site.name}-vertex",
            display_name="Pipelines on Vertex AI",
            opts=self.site.child(),
        )
        runs_as = pulumi.Output.concat("serviceAccount:", runner.email)
        self.grant(pipelines, "vertex", runs_as, after)
        for name, secret in secrets.items():
            role = "roles/secretmanager.secretAccessor"
            secretmanager.SecretIamMember(
                f"vertex-reads-{name}", secret_id=secret.id, role=role, member=runs_as, opts=opts
            )
        for who, member in {"vertex": runs_as, **{a.name: self.member(a) for a in pipelines.accounts}}.items():
            projects.IAMMember(
                f"{who}-vertex-ai", project=self.own.project, role="roles/aiplatform.user", member=member, opts=opts
            )
            role = "roles/iam.serviceAccountUser"
            serviceaccount.IAMMember(
                f"{who}-as-vertex", service_account_id=runner.name, role=role, member=member, opts=opts
            )


def budget(site: Site, number: pulumi.Output[str]) -> None:
    """Counts what carries the platform's label."""
    wanted = site.spec.budget
    if wanted is None:
        return
    mail = monitoring.NotificationChannel(
        "budget",
        display_name=f"Budget of {site.name}",
        type="email",
        labels={"email_address": wanted.contact},
        user_labels=site.tags,
        opts=site.child(),
    )
    billing.Budget(
        "budget",
        billing_account=wanted.billing_account or "",
        display_name=site.name,
        budget_filter=billing.BudgetBudgetFilterArgs(
            projects=[pulumi.Output.concat("projects/", number)], labels={"platform": site.name}
        ),
        amount=billing.BudgetAmountArgs(
            specified_amount=billing.BudgetAmountSpecifiedAmountArgs(
                currency_code=wanted.currency, units=str(wanted.monthly)
            )
        ),
        threshold_rules=[billing.BudgetThresholdRuleArgs(threshold_percent=part) for part in wanted.thresholds],
        all_updates_rule=billing.BudgetAllUpdatesRuleArgs(monitoring_notification_channels=[mail.id]),
        opts=site.child(),
    )
