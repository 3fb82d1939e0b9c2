"""What has to be of one version is: each version stands in one place, and these places agree."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pipelines.gitops.core import KUBERNETES
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: TreeReport) -> None:
    locked = _locked(tree.root)
    if not locked:
        report.note("versions not compared: there is no requirements.lock")
        return
    for cluster in tree.clusters:
        for applied, manifest in cluster.objects():
            for field, problem in (*_kubeflow(manifest, locked), *_mlflow(manifest, locked)):
                report.find(tree.place(cluster, applied, manifest, field), problem)
    _python(tree.root, report)
    _kubernetes(tree.root, report)


def _kubeflow(manifest: Manifest, locked: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The SDK compiles what the backend runs."""
    spec = manifest.get("spec") or {}
    if manifest.get("kind") == "GitRepository" and str(spec.get("url", "")).endswith("/kubeflow/pipelines"):
        tag = str((spec.get("ref") or {}).get("tag"))
        if tag != locked.get("kfp"):
            yield "spec.ref.tag", f"Kubeflow Pipelines is {tag}, but the SDK in the lock file is {locked.get('kfp')}"


def _mlflow(manifest: Manifest, locked: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The server understands its clients: the same minor version."""
    if manifest.get("kind") != "HelmRelease" or manifest["metadata"]["name"] != "mlflow":
        return
    tag = str((((manifest.get("spec") or {}).get("values") or {}).get("image") or {}).get("tag", ""))
    server, client = re.match(r"v?(\d+\.\d+)", tag), re.match(r"\d+\.\d+", locked.get("mlflow", ""))
    if not server or not client or server[1] != client[0]:
        told = f"MLflow's server is {tag or 'of no version'}, its client is {locked.get('mlflow')}"
        yield "spec.values.image.tag", told


def _python(root: Path, report: TreeReport) -> None:
    """The Python that serves is the one that everything was resolved for."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project.get("tool", {}).get("mypy", {}).get("python_version")
    for name in ("bento/Dockerfile", "pipelines/Dockerfile"):
        path = root / name
        found = re.findall(r"python:(\d+\.\d+)", path.read_text(encoding="utf-8")) if path.is_file() else []
        for version in set(found) - {wanted}:
            report.find(name, f"stands on Python {version}; pyproject.toml and the lock are for {wanted}")


def _kubernetes(root: Path, report: TreeReport) -> None:
    """Objects are held to the schemas of the Kubernetes that runs on laptops."""
    path = root / "clusters" / "local" / "kind.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for version in sorted(set(re.findall(r"kindest/node:v(\d+\.\d+)", text)) - {KUBERNETES}):
        where = str(path.relative_to(root))
        report.find(
            where, f"Kubernetes is {version}, but objects are checked for {KUBERNETES} (pipelines/gitops/core.py)"
        )


def _locked(root: Path) -> dict[str, str]:
    path = root / "requirements.lock"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.MULTILINE))
