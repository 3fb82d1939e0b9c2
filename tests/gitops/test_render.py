"""What a use case says reaches the cluster's objects, with the right type, and nothing of it is written by hand."""

import shutil
from pathlib import Path

import pytest
import yaml

from pipelines.environments import read_environments
from pipelines.gitops import kustomize
from pipelines.gitops.render import deployed_models, render, rendered_files, stale_files
from pipelines.release.release import Release
from pipelines.usecase import usecase_names
from pipelines.usecase.load import UsecaseInvalid
from pipelines.usecase.new import new_usecase

ROOT = Path(__file__).parents[2]
RELEASE = Release(
    bento="my-model:7",
    image=f"registry.example.com/models/my-model@sha256:{'5' * 64}",
    model="my-model/7",
    run="12345678901234567890123456789012",
    data="089123456789",
    code="81234567e12",
    metrics={"accuracy": 0.9},
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "apps").mkdir()
    shutil.copytree(ROOT / "apps" / "components", tmp_path / "apps" / "components")
    new_usecase(tmp_path, "my-model", "tabular")
    return tmp_path


def set_serving(root, text, environment=None):
    folder = root / "apps" / "my-model"
    if environment:
        (folder / environment / "overrides.yaml").write_text(f"apiVersion: mlops-blueprint/v1\nserving: {text}\n")
        return
    lines = (folder / "usecase.yaml").read_text().splitlines()
    kept = [f"serving: {text}" if line.startswith("serving:") else line for line in lines]
    (folder / "usecase.yaml").write_text("\n".join(kept) + "\n")


def build(root, environment):
    folder = root / "apps" / "my-model" / environment
    (folder / "release.yaml").write_text(RELEASE.to_yaml())
    return {document["kind"]: document for document in kustomize.build(folder)}


def test_the_repository_s_own_files_are_fresh():
    assert stale_files(ROOT) == []


def test_a_new_use_case_builds_in_every_environment(root):
    render(root)
    for environment in read_environments(ROOT).names:
        objects = build(root, environment)
        assert {found["metadata"].get("namespace", "my-model") for found in objects.values()} == {"my-model"}
        assert objects["Namespace"]["metadata"]["name"] == "my-model"
        labels = {found["metadata"]["labels"]["mlops-blueprint/usecase"] for found in objects.values()}
        assert labels == {"my-model"}


def test_the_numbers_of_usecase_yaml_arrive_as_what_they_are(root):
    set_serving(root, "{replicas: [3, 9], cpu: 1500m, memory: 2Gi, timeout: 2m, p99_ms: 80}")
    render(root)
    objects = build(root, "staging")
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "1500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}
    assert pod["terminationGracePeriodSeconds"] == 150
    assert objects["HTTPRoute"]["spec"]["rules"][0]["timeouts"]["request"] == "120s"


def test_whole_cores_stay_a_quantity(root):
    set_serving(root, '{replicas: [1, 1], cpu: "2", memory: 512Mi}')
    render(root)
    pod = build(root, "staging")["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["requests"]["cpu"] == "2"


def test_the_grace_period_covers_the_longest_request(root):
    for seconds in (1, 10, 600):
        set_serving(root, f"{{timeout: {seconds}s}}")
        render(root)
        pod = build(root, "production")["Deployment"]["spec"]["template"]["spec"]
        pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] > pause + seconds


def test_an_environment_s_overrides_hold_there_alone(root):
    set_serving(root, "{replicas: [4, 6]}", "local")
    render(root)
    assert build(root, "local")["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 4
    assert build(root, "staging")["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 1


def test_the_release_is_on_the_pods_and_ids_stay_texts(root):
    render(root)
    template = build(root, "staging")["Deployment"]["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == RELEASE.image
    assert template["metadata"]["annotations"] == {
        "mlops-blueprint/bento": "my-model:7",
        "mlops-blueprint/model": "my-model/7",
        "mlops-blueprint/run": "12345678901234567890123456789012",
        "mlops-blueprint/data": "089123456789",
        "mlops-blueprint/code": "81234567e12",
    }


def test_the_use_case_s_own_variables_are_not_flux_s(root):
    render(root)
    usecase = build(root, "local")["ConfigMap"]
    assert usecase["metadata"]["annotations"] == {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    assert set(usecase["data"]) == {"usecase.yaml", "overrides.yaml"}


def test_input_to_kustomize_does_not_reach_the_cluster(root):
    render(root)
    assert build(root, "staging")["ConfigMap"]["metadata"]["name"] == "usecase"


def test_stale_files_are_named_and_written(root):
    assert len(render(root)) == 3
    assert render(root) == stale_files(root) == []
    set_serving(root, "{replicas: [2, 3]}")
    (root / "apps" / "my-model" / "staging" / "settings.yaml").unlink()
    stale = [f"apps/my-model/{environment}/settings.yaml" for environment in read_environments(ROOT).names]
    assert stale_files(root) == stale
    assert render(root) == stale
    assert stale_files(root) == []


def test_a_cluster_s_line_brings_the_model_s_file(root):
    cluster = root / "clusters" / "staging"
    cluster.mkdir(parents=True)
    (cluster / "kustomization.yaml").write_text("resources:\n  - platform.yaml\n  - models/my-model.yaml\n")
    assert deployed_models(root, "staging") == ["my-model"]
    assert "clusters/staging/models/my-model.yaml" in render(root)
    written = yaml.safe_load((cluster / "models" / "my-model.yaml").read_text())
    assert written["spec"]["path"] == "./apps/my-model/staging"


def test_an_invalid_use_case_writes_nothing(root):
    render(root)
    before = (root / "apps" / "my-model" / "staging" / "settings.yaml").read_text()
    set_serving(root, "{replicas: [9, 1]}")
    with pytest.raises(UsecaseInvalid, match=r"serving\.replicas"):
        render(root)
    assert (root / "apps" / "my-model" / "staging" / "settings.yaml").read_text() == before


def test_every_file_is_rendered_once():
    paths = [file.path for file in rendered_files(ROOT)]
    assert len(paths) == len(set(paths))
    assert sum(path.endswith("/settings.yaml") for path in paths) == len(usecase_names(ROOT)) * len(
        read_environments(ROOT).names
    )
