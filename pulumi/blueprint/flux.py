"""Flux takes over: Pulumi plants it once, and afterwards keeps only what Git must not hold.

Planted once, then Flux's own (Git has both, and Pulumi looks away from then on):
    the charts flux-operator and flux-instance
Kept by Pulumi, update after update:
    the namespace, the Git credentials, the age key, and the ConfigMap platform-vars
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml
from pulumi_kubernetes.helm.v3 import Release, ReleaseArgs

from blueprint import kube
from blueprint.contract import Platform
from blueprint.errors import PlatformError

NAMESPACE = "flux-system"
CHARTS = "oci://ghcr.io/controlplaneio-fluxcd/charts"
VERSION = "0.58.1"  # and in infrastructure/controllers/flux-operator/source.yaml
AGE_SECRET = "sops-age"  # noqa: S105 - a name
VARS_CONFIG_MAP = "platform-vars"
WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}
# Once Flux has them, a difference to these is Flux's doing: neither an update nor a reason to make them anew.
HANDED_OVER = ["version", "chart", "values", "valueYamlFiles", "repositoryOpts", "timeout", "atomic"]


class FluxInstanceMissing(PlatformError):
    """The environment has no FluxInstance in Git to begin with."""


@dataclass(frozen=True)
class Secrets:
    """What opens the repository and what is encrypted in it. Both live in the stack's encrypted config."""

    git_token: pulumi.Output[str] | None
    age_key: pulumi.Output[str] | None

    @classmethod
    def from_config(cls, config: pulumi.Config) -> "Secrets":
        return cls(git_token=config.get_secret("gitToken"), age_key=config.get_secret("ageKey"))


def read_instance(root: Path, environment: str) -> Mapping[str, Any]:
    """The spec of the FluxInstance that Git declares: what Pulumi plants is what Flux will find there."""
    path = root / "clusters" / environment / "flux-instance.yaml"
    if not path.is_file():
        raise FluxInstanceMissing(
            f"{path} does not exist", hint=f"clusters/{environment}/ is what Flux reconciles; see clusters/README.md"
        )
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document = document if isinstance(document, dict) else {}
    spec = document.get("spec")
    if document.get("kind") != "FluxInstance" or not isinstance(spec, dict) or "distribution" not in spec:
        raise FluxInstanceMissing(
            f"{path} declares no FluxInstance", hint="it needs kind: FluxInstance and a spec with a distribution"
        )
    return spec


def as_values(instance: Mapping[str, Any]) -> dict[str, Any]:
    """The declared spec as values of the chart, whose own default for the artifact would stay behind after Flux."""
    return {**instance, "distribution": {"artifact": "", **instance["distribution"]}}


def hand_over(platform: Platform, instance: Mapping[str, Any], secrets: Secrets) -> None:
    """Put Flux into the cluster, and what it needs from outside Git."""
    Handover(platform, instance, secrets).run()


@dataclass(frozen=True)
class Handover:
    platform: Platform
    instance: Mapping[str, Any]
    secrets: Secrets

    def run(self) -> None:
        namespace = k8s.core.v1.Namespace(
            "flux-system",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=NAMESPACE),
            opts=self._opts(retain=True),
        )
        before = [namespace, self._vars(namespace), *self._secrets(namespace)]
        operator = self._plant("flux-operator", {}, after=before)
        self._plant("flux-instance", {"instance": as_values(self.instance)}, after=[operator])

    def _vars(self, namespace: pulumi.Resource) -> k8s.core.v1.ConfigMap:
        """Watched: a changed value is rolled out as soon as `pulumi up` has written it."""
        return k8s.core.v1.ConfigMap(
            VARS_CONFIG_MAP,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=VARS_CONFIG_MAP, namespace=NAMESPACE, labels=WATCHED),
            data=self.platform.vars(),
            opts=self._opts(after=[namespace]),
        )

    def _secrets(self, namespace: pulumi.Resource) -> list[k8s.core.v1.Secret]:
        made = []
        if self.secrets.age_key is not None:
            made.append(self._secret(AGE_SECRET, {"age.agekey": self.secrets.age_key}, namespace))
        if self.secrets.git_token is not None:
            name = self.instance.get("sync", {}).get("pullSecret") or "flux-system"
            made.append(self._secret(name, {"username": "git", "password": self.secrets.git_token}, namespace))
        return made

    def _secret(
        self, name: str, data: Mapping[str, pulumi.Input[str]], namespace: pulumi.Resource
    ) -> k8s.core.v1.Secret:
        return k8s.core.v1.Secret(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=NAMESPACE, labels=WATCHED),
            string_data=pulumi.Output.secret(data),
            opts=self._opts(after=[namespace]),
        )

    def _plant(self, name: str, values: Mapping[str, Any], after: Sequence[pulumi.Resource]) -> Release:
        """Under the name and in the namespace that Git gives it, so that Flux goes on with this very release."""
        args = ReleaseArgs(
            name=name if name != "flux-instance" else "flux",
            namespace=NAMESPACE,
            chart=f"{CHARTS}/{name}",
            version=VERSION,
            values=dict(values),
            atomic=True,
            timeout=600,
        )
        return Release(name, args, opts=self._opts(after=after, retain=True, handed_over=True))

    def _opts(
        self, *, after: Sequence[pulumi.Resource] = (), retain: bool = False, handed_over: bool = False
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(
            kube.inside(self.platform.kubernetes, self.platform.cluster),
            pulumi.ResourceOptions(
                depends_on=[*self.platform.ready, *after],
                retain_on_delete=retain,
                ignore_changes=HANDED_OVER if handed_over else [],
            ),
        )
