"""This repository's own tree: it holds together, its expressions say what they should, a release changes one file."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipelines.environments import read_environments
from pipelines.git.repository import Repository
from pipelines.gitops.check import check_tree
from pipelines.gitops.expressions import expressions
from pipelines.gitops.flux import Applied, Cluster, read_clusters, sample_release
from pipelines.gitops.kustomize import build
from pipelines.gitops.schemas import SchemaFolder
from pipelines.gitops.tree import schemas_folder
from pipelines.release.release import release_path
from pipelines.release.releases import Releases
from pipelines.usecase import usecase_names

ROOT = Path(__file__).parents[2]
SAMPLES = [yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "samples").glob("*.yaml"))]
POLICY = "ValidatingAdmissionPolicy"


@pytest.fixture(scope="module")
def clusters() -> list[Cluster]:
    return read_clusters(ROOT)


@pytest.fixture(scope="module")
def everything(clusters):
    return [expression for cluster in clusters for expression in expressions(cluster)]


def test_the_tree_holds_together():
    report = check_tree(ROOT)
    assert [str(finding) for finding in report.findings] == []


def test_every_overlay_of_every_model_builds(clusters):
    applied = {each.path: each for cluster in clusters for each in cluster.applied}
    for usecase in usecase_names(ROOT):
        for environment in read_environments(ROOT).names:
            overlay = applied[f"apps/{usecase}/{environment}"]
            assert overlay.problem == ""
            assert {"Deployment", "Service", "HTTPRoute"} <= {found["kind"] for found in overlay.objects}


# --- what decides whether Flux goes on


def test_every_health_check_has_samples(everything):
    checks = [each for each in everything if each.place.startswith("healthCheckExprs")]
    assert checks
    for check in checks:
        assert any(is_about(check, sample) for sample in SAMPLES), f"no sample of {check.group} {check.kind}"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample['group']}/{sample.get('kind', 'any')}")
def test_a_health_check_tells_ready_from_not_yet_and_from_failed(sample, everything):
    current = [each for each in everything if is_about(each, sample) and each.place.endswith(".current")]
    assert current
    for check in current:
        assert check.evaluate(sample["ready"]) is True
        assert check.evaluate(sample["progressing"]) is False
        assert check.evaluate(sample["failed"]) is False
        assert check.evaluate({"metadata": {"generation": 1}}) is False, "an object without status is not ready"


def is_about(check, sample) -> bool:
    return check.group == sample["group"] and check.kind == sample.get("kind", "")


# --- copies of databases


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp", "keys"])
def test_with_the_line_of_a_cloud_every_database_is_copied_to_its_bucket(cloud):
    objects = build(ROOT / "infrastructure" / "profiles" / "full" / "platform", [f"../../../platform/backups/{cloud}"])
    stores = {each["metadata"]["namespace"]: each["spec"] for each in objects if each["kind"] == "ObjectStore"}
    databases = [each for each in objects if each["kind"] == "Cluster"]
    assert len(databases) == 2
    for database in databases:
        configuration = stores[database["metadata"]["namespace"]]["configuration"]
        assert configuration["destinationPath"] == "${BACKUP_URI}"
        assert [key for key in configuration if key.endswith("Credentials")], "it has to log in somehow"
        faults = SchemaFolder(schemas_folder(ROOT)).errors(database)
        assert [fault for fault in faults if "'${" not in fault] == [], "but for numbers that are not filled in yet"


# --- what the API server refuses


def pod(**changes) -> dict:
    container = {
        "name": "model-server",
        "image": f"registry.example.com/m@sha256:{'a' * 64}",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    container |= {key: value for key, value in changes.items() if key in container}
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True},
        "containers": [container],
    }
    return spec | {key: value for key, value in changes.items() if key not in container}


def refusals(clusters: list[Cluster], spec: dict, kind: str) -> int:
    """How many of the policies' rules a Pod or a Deployment with this spec breaks."""
    import cel

    subject = {"kind": kind, "spec": spec if kind == "Pod" else {"template": {"spec": spec}}}
    policies = {
        found["metadata"]["name"]: found["spec"]
        for cluster in clusters
        for _, found in cluster.objects()
        if found["kind"] == POLICY
    }
    broken = 0
    for policy in policies.values():
        variables: dict = {}
        for variable in policy["variables"]:
            known = {"object": subject, "variables": variables}
            variables[variable["name"]] = cel.compile(variable["expression"]).execute(known)
        for rule in policy["validations"]:
            known = {"object": subject, "variables": variables}
            broken += cel.compile(rule["expression"]).execute(known) is not True
    return broken


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_the_policies_let_a_careful_server_in_and_no_other(clusters, kind):
    assert refusals(clusters, pod(), kind) == 0
    assert refusals(clusters, pod(image="m:latest"), kind) == 1
    assert refusals(clusters, pod(resources={}), kind) == 2
    assert refusals(clusters, pod(securityContext={"readOnlyRootFilesystem": False}), kind) >= 1
    careless = {"name": "wait", "image": "busybox", "resources": {}, "securityContext": {}}
    assert refusals(clusters, pod(initContainers=[careless]), kind) >= 3


# --- a release


@pytest.fixture
def origin(tmp_path) -> Path:
    """A bare repository with this tree in it."""
    checkout = tmp_path / "checkout"
    for folder in ("apps", "clusters", "infrastructure"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "the tree"]):
        subprocess.run(["git", *words], cwd=checkout, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", checkout, tmp_path / "origin.git"], check=True)
    return tmp_path / "origin.git"


def test_a_bump_changes_one_file_and_the_build_shows_it(origin, tmp_path):
    usecase, digest = "flight-delays", "7" * 64
    release = sample_release(usecase).model_copy(update={"image": f"r.example.com/flight-delays@sha256:{digest}"})
    releases = Releases(Repository(str(origin), "main", tmp_path / "cache.git"))
    assert releases.bump(usecase, "staging", release, "a test")
    changed = subprocess.run(
        ["git", "show", "--name-only", "--format=", "main"], cwd=origin, capture_output=True, text=True, check=True
    ).stdout.split()
    assert changed == [release_path(usecase, "staging")]
    assert releases.bump(usecase, "staging", release, "the same again") is None

    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", origin, clone], check=True)
    applied = {each.path: each for cluster in read_clusters(clone) for each in cluster.applied}
    assert images(applied[f"apps/{usecase}/staging"]) == [release.image]
    assert not applied[f"apps/{usecase}/staging"].is_sample
    assert applied[f"apps/{usecase}/production"].is_sample, "production waits for its pull request"


def images(applied: Applied) -> list[str]:
    return [
        container["image"]
        for found in applied.objects
        if found["kind"] == "Deployment"
        for container in found["spec"]["template"]["spec"]["containers"]
    ]
