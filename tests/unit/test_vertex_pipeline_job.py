"""The compiled pipeline in Vertex AI's terms."""

from pathlib import Path

import pytest
import yaml

from pipelines.pipeline.compiling.compiled import compile_pipeline
from pipelines.runs.request import RunRequest
from pipelines.usecase import load_usecase
from pipelines.vertex.config import VertexConfig
from pipelines.vertex.errors import PipelineNotForVertex
from pipelines.vertex.pipeline_job import JOB_NAME, SCHEDULED, image_of, pipeline_job
from tests.pipeline_cases import NAME, USECASE

IMAGE = f"europe-west4-docker.pkg.dev/example-ml/models/pipeline@sha256:{'e' * 64}"
STEPS = ("snapshot", "validate", "train", "evaluate", "gate", "register", "package", "release")
GIT = "projects/1/secrets/git/versions/3"
REGISTRY = "projects/1/secrets/registry/versions/latest"
MLFLOW = "projects/1/secrets/mlflow/versions/1"


def usecase(root: Path, **changes):
    folder = root / "apps" / NAME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text("")
    (folder / "usecase.yaml").write_text(yaml.safe_dump({**USECASE, **changes}))
    return load_usecase(root, NAME)


def config(**changes) -> VertexConfig:
    pipelines = {
        "bucket": "gs://example-ml/pipelines",
        "images": {"default": IMAGE},
        "service_account": "vertex@example-ml.iam.gserviceaccount.com",
        "variables": {"MLOPS_TRACKING_URI": "https://mlflow.example.com"},
        "secrets": {"MLOPS_GIT_TOKEN": GIT, "MLOPS_REGISTRY_PASSWORD": REGISTRY, "MLFLOW_TRACKING_TOKEN": MLFLOW},
    }
    where = {"apiVersion": "mlops-blueprint/v1", "project": "example-ml", "region": "europe-west4"}
    given = where | {"pipelines": pipelines | changes}
    return VertexConfig.model_validate(given)


def job(root: Path, run_id: str = "tiny-20261121-120000-3fa9", settings: VertexConfig | None = None, **changes) -> dict:
    found = usecase(root, **changes)
    request = RunRequest(usecase=NAME, run_id=run_id, environment="staging")
    return pipeline_job(found, compile_pipeline(found, IMAGE).spec, request, settings or config())


def containers(body: dict) -> dict[str, dict]:
    executors = body["pipelineSpec"]["deploymentSpec"]["executors"]
    return {step: executors[f"exec-{step}"]["container"] for step in STEPS}


def before(container: dict) -> list[str]:
    return container["command"][: container["command"].index("--")]


def test_every_step_runs_in_the_image_that_git_names(tmp_path):
    assert {each["image"] for each in containers(job(tmp_path)).values()} == {IMAGE}


def test_nothing_is_cached(tmp_path):
    spec = job(tmp_path)["pipelineSpec"]
    dags = [spec["root"], *spec["components"].values()]
    tasks = [task for dag in dags for task in dag.get("dag", {}).get("tasks", {}).values()]
    assert len(tasks) >= len(STEPS)
    assert all(task["cachingOptions"] == {"enableCache": False} for task in tasks)


def test_a_step_finds_its_stores_by_variables_and_knows_that_it_is_alone(tmp_path):
    for container in containers(job(tmp_path)).values():
        given = {entry["name"]: entry["value"] for entry in container["env"]}
        assert given["MLOPS_TRACKING_URI"] == "https://mlflow.example.com"
        assert given["MLOPS_STEPS_APART"] == "1"
        assert "DOCKER_CONFIG" not in given  # a folder that Kubernetes mounts


def test_the_code_of_a_use_case_is_not_given_the_keys_to_git_or_the_registry(tmp_path):
    given = {step: set(before(container)) for step, container in containers(job(tmp_path)).items()}
    with_git = {step for step, words in given.items() if f"MLOPS_GIT_TOKEN={GIT}" in words}
    with_registry = {step for step, words in given.items() if f"MLOPS_REGISTRY_PASSWORD={REGISTRY}" in words}
    with_mlflow = {step for step, words in given.items() if f"MLFLOW_TRACKING_TOKEN={MLFLOW}" in words}
    assert with_git == {"evaluate", "register", "package", "release"}
    assert with_registry == {"evaluate", "package"}
    assert with_mlflow == set(STEPS)


def test_a_secret_itself_is_nowhere_in_the_job(tmp_path):
    for container in containers(job(tmp_path)).values():
        assert not [entry for entry in container["env"] if "TOKEN" in entry["name"] or "PASSWORD" in entry["name"]]


def test_a_use_case_s_own_secret_goes_to_the_step_that_loads(tmp_path):
    needs = {"secrets": {"WAREHOUSE_PASSWORD": {"name": "warehouse", "key": "password"}}}
    own = config(secrets={"WAREHOUSE_PASSWORD": GIT})
    given = {step: before(each) for step, each in containers(job(tmp_path, settings=own, pipeline=needs)).items()}
    assert [step for step, words in given.items() if f"WAREHOUSE_PASSWORD={GIT}" in words] == ["snapshot"]


def test_a_secret_that_the_environment_does_not_have(tmp_path):
    needs = {"secrets": {"WAREHOUSE_PASSWORD": {"name": "warehouse", "key": "password"}}}
    with pytest.raises(PipelineNotForVertex, match="WAREHOUSE_PASSWORD"):
        job(tmp_path, pipeline=needs)


def test_time_limits_are_those_of_usecase_yaml(tmp_path):
    needs = {"timeout": "30m", "steps": {"train": {"timeout": "6h"}}}
    limits = {
        step: words[words.index("--limit") + 1]
        for step, words in ((step, before(each)) for step, each in containers(job(tmp_path, pipeline=needs)).items())
    }
    assert limits["train"] == "21600"
    assert limits["snapshot"] == "1800"


def test_a_scheduled_run_is_named_by_vertex_and_any_other_by_its_request(tmp_path):
    named = [JOB_NAME in container["command"] for container in containers(job(tmp_path, run_id=SCHEDULED)).values()]
    assert all(named)
    assert not any(JOB_NAME in container["command"] for container in containers(job(tmp_path)).values())


def test_kfp_s_own_command_is_left_as_it_is(tmp_path):
    found = usecase(tmp_path)
    compiled = compile_pipeline(found, IMAGE).spec["deploymentSpec"]["executors"]
    for step, container in containers(job(tmp_path)).items():
        after = container["command"][container["command"].index("--") + 1 :]
        assert after == compiled[f"exec-{step}"]["container"]["command"]
        assert container["args"] == compiled[f"exec-{step}"]["container"]["args"]


def test_sizes_and_retries_of_usecase_yaml_come_along(tmp_path):
    body = job(tmp_path, pipeline={"steps": {"train": {"cpu": "4", "memory": "8Gi"}}, "retries": 1})
    resources = containers(body)["train"]["resources"]
    assert "4" in str(resources)
    assert body["pipelineSpec"]["root"]["dag"]["tasks"]["train"]["retryPolicy"]["maxRetryCount"] == 1


def test_gpus_of_kubernetes_are_refused_and_not_left_out(tmp_path):
    with pytest.raises(PipelineNotForVertex, match="train asks for GPUs"):
        job(tmp_path, pipeline={"steps": {"train": {"gpus": 1}}})


def test_an_image_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(PipelineNotForVertex, match="it has: default"):
        image_of(usecase(tmp_path, pipeline={"image": "tensorflow"}), config().pipelines, "staging")


def test_a_key_encrypts_the_job(tmp_path):
    key = "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"
    assert job(tmp_path, settings=config().model_copy(update={"key": key}))["encryptionSpec"] == {"kmsKeyName": key}
