"""A cluster that somebody else made, kind included: nothing is created but what Flux needs to begin."""

from pathlib import Path

import pulumi

from blueprint import kube
from blueprint.contract import WORKLOADS, Platform
from blueprint.errors import PlatformError
from blueprint.site import Site
from blueprint.spec import Existing, PlatformSpec, section


class KubeconfigMissing(PlatformError):
    """There is no kubeconfig to reach the existing cluster with."""


def build(spec: PlatformSpec) -> Platform:
    """What the spec says about the cluster, as the same contract."""
    own = section(spec, Existing)
    site = Site.open(spec, None)
    config = kubeconfig()
    return Platform(
        cloud="existing",
        region=spec.region,
        kubeconfig=config,
        kubernetes=kube.provider(config, parent=site.component, context=own.context),
        registry=pulumi.Output.from_input(own.registry),
        bucket_uri=pulumi.Output.from_input(own.bucket_uri),
        object_store_endpoint=own.object_store_endpoint,
        storage_class=own.storage_class,
        sops_key=pulumi.Output.from_input(""),
        identities={
            workload.name: pulumi.Output.from_input(own.identities.get(workload.name, "")) for workload in WORKLOADS
        },
    )


def kubeconfig() -> pulumi.Output[str]:
    """From the stack's secrets, else the file that kubectl would read."""
    config = pulumi.Config()
    secret = config.get_secret("kubeconfig")
    if secret is not None:
        return secret
    path = Path(config.get("kubeconfigFile") or "~/.kube/config").expanduser()
    if not path.is_file():
        raise KubeconfigMissing(
            f"no kubeconfig: {path} does not exist",
            hint="pulumi config set --secret kubeconfig < file, or pulumi config set kubeconfigFile path",
        )
    return pulumi.Output.secret(path.read_text(encoding="utf-8"))
