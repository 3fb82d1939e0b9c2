"""A use case's pipeline as it is compiled into Git: stable, sized, with its secrets where they belong, versioned."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.pipeline.compiling.compiled import compile_pipeline
from pipelines.pipeline.compiling.files import ImagesInvalid, pipeline_files, read_images, runs_pipelines
from pipelines.pipeline.compiling.objects import pipeline, pipeline_version, schedule
from pipelines.pipeline.isolation import NotShared, require_shared_stores
from pipelines.settings import Settings
from pipelines.usecase import UseCase, load_usecase
from pipelines.usecase.load import UsecaseInvalid

ROOT = Path(__file__).parents[2]
NAME = "flight-delays"
IMAGE = "registry.example.com/mlops/pipeline:1"
STEPS = ("snapshot", "validate", "train", "evaluate", "gate", "register", "package", "release")


@pytest.fixture(scope="module")
def usecase() -> UseCase:
    return load_usecase(ROOT, NAME, "staging")


@pytest.fixture(scope="module")
def compiled(usecase):
    return compile_pipeline(usecase, IMAGE)


def changed(usecase: UseCase, **section) -> UseCase:
    values = usecase.model_dump(mode="json", exclude_unset=True)
    values["pipeline"] = {**values.get("pipeline", {}), **section}
    return UseCase.model_validate(values, strict=False)


def container(compiled, step):
    return compiled.spec["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def pod(compiled, step):
    return compiled.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-{step}"]


def tasks(compiled):
    graph = dict(compiled.spec["root"]["dag"]["tasks"])
    condition = compiled.spec["components"]["comp-condition-1"]["dag"]["tasks"]
    return {name: task for name, task in {**graph, **condition}.items() if name in STEPS}


def test_another_process_compiles_the_same_bytes(compiled):
    program = (
        "from pathlib import Path; from pipelines.pipeline.compiling.compiled import compile_pipeline;"
        "from pipelines.usecase import load_usecase;"
        f"print(compile_pipeline(load_usecase(Path('.'), {NAME!r}, 'staging'), {IMAGE!r}).version)"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout
    assert said.strip() == compiled.version


def test_whatever_would_run_otherwise_is_another_version(usecase, compiled):
    others = [
        compile_pipeline(usecase, "registry.example.com/mlops/pipeline:2"),
        compile_pipeline(changed(usecase, memory="3Gi"), IMAGE),
        compile_pipeline(changed(usecase, pool="gpu"), IMAGE),
        compile_pipeline(changed(usecase, secrets={"PASSWORD": {"name": "a", "key": "b"}}), IMAGE),
    ]
    assert len({compiled.version, *(other.version for other in others)}) == 5


def test_every_step_runs_in_the_image_and_none_out_of_a_cache(compiled):
    assert sorted(tasks(compiled)) == sorted(STEPS)
    for step, task in tasks(compiled).items():
        assert container(compiled, step)["image"] == IMAGE
        assert "enableCache" not in task["cachingOptions"]


def test_a_step_waits_for_nothing_but_what_it_is_given(compiled):
    for step, task in tasks(compiled).items():
        sources = [*task["inputs"].get("artifacts", {}).values(), *task["inputs"]["parameters"].values()]
        given = {
            next(iter(source.values()))["producerTask"] for source in sources if "taskOutput" in next(iter(source))
        }
        assert set(task.get("dependentTasks", [])) == given, step


def test_steps_have_the_size_the_patience_and_the_nodes_that_usecase_yaml_says(usecase):
    train = {"cpu": "4", "memory": "8Gi", "gpus": 1, "timeout": "6h", "retries": 0, "pool": "training"}
    compiled = compile_pipeline(changed(usecase, memory="1Gi", timeout="30m", steps={"train": train}), IMAGE)
    sized = container(compiled, "train")["resources"]
    assert (sized["resourceCpuRequest"], sized["resourceMemoryRequest"]) == ("4", "8Gi")
    assert sized["resourceMemoryLimit"] == "8Gi"
    assert sized["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert "retryPolicy" not in tasks(compiled)["train"]
    assert pod(compiled, "train")["activeDeadlineSeconds"] == "21600"
    assert pod(compiled, "train")["nodeSelector"]["labels"] == {"mlops-blueprint/pool": "training"}
    (toleration,) = pod(compiled, "train")["tolerations"]
    assert toleration | {"operator": "Equal"} == {
        "key": "mlops-blueprint/pool",
        "operator": "Equal",
        "value": "training",
        "effect": "NoSchedule",
    }
    assert container(compiled, "gate")["resources"]["resourceMemoryRequest"] == "1Gi"
    assert tasks(compiled)["gate"]["retryPolicy"]["maxRetryCount"] == 2
    assert pod(compiled, "gate")["activeDeadlineSeconds"] == "1800"
    assert "nodeSelector" not in pod(compiled, "gate")


def test_the_steps_with_a_model_author_s_code_have_no_key_that_could_release(usecase):
    compiled = compile_pipeline(changed(usecase, secrets={"PASSWORD": {"name": "warehouse", "key": "pw"}}), IMAGE)
    mounted = {step: {entry["secretName"] for entry in pod(compiled, step).get("secretAsVolume", [])} for step in STEPS}
    assert mounted["snapshot"] == mounted["train"] == mounted["validate"] == mounted["gate"] == set()
    assert mounted["release"] == mounted["register"] == {"mlops-git"}
    assert mounted["package"] == mounted["evaluate"] == {"mlops-git", "registry-login"}
    with_password = [
        step
        for step in STEPS
        if "warehouse" in {entry["secretName"] for entry in pod(compiled, step).get("secretAsEnv", [])}
    ]
    assert with_password == ["snapshot"]
    for step in STEPS:
        assert pod(compiled, step)["securityContext"]["runAsNonRoot"] is True


def test_a_pipeline_s_own_settings_are_not_a_use_case_s_to_set(tmp_path):
    shutil.copytree(ROOT / "apps" / NAME, tmp_path / "apps" / NAME)
    path = tmp_path / "apps" / NAME / "usecase.yaml"
    text = path.read_text()
    for name, words in (("MLOPS_REMOTE", "is a setting of the pipeline itself"), ("pass-word", "cannot be one")):
        own = f"pipeline: {{secrets: {{{name}: {{name: a, key: b}}}}}}\n"
        lines = [own if line.startswith("pipeline:") else line for line in text.splitlines(keepends=True)]
        path.write_text("".join(lines))
        with pytest.raises(UsecaseInvalid, match=words):
            load_usecase(tmp_path, NAME, "staging")


def test_the_objects_name_each_other(usecase, compiled):
    named, version = pipeline(usecase, compiled), pipeline_version(usecase, compiled)
    assert named["metadata"]["name"] == version["spec"]["pipelineName"] == compiled.spec["pipelineInfo"]["name"] == NAME
    assert named["spec"]["tags"]["version"] == version["metadata"]["name"] == compiled.version
    assert version["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_a_schedule_is_the_command_that_people_type(usecase):
    cron = schedule(usecase, "staging", IMAGE)
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert cron["spec"]["schedule"] == "0 3 * * 1"
    assert container["args"][:2] == ["run", NAME]
    assert container["args"][-3:] == ["--runner", "kubeflow", "--detach"]
    values = usecase.model_dump(mode="json", exclude_unset=True)
    suspended = {**values, "retrain": {**values["retrain"], "suspended": True}}
    assert schedule(UseCase.model_validate(suspended, strict=False), "staging", IMAGE)["spec"]["suspend"] is True
    without = {**values, "retrain": {"on": []}}
    assert schedule(UseCase.model_validate(without, strict=False), "staging", IMAGE) is None


@pytest.fixture
def cluster(tmp_path):
    shutil.copytree(ROOT / "apps" / NAME, tmp_path / "apps" / NAME)
    (tmp_path / "clusters" / "staging" / "pipelines").mkdir(parents=True)
    return tmp_path


def name_images(root, data):
    path = root / "clusters" / "staging" / "pipelines" / "images.yaml"
    path.write_text(yaml.safe_dump({"data": data}) if data is not None else "nothing")


def test_a_cluster_that_names_no_images_runs_no_pipelines(cluster):
    assert not runs_pipelines(cluster, "staging")
    name_images(cluster, {"default": IMAGE})
    assert runs_pipelines(cluster, "staging")
    files = dict(pipeline_files(cluster, "staging", [NAME]))
    listing = yaml.safe_load(files["clusters/staging/pipelines/kustomization.yaml"])
    assert listing["resources"] == ["images.yaml", f"{NAME}.yaml", f"{NAME}-version.yaml"]
    second = yaml.safe_load(files[f"clusters/staging/pipelines/{NAME}-version.yaml"])
    assert second["spec"]["dependsOn"] == [{"name": f"{NAME}-pipeline"}]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "is no ConfigMap with images"),
        ({"tensorflow": IMAGE}, "data.default is missing"),
        ({"default": "not an image"}, "data.default"),
    ],
)
def test_images_that_cannot_be_are_told_by_file_and_key(cluster, data, words):
    name_images(cluster, data)
    with pytest.raises(ImagesInvalid, match=words) as refused:
        read_images(cluster, "staging")
    assert "clusters/staging/pipelines/images.yaml" in refused.value.message


def test_an_image_that_a_cluster_does_not_have_is_told(cluster):
    path = cluster / "apps" / NAME / "usecase.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join("pipeline: {image: tensorflo}\n" if x.startswith("pipeline:") else x for x in lines))
    name_images(cluster, {"default": IMAGE, "tensorflow": IMAGE})
    with pytest.raises(ImagesInvalid, match=r"'tensorflo', which the cluster staging does not have \(did you mean"):
        list(pipeline_files(cluster, "staging", [NAME]))


SHARED = {
    "MLOPS_TRACKING_URI": "http://mlflow:5000",
    "MLOPS_SNAPSHOTS": "s3://mlops/snapshots",
    "MLOPS_REMOTE": "https://git.example.com/team/mlops.git",
    "MLOPS_IMAGES": "registry.example.com/models",
    "MLOPS_BASE_IMAGE": "registry.example.com/base:1",
}


@pytest.mark.parametrize("missing", ["MLOPS_TRACKING_URI", "MLOPS_SNAPSHOTS", "MLOPS_REMOTE", "MLOPS_IMAGES"])
def test_a_store_on_a_container_s_own_disk_is_refused_before_anything_is_trained(missing, tmp_path):
    environ = {key: value for key, value in SHARED.items() if key != missing}
    with pytest.raises(NotShared, match=missing):
        require_shared_stores(Settings.load(environ, root=ROOT, home=tmp_path))
    require_shared_stores(Settings.load(SHARED, root=ROOT, home=tmp_path))
