"""What has to be of one version is: each version stands in one place, and these places agree."""

import re
import tomllib
from pathlib import Path

from pipelines.gitops.findings import Report
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.tree import Tree


def check(tree: Tree, report: Report) -> None:
    locked = _locked(tree.root)
    if not locked:
        report.note("versions not compared: there is no requirements.lock")
        return
    for cluster in tree.clusters:
        for applied, manifest in cluster.objects():
            where = applied.path or cluster.folder
            _kubeflow(manifest, locked, where, report)
            _mlflow(manifest, locked, where, report)
    _python(tree.root, report)


def _kubeflow(manifest: Manifest, locked: dict[str, str], where: str, report: Report) -> None:
    """The SDK compiles what the backend runs."""
    spec = manifest.get("spec") or {}
    if manifest.get("kind") == "GitRepository" and str(spec.get("url", "")).endswith("/kubeflow/pipelines"):
        tag = str((spec.get("ref") or {}).get("tag"))
        if tag != locked.get("kfp"):
            report.find(where, f"Kubeflow Pipelines is {tag}, but the SDK in requirements.lock is {locked.get('kfp')}")


def _mlflow(manifest: Manifest, locked: dict[str, str], where: str, report: Report) -> None:
    """The server understands its clients: the same minor version."""
    if manifest.get("kind") != "HelmRelease" or manifest["metadata"]["name"] != "mlflow":
        return
    tag = str((((manifest.get("spec") or {}).get("values") or {}).get("image") or {}).get("tag", ""))
    server, client = re.match(r"v?(\d+\.\d+)", tag), re.match(r"\d+\.\d+", locked.get("mlflow", ""))
    if not server or not client or server[1] != client[0]:
        report.find(where, f"MLflow's server is {tag or 'of no version'}, its client is {locked.get('mlflow')}")


def _python(root: Path, report: Report) -> None:
    """The Python that serves is the one that everything was resolved for."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project.get("tool", {}).get("mypy", {}).get("python_version")
    for name in ("bento/Dockerfile", "pipelines/Dockerfile"):
        path = root / name
        found = re.findall(r"python:(\d+\.\d+)", path.read_text(encoding="utf-8")) if path.is_file() else []
        for version in set(found) - {wanted}:
            report.find(name, f"stands on Python {version}; pyproject.toml and the lock are for {wanted}")


def _locked(root: Path) -> dict[str, str]:
    path = root / "requirements.lock"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.MULTILINE))
