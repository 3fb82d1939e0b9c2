"""Every object has only fields that its kind has, and is of a version that is current."""

import json

from pipelines.gitops.core import core_errors, is_core
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import group_of, title
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.tree import Tree

CURRENT = {
    "kustomize.toolkit.fluxcd.io": {"Kustomization": "v1"},
    "helm.toolkit.fluxcd.io": {"HelmRelease": "v2"},
    "source.toolkit.fluxcd.io": dict.fromkeys(
        ("GitRepository", "OCIRepository", "HelmRepository", "HelmChart", "Bucket", "ExternalArtifact"), "v1"
    ),
    "notification.toolkit.fluxcd.io": {"Receiver": "v1", "Provider": "v1beta3", "Alert": "v1beta3"},
    "image.toolkit.fluxcd.io": dict.fromkeys(("ImageRepository", "ImagePolicy", "ImageUpdateAutomation"), "v1"),
    "fluxcd.controlplane.io": dict.fromkeys(("FluxInstance", "ResourceSet"), "v1"),
    "external-secrets.io": dict.fromkeys(("ExternalSecret", "SecretStore", "ClusterSecretStore"), "v1"),
    "autoscaling": {"HorizontalPodAutoscaler": "v2"},
    "policy": {"PodDisruptionBudget": "v1"},
    "gateway.networking.k8s.io": {"Gateway": "v1", "GatewayClass": "v1", "HTTPRoute": "v1"},
}
"""The versions that Flux 2.9 and the pinned charts serve without a warning."""


def check(tree: Tree, report: TreeReport) -> None:
    """Kinds of Kubernetes always; custom ones where their definitions can be had."""
    unknown: set[str] = set()
    seen: set[str] = set()
    for cluster in tree.clusters:
        for applied, manifest in cluster.objects():
            if not is_core(manifest) and not tree.schemas.knows(manifest):
                unknown.add(group_of(manifest))
            same = json.dumps(manifest, sort_keys=True)
            if same in seen:
                continue
            seen.add(same)
            for error in (*_version(manifest), *_fields(tree, manifest)):
                where = tree.place(cluster, applied, manifest, error.partition(": ")[0])
                report.find(where, f"{title(manifest)}: {error}")
    if not tree.schemas.has_definitions:
        report.note(f"fields of custom objects not checked: no definitions in {tree.schemas.path} (docs/checks.md)")
    elif unknown:
        report.note(f"fields not checked, for want of definitions: {', '.join(sorted(unknown))}")


def _version(manifest: Manifest) -> list[str]:
    group, kind = group_of(manifest), str(manifest.get("kind"))
    version = str(manifest.get("apiVersion", "")).rpartition("/")[2]
    current = CURRENT.get(group, {}).get(kind)
    if current and version != current:
        return [f"apiVersion {group}/{version} is not current; use {group}/{current}"]
    return []


def _fields(tree: Tree, manifest: Manifest) -> list[str]:
    if not manifest.get("apiVersion") or not manifest.get("kind"):
        return ["has no apiVersion or no kind"]
    if is_core(manifest):
        return list(core_errors(manifest))
    if not tree.schemas.knows(manifest):
        return []
    version, served = str(manifest["apiVersion"]).rpartition("/")[2], tree.schemas.versions(manifest)
    if version not in served:
        return [f"{manifest['apiVersion']} is not served; served: {', '.join(served)}"]
    return list(tree.schemas.errors(manifest))
