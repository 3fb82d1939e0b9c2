"""How Pulumi and people reach a cluster: a kubeconfig without a secret in it, and a provider made from it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml


@dataclass(frozen=True)
class Login:
    """A program that turns the caller's cloud identity into a short-lived token, each time it is needed."""

    command: str
    arguments: Sequence[str] = field(default_factory=tuple)
    hint: str = ""

    def as_user(self) -> dict[str, Any]:
        return {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": self.command,
                "args": list(self.arguments),
                "installHint": self.hint,
                "interactiveMode": "IfAvailable",
                "provideClusterInfo": True,
            }
        }


def kubeconfig(name: str, server: str, login: Login, authority: str | None = None) -> str:
    """One cluster, one user, one context. Without an authority the server's certificate is one everybody trusts."""
    cluster = {"server": server, **({"certificate-authority-data": authority} if authority else {})}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": login.as_user()}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        },
        indent=2,
    )


def with_login(encoded: str, login: Login) -> str:
    """A kubeconfig as AKS hands it out (base64), but logging in the way this login does."""
    document = yaml.safe_load(base64.b64decode(encoded))
    for user in document["users"]:
        user["user"] = login.as_user()
    return json.dumps(document, indent=2)


def provider(config: pulumi.Input[str], *, parent: pulumi.Resource, context: str | None = None) -> k8s.Provider:
    """A provider that is never replaced because a token or an address in the kubeconfig was written differently."""
    return k8s.Provider(
        "cluster",
        kubeconfig=pulumi.Output.secret(config),
        context=context,
        enable_server_side_apply=True,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def inside(kubernetes: k8s.Provider, cluster: pulumi.Resource | None) -> pulumi.ResourceOptions:
    """Options of an object in the cluster. With the cluster goes all that is in it: nobody asks its API server."""
    return pulumi.ResourceOptions(parent=kubernetes, provider=kubernetes, deleted_with=cluster)
