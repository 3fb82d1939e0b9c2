"""The production path on a real cluster: Flux delivers a pipeline, its schedule starts it, each step is a pod, the
release is a commit made in the cluster, and Flux rolls it out.

Two things stand in for what cannot be had here: a fake of Kubeflow's API server that hands the run to this process, and
pods made by us from the compiled pipeline (tests/e2e/pods.py). API server, Flux, Git server, registry, MLflow and S3
are real. The tests tell one story and run in their order.
"""

import json
import shutil
import urllib.request
from pathlib import Path

import pytest
import yaml

from bento.signature import GOLDEN_FILE
from pipelines.embedded.origin import ensure_origin
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import Verdict
from pipelines.packaging.bentos import fetch_bento
from pipelines.pipeline.compiling.objects import NAMESPACE
from pipelines.release.releases import open_releases
from pipelines.runners.local import LocalRunner
from pipelines.runners.runner import run_to_end
from pipelines.runs.request import RunRequest, new_run_id
from pipelines.runs.shared_journal import SharedJournal
from pipelines.settings import Settings
from tests.e2e.cluster import FLUX, ROOT, ClusterError, is_ready, wait_for
from tests.e2e.pods import Pods, logs_of_job
from tests.e2e.tree import ENVIRONMENT, Tree
from tests.fake_kubeflow import fake_kubeflow
from tests.kfp_backend import Backend
from tests.kubeflow_cases import STEPS
from tests.pipeline_cases import git
from tests.pipeline_image import pipeline_image
from tests.stores import BUCKET, stores

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

WINES = "wines"
ROLLOUT = 120.0
DELIVERER = ("deliverer", "deliverer-role", "deliverer-rolebinding")


@pytest.fixture(scope="module")
def host(tree):
    """This machine, as pods see it."""
    nodes = json.loads(tree.cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    addresses = nodes[0]["status"]["addresses"]
    return next(each["address"] for each in addresses if each["type"] == "InternalIP")


@pytest.fixture(scope="module")
def ran():
    """What was asked of the run in the cluster, once there was one."""
    return {}


@pytest.fixture(scope="module")
def shared(host, tmp_path_factory):
    with stores(tmp_path_factory.mktemp("stores"), host) as running:
        yield running


@pytest.fixture(scope="module")
def world(tree: Tree, host, shared, tmp_path_factory):
    """The tree with a use case whose pipeline is in Git, applied by Flux; the namespace with its settings."""
    tree.mlops("new", WINES, "--template", "tabular")
    path = tree.folder / "apps" / WINES / "usecase.yaml"
    asked = yaml.safe_load(path.read_text())
    asked["pipeline"] = {"memory": "1Gi", "cpu": "100m", "steps": {"train": {"pool": "training", "cpu": "200m"}}}
    asked["retrain"] = {"schedule": "0 3 * * 1"}
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    image = pipeline_image(tree.folder / "apps", tmp_path_factory.mktemp("image")).push(tree.cluster.registry)
    _list(tree, f"models/{WINES}.yaml", "pipelines")
    images = tree.folder / "clusters" / ENVIRONMENT / "pipelines" / "images.yaml"
    images.parent.mkdir()
    staging = (ROOT / "clusters" / "staging" / "pipelines" / "images.yaml").read_text()
    described = yaml.safe_load(staging)
    images.write_text(yaml.safe_dump({**described, "data": {"default": image, "tensorflow": image}}, sort_keys=False))
    tree.mlops("render")
    tree.push("Wines, and where they are trained")
    _namespace(tree, host, shared)
    tree.bootstrap()
    _without_platform(tree)
    wait_for("the root Kustomization", lambda: is_ready(tree.cluster.get("kustomization", FLUX)), 60)
    yield tree
    tree.cluster.kubectl("delete", "cronjobs,jobs,pods", "--all", "-n", NAMESPACE, "--wait=false")
    tree.remove()
    tree.cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_flux_delivers_the_pipeline_with_the_rights_for_that_and_no_more(world):
    version = wait_for("the version", lambda: _delivered_version(world), 90)
    assert version["spec"]["pipelineName"] == WINES
    committed = world.folder / "apps" / WINES / ENVIRONMENT / "pipeline-version" / "pipelineversion.yaml"
    assert version["spec"]["pipelineSpec"] == yaml.safe_load(committed.read_text())["spec"]["pipelineSpec"]
    assert world.cluster.get("cronjob", f"run-{WINES}", NAMESPACE)["spec"]["suspend"] is False
    for verb, kind, namespace, may in (
        ("create", "pipelineversions.pipelines.kubeflow.org", NAMESPACE, "yes"),
        ("create", "pods", NAMESPACE, "no"),
        ("get", "secrets", NAMESPACE, "no"),
        ("create", "cronjobs", WINES, "no"),
    ):
        assert _may(world, verb, kind, namespace) == may, (verb, kind, namespace)


def test_the_schedule_s_job_runs_the_pipeline_to_a_release_that_flux_rolls_out(world, host, shared, ran):
    pods = Pods(world.cluster, f"s3://{BUCKET}/v2/artifacts", shared.bucket)
    pods.prepare()
    version = _delivered_version(world)
    done = {}

    def script(run):
        backend = Backend(version["spec"]["pipelineSpec"], version["spec"]["platformSpec"], pods)

        def told(step, task):
            if task is None:
                run.begin(step)
            else:
                run.end(step, "SUCCEEDED" if task.status == 0 else "FAILED", log=task.log)

        done.update(backend.run(run.request["run_id"], run.request, told))
        run.finish("SUCCEEDED" if done[list(done)[-1]].status == 0 else "FAILED")

    with fake_kubeflow(script, host=host) as fake:
        fake.deliver([world.cluster.get("pipelines.pipelines.kubeflow.org", WINES, NAMESPACE), version])
        _serve_at_its_name(world, fake.url)
        world.cluster.kubectl("create", "job", "by-hand", f"--from=cronjob/run-{WINES}", "-n", NAMESPACE)
        began = wait_for("the run", lambda: _first(fake.runs) or _fail_if_failed(world, "by-hand"), 120)
        wait_for("its end", lambda: began.run.state in ("SUCCEEDED", "FAILED"), 900)

    ran.update(began.request)
    last = list(done)[-1]
    assert list(done) == STEPS, done[last].log[-3000:]
    assert began.run.state == "SUCCEEDED", done[last].log[-3000:]
    release = world.release(WINES)
    assert release["bento"] == f"{WINES}:1"
    assert release["code"] == "c0de" * 10
    assert "schedule" in world.git("log", "-1", "--format=%B", "origin/main")
    journal = SharedJournal(shared.tracking_uri, WINES, began.request["run_id"])
    assert journal.records_of("train")[-1].event == "finished"
    wait_for("the rollout", lambda: _serves(world), ROLLOUT)
    assert _predict(world, release["image"])["release"]["bento"] == f"{WINES}:1"


def test_a_run_on_this_machine_answers_the_same(world, shared, ran, tmp_path):
    """Pods in the pipeline's image on one side, processes in this environment on the other."""
    root = tmp_path / "checkout"
    # Without the release that the pods have made, which would be this run's champion.
    shutil.copytree(world.folder, root, ignore=shutil.ignore_patterns(".git", "release.yaml"))
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "start")
    settings = Settings.load({}, root=root, home=tmp_path / "home")
    ensure_origin(Path(settings.remote), root, settings.branch)
    asked = RunRequest(usecase=WINES, run_id=new_run_id(WINES), environment=ENVIRONMENT, code="c0de" * 10)
    here = run_to_end(LocalRunner(settings), asked, lambda _record: None)

    assert here.outcome == "released", here.error
    journal = SharedJournal(shared.tracking_uri, WINES, ran["run_id"])
    for step, kind in (("evaluate", Evaluation), ("gate", Verdict)):
        told = next(record for record in journal.records_of(step) if record.event == "finished")
        assert kind.from_values(told.result) == kind.from_values(here.results[step])
    own = open_releases(settings).current(WINES, ENVIRONMENT)
    there = open_releases(world.settings).current(WINES, ENVIRONMENT)
    assert (there.bento, there.model, there.data, there.metrics) == (own.bento, own.model, own.data, own.metrics)


def test_the_author_s_code_ran_where_no_key_was(world):
    for step, has_keys in (("snapshot", False), ("train", False), ("release", True)):
        found = json.loads(
            world.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"mlops-blueprint/step={step}", "-o", "json")
        )["items"]
        secrets = {volume["secret"]["secretName"] for volume in found[0]["spec"]["volumes"] if "secret" in volume}
        assert ("mlops-git" in secrets) is has_keys, step


def _namespace(tree, host, shared):
    apply = tree.cluster.apply
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for name in DELIVERER:
        file = ROOT / "infrastructure" / "platform" / "kubeflow-pipelines" / f"{name}.yaml"
        apply(yaml.safe_load(file.read_text()))
    inside = f"{host}:{tree.cluster.registry.rpartition(':')[2]}"
    base = tree.base_image.replace(tree.cluster.registry, inside)
    remote = tree.url.replace("127.0.0.1", host)
    settings = shared.settings(remote, base) | {
        "MLOPS_IMAGES": f"{inside}/models",
        "MLOPS_PLAIN_REGISTRIES": inside,
        "MLOPS_ENVIRONMENT": ENVIRONMENT,
    }
    apply(
        {"apiVersion": "v1", "kind": "ConfigMap", **_named("mlops-settings"), "data": settings},
        {"apiVersion": "v1", "kind": "Secret", **_named("object-store"), "stringData": shared.keys},
        {"apiVersion": "v1", "kind": "Secret", **_named("mlops-git"), "stringData": {"token": "nobody-asks"}},
    )
    tree.cluster.kubectl("label", "node", "--all", "--overwrite", "mlops-blueprint/pool=training")


def _without_platform(tree):
    """The stages are suspended on this cluster, so a pipeline waits for none of them; its version waits for it."""
    patch = {
        "target": {"group": "kustomize.toolkit.fluxcd.io", "kind": "Kustomization", "name": ".*-pipeline"},
        "patch": yaml.safe_dump([{"op": "remove", "path": "/spec/dependsOn"}]),
    }
    wanted = json.dumps([{"op": "add", "path": "/spec/patches/-", "value": patch}])
    tree.cluster.kubectl("patch", "kustomization", FLUX, "-n", FLUX, "--type=json", "-p", wanted)


def _list(tree, *lines):
    path = tree.folder / "clusters" / ENVIRONMENT / "kustomization.yaml"
    text = path.read_text()
    path.write_text(text.replace("resources:\n", "resources:\n" + "".join(f"  - {line}\n" for line in lines), 1))


def _delivered_version(tree):
    kinds = "pipelineversions.pipelines.kubeflow.org"
    items = json.loads(tree.cluster.kubectl("get", kinds, "-n", NAMESPACE, "-o", "json"))["items"]
    return next((each for each in items if each["spec"]["pipelineName"] == WINES), None)


def _may(tree, verb, kind, namespace):
    who = f"--as=system:serviceaccount:{FLUX}:pipelines"
    try:
        return tree.cluster.kubectl("auth", "can-i", verb, kind, "-n", namespace, who).strip()
    except ClusterError:
        return "no"


def _serve_at_its_name(tree, url):
    """The Service that CronJobs ask for, leading to the fake."""
    host, _, port = url.removeprefix("http://").partition(":")
    ports = [{"name": "http", "port": 8888, "targetPort": int(port)}]
    tree.cluster.apply(
        {"apiVersion": "v1", "kind": "Service", **_named("ml-pipeline"), "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "ml-pipeline",
                "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": "ml-pipeline"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": int(port)}],
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        },
    )


def _first(runs):
    return next(iter(runs.values()), None)


def _fail_if_failed(tree, job):
    status = tree.cluster.get("job", job, NAMESPACE).get("status", {})
    if status.get("failed"):
        pytest.fail(f"the job failed: {logs_of_job(tree.cluster, job)}")


def _named(name):
    return {"metadata": {"name": name, "namespace": NAMESPACE}}


def _serves(tree):
    found = tree.cluster.find("deployment", "model-server", WINES)
    status = (found or {}).get("status", {})
    return bool(found) and status.get("readyReplicas") == found["spec"]["replicas"]


def _predict(tree, image):
    # The same registry, by its address on this machine.
    bento = fetch_bento(tree.settings.bentos, f"{tree.cluster.registry}/{image.partition('/')[2]}")
    instances = json.loads((bento / "src" / "model" / GOLDEN_FILE).read_text())["instances"]
    address = tree.cluster.get("service", "model-server", WINES)["spec"]["clusterIP"]
    body = json.dumps({"instances": instances}).encode()
    request = urllib.request.Request(f"http://{address}/predict", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
