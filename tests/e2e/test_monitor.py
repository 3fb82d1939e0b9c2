"""The monitor as the pod that the tree declares, on a real PostgreSQL: it finds the models by the API server, takes
what their servers answered, and an alert that is posted to it ends in a commit that Flux rolls out.

The pipeline runs in the monitor's own pod here; on a cluster with Kubeflow Pipelines it would be asked to. What
External Secrets would make, Secrets and their copies, is made by hand. The tests tell one story and run in their order.
"""

import json
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
import yaml

from bento.signature import GOLDEN_FILE
from pipelines.packaging.bentos import fetch_bento
from pipelines.predictions.store.store import Store
from tests.databases import postgres
from tests.e2e.cluster import FLUX, ROOT, is_ready, wait_for
from tests.e2e.tree import ENVIRONMENT
from tests.pipeline_image import pipeline_image
from tests.stores import BUCKET, KEY, SECRET, mlflow_server, s3_server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

WINES, NAMESPACE, TOKEN = "wines", "mlops", "token-of-the-test"
PARTS = ROOT / "infrastructure" / "platform"
EXTRAS = ("monitor", "pipeline", "serve", "postgres", "s3")
ROLLOUT, RUN = 120.0, 600.0


def part(name: str) -> dict:
    return yaml.safe_load((PARTS / name).with_suffix(".yaml").read_text())


@pytest.fixture(scope="module")
def host(tree):
    """This machine, as pods see it."""
    nodes = json.loads(tree.cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    return next(each["address"] for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP")


@pytest.fixture(scope="module")
def database(host):
    with postgres(host) as server:
        yield server.database("predictions")


@pytest.fixture(scope="module")
def store(database):
    opened = Store.open(database)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def inside(tree, host):
    """The tree with the registry's name as pods know it: what is released must be read by the monitor, too."""
    registry = f"{host}:{tree.cluster.registry.rpartition(':')[2]}"
    base = tree.base_image.replace(tree.cluster.registry, registry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_PLAIN_REGISTRIES", registry)
        yield replace(tree, cluster=replace(tree.cluster, registry=registry), base_image=base)


@pytest.fixture(scope="module")
def world(tree, inside, host, database, tmp_path_factory):
    """A model that nobody released yet, and the monitor."""
    scratch = tmp_path_factory.mktemp("stores")
    tree.mlops("new", WINES, "--template", "tabular")
    path = tree.folder / "apps" / WINES / "usecase.yaml"
    asked = yaml.safe_load(path.read_text())
    asked["retrain"] = {"on": ["drift"], "cooldown": "1s"}
    asked["monitoring"] = {"drift": {"method": "psi", "threshold": 0.2, "min_rows": 50, "window": "24h"}}
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    kustomization = tree.folder / "clusters" / ENVIRONMENT / "kustomization.yaml"
    text = kustomization.read_text()
    kustomization.write_text(text.replace("resources:\n", f"resources:\n  - models/{WINES}.yaml\n", 1))
    tree.mlops("render")
    tree.push("Wines, watched")
    image = pipeline_image(tree.folder / "apps", tmp_path_factory.mktemp("image"), EXTRAS).push(tree.cluster.registry)
    with (
        mlflow_server(scratch / "mlflow", host) as tracking_uri,
        s3_server(scratch / "s3", host) as s3,
        pytest.MonkeyPatch.context() as stores,
    ):
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": s3}
        _declare_monitor(inside, host, database, image, tracking_uri, keys)
        # The first version comes from this machine, and is to be of the same MLflow.
        stores.setenv("MLOPS_TRACKING_URI", tracking_uri)
        tree.bootstrap()
        wait_for("the root Kustomization", lambda: is_ready(tree.cluster.get("kustomization", FLUX)), 60)
        yield inside
        tree.remove()
    tree.cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _declare_monitor(tree, host, database, image, tracking_uri, keys):
    """As Flux would apply infrastructure/platform/{mlops,monitor}; values of this cluster filled in."""
    settings = part("monitor/settings")
    settings["data"] |= {
        "MLOPS_ENVIRONMENT": ENVIRONMENT,
        "MLOPS_TRACKING_URI": tracking_uri,
        "MLOPS_SNAPSHOTS": f"s3://{BUCKET}/snapshots",
        "MLOPS_REMOTE": tree.url.replace("127.0.0.1", host),
        "MLOPS_IMAGES": f"{tree.cluster.registry}/models",
        "MLOPS_BASE_IMAGE": tree.base_image,
        "MLOPS_PLAIN_REGISTRIES": tree.cluster.registry,
        "MLOPS_START_RUNS": "1",
        "AWS_REGION": "us-east-1",
    }
    deployment = part("monitor/deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
    secret = {"apiVersion": "v1", "kind": "Secret"}
    tree.cluster.apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in (NAMESPACE, WINES)),
        part("mlops/serviceaccount"),
        part("monitor/clusterrole"),
        part("monitor/clusterrolebinding"),
        part("monitor/service"),
        part("monitor/networkpolicy"),
        {**secret, "metadata": _named("monitor-token"), "stringData": {"token": TOKEN}},
        {**secret, "metadata": _named("monitor-privacy-key"), "stringData": {"key": "k" * 40}},
        {**secret, "metadata": _named("predictions-db-app"), "stringData": {"uri": database}},
        {**secret, "metadata": _named("object-store"), "stringData": keys},
        settings,
        deployment,
    )


def _named(name: str) -> dict:
    return {"name": name, "namespace": NAMESPACE}


def let_servers_in(tree) -> None:
    """As External Secrets does, a minute or more after the namespace: pods that are there have to hear of it."""
    url = f"http://monitor.{NAMESPACE}.svc.cluster.local"
    tree.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "monitor-token", "namespace": WINES},
            "stringData": {"token": TOKEN, "url": url},
        }
    )
    replicas = tree.cluster.get("deployment", "model-server", WINES)["spec"]["replicas"]
    words = ("logs", "-n", WINES, "-l", "app.kubernetes.io/name=model-server", "--tail=-1")
    said = "predictions are recorded from now on"
    wait_for("the Secret in the pods", lambda: tree.cluster.kubectl(*words).count(said) == replicas, 180, pause=2)


def address(tree, name: str, namespace: str) -> str:
    return f"http://{tree.cluster.get('service', name, namespace)['spec']['clusterIP']}"


def ask(tree, path: str, body: dict | None = None, token: str = TOKEN) -> str:
    """Of the monitor, through its Service."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address(tree, 'monitor', NAMESPACE)}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def log(tree) -> str:
    return tree.cluster.kubectl("logs", "-n", NAMESPACE, "deployment/monitor", "--tail=40")


def serves(tree, bento: str) -> bool:
    found = tree.cluster.find("deployment", "model-server", WINES)
    if found is None:
        return False
    status, wanted = found.get("status", {}), found["spec"]["replicas"]
    said = found["spec"]["template"]["metadata"]["annotations"]["mlops-blueprint/bento"]
    counts = {status.get("replicas"), status.get("updatedReplicas"), status.get("readyReplicas")}
    return said == bento and status.get("observedGeneration") == found["metadata"]["generation"] and counts == {wanted}


def predict(tree, times: int) -> int:
    """Ask the model about the instances that it was packed with; how many predictions that makes."""
    bento = fetch_bento(tree.settings.bentos, tree.release(WINES)["image"])
    instances = json.loads((bento / "src" / "model" / GOLDEN_FILE).read_text())["instances"]
    body = json.dumps({"instances": instances}).encode()
    for _ in range(times):
        url = f"{address(tree, 'model-server', WINES)}/predict"
        with urllib.request.urlopen(
            urllib.request.Request(url, body, {"content-type": "application/json"}), timeout=10
        ) as answer:
            assert answer.status == 200
    return times * len(instances)


def test_it_becomes_ready_on_its_database_with_the_rights_that_it_is_given(world):
    def ready() -> int | None:
        return world.cluster.get("deployment", "monitor", NAMESPACE)["status"].get("readyReplicas")

    try:
        wait_for("the monitor", ready, 240)
    except AssertionError as error:
        pytest.fail(f"{error}\n{world.cluster.kubectl('describe', 'pods', '-n', NAMESPACE)[-2500:]}\n{log(world)}")
    assert ask(world, "/readyz") == "ok"
    who = f"--as=system:serviceaccount:{NAMESPACE}:monitor"
    assert world.cluster.kubectl("get", "configmaps", "-A", "--field-selector=metadata.name=usecase", who) is not None
    with pytest.raises(AssertionError, match="forbidden"):
        world.cluster.kubectl("get", "configmaps", "-A", who)


def test_a_release_is_seen_and_what_its_server_answers_is_stored(world, store):
    world.mlops("run", WINES, "--no-wait", "--param", "C=0.01")
    wait_for("the first version", lambda: serves(world, f"{WINES}:1"), ROLLOUT)
    wait_for("the release in the metrics", lambda: f'bento="{WINES}:1"' in ask(world, "/metrics"), 60)
    wait_for("the page to say that it serves", lambda: "serving" in ask(world, "/"), 60)
    let_servers_in(world)
    made = predict(world, times=30)
    wait_for("the predictions in PostgreSQL", lambda: store.counts(WINES).predictions == made, 60)
    with store.reading() as connection:
        from pipelines.predictions.store.schema import predictions

        row = connection.execute(predictions.select().limit(1)).mappings().one()
    assert (row["environment"], row["bento"], row["model"]) == (ENVIRONMENT, f"{WINES}:1", f"{WINES}/1")


def test_it_judges_with_the_reference_in_the_released_image(world):
    told = json.loads(ask(world, "/evaluations", {}))
    assert told["problems"] == []
    status = {one["kind"]: one["status"] for one in told["assessments"]}
    assert set(status) == {"inputs", "predictions"}
    assert set(status.values()) <= {"ok", "alert"}, told
    assert "model_drift_score{" in ask(world, "/metrics")


def test_forged_alerts_are_kept_out(world):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(world, "/alerts", alert(), token="forged")


def test_an_alert_ends_in_a_commit_that_flux_rolls_out(world):
    [asked] = json.loads(ask(world, "/alerts", alert()))["requests"]
    assert asked["state"] in ("waiting", "cooling", "running")
    try:
        wait_for("the commit", lambda: world.release(WINES)["bento"] == f"{WINES}:2", RUN, pause=2)
    except AssertionError as error:
        pytest.fail(f"{error}\n{ask(world, f'/api/models/{WINES}/{ENVIRONMENT}')[-2000:]}\n{log(world)}")
    assert world.release(WINES)["code"] == "c0de" * 10, "it was made in the pod, by the code of its image"
    assert "Reason: drift: wines differ from what they were" in world.git("log", "-1", "--format=%B", "origin/main")
    wait_for("the rollout", lambda: serves(world, f"{WINES}:2"), ROLLOUT)
    wait_for("its release in the metrics", lambda: f'bento="{WINES}:2"' in ask(world, "/metrics"), 60)
    wait_for("the end of the request", lambda: 'outcome="released"' in ask(world, "/metrics"), 60)


def alert() -> dict:
    """As Alertmanager posts it."""
    labels = {"alertname": "InputsDrifted", "usecase": WINES, "environment": ENVIRONMENT, "retrain": "drift"}
    told = {"status": "firing", "labels": labels, "fingerprint": "f" * 16}
    return {"version": "4", "alerts": [{**told, "annotations": {"summary": "wines differ from what they were"}}]}
