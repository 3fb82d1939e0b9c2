"""What no manifest here may do: mutable images, no probes, root, plaintext secrets, objects that are never pruned."""

import re
from collections.abc import Iterator
from typing import Any

from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import KUSTOMIZATION, group_of, title
from pipelines.gitops.kustomize import Manifest, read_documents
from pipelines.gitops.tree import Tree

BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


def check(tree: Tree, report: TreeReport) -> None:
    for cluster in tree.clusters:
        for applied, manifest in cluster.objects():
            is_model = (applied.path or "").startswith("apps/") and manifest.get("kind") != "CronJob"
            for problem in (*_object(manifest), *(_model(manifest) if is_model else ())):
                report.find(tree.place(cluster, applied, manifest), f"{title(manifest)}: {problem}")
    _secret_files(tree, report)


def _object(manifest: Manifest) -> Iterator[str]:
    kind, spec = manifest.get("kind"), manifest.get("spec") or {}
    if kind == "Secret" and "sops" not in manifest:
        yield "a Secret in plain text; encrypt it with SOPS as <name>.sops.yaml, or have it made in the cluster"
    if kind == "Kustomization" and group_of(manifest) == KUSTOMIZATION and spec.get("prune") is not True:
        yield "spec.prune is not true: what is deleted from Git would stay in the cluster"
    if kind == "ServiceAccount" and manifest.get("automountServiceAccountToken") is None:
        yield "automountServiceAccountToken is not said; false, unless its pods ask the API server"
    for container in _containers(manifest):
        image = str(container.get("image", ""))
        if image.endswith(":latest") or (":" not in image.rpartition("/")[2] and "@" not in image):
            yield f"image {image!r} is whatever was pushed last; name a version or a digest"


def _model(manifest: Manifest) -> Iterator[str]:
    """A model's server, which the admission policies of the cluster would refuse too."""
    if manifest.get("kind") not in WORKLOADS:
        return
    pod = _pod(manifest)
    secure = pod.get("securityContext") or {}
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    if secure.get("runAsNonRoot") is not True:
        yield "securityContext.runAsNonRoot is not true"
    if (secure.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "securityContext.seccompProfile.type is not RuntimeDefault"
    for container in _containers(manifest):
        for problem in _model_container(container):
            yield f"container {container.get('name')}: {problem}"


def _model_container(container: dict[str, Any]) -> Iterator[str]:
    if not BY_DIGEST.fullmatch(str(container.get("image", ""))):
        yield f"image {container.get('image')!r} is not by digest, name@sha256:…"
    for probe in PROBES:
        if probe not in container:
            yield f"has no {probe}"
    resources = container.get("resources") or {}
    for group, key in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if key not in (resources.get(group) or {}):
            yield f"resources.{group}.{key} is missing"
    own = container.get("securityContext") or {}
    if own.get("readOnlyRootFilesystem") is not True:
        yield "securityContext.readOnlyRootFilesystem is not true"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "securityContext.allowPrivilegeEscalation is not false"
    if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
        yield "securityContext.capabilities.drop does not have ALL"


def _pod(manifest: Manifest) -> dict[str, Any]:
    spec = manifest.get("spec") or {}
    if manifest.get("kind") == "CronJob":
        spec = ((spec.get("jobTemplate") or {}).get("spec")) or {}
    pod: dict[str, Any] = (spec.get("template") or {}).get("spec") or {}
    return pod


def _containers(manifest: Manifest) -> list[dict[str, Any]]:
    if manifest.get("kind") not in WORKLOADS:
        return []
    pod = _pod(manifest)
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def _secret_files(tree: Tree, report: TreeReport) -> None:
    for folder in ("apps", "clusters", "infrastructure"):
        for path in sorted((tree.root / folder).rglob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            if path.name.endswith(".sops.yaml"):
                if not all("sops" in document for document in read_documents(text)):
                    report.find(str(path.relative_to(tree.root)), "is not encrypted; sops -e -i it")
            elif re.search(r"^kind: Secret$", text, re.MULTILINE):
                report.find(
                    str(path.relative_to(tree.root)),
                    "a Secret in plain text; encrypt it with SOPS as <name>.sops.yaml, or have it made in the cluster",
                )
