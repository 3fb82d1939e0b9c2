"""The loop that the repository is for, on a real cluster: a commit is the only deploy action.

The tests tell one story and run in their order; the first that fails ends it.
"""

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bento.signature import GOLDEN_FILE
from pipelines.packaging.bentos import fetch_bento
from pipelines.packaging.oci.publish import BentoFolder, publish
from pipelines.release.releases import open_releases
from tests.e2e.cluster import FLUX, Cluster, condition, is_ready, wait_for
from tests.e2e.tree import ENVIRONMENT, Tree
from tests.load import Load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

FLIGHTS, WINES = "flight-delays", "wines"
ROLLOUT = 90.0
QUICK = ("--no-wait", "--param", "trees=20")
"""Only how big the model is differs from what a team would run."""


@pytest.fixture(scope="module")
def story():
    """What the story has measured, told at its end."""
    told: dict[str, str] = {}
    yield told
    print("\n" + "\n".join(f"  {what:<58} {figure}" for what, figure in told.items()))


@pytest.fixture(scope="module")
def flux(tree: Tree, cluster: Cluster) -> Iterator[Cluster]:
    """Flux has applied this tree."""
    tree.bootstrap()
    wait_for("the root Kustomization", lambda: is_ready(cluster.get("kustomization", FLUX)), 60)
    yield cluster
    tree.remove()


def deployment(cluster: Cluster, usecase: str) -> dict:
    return cluster.get("deployment", "model-server", usecase)


def serves(cluster: Cluster, usecase: str, bento: str) -> bool:
    """All replicas are of this version, and ready."""
    found = deployment(cluster, usecase)
    status, wanted = found["status"], found["spec"]["replicas"]
    is_it = found["spec"]["template"]["metadata"]["annotations"]["mlops-blueprint/bento"] == bento
    is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
    counts = {status.get("replicas"), status.get("updatedReplicas"), status.get("readyReplicas")}
    return is_it and is_seen and counts == {wanted}


def address(cluster: Cluster, usecase: str) -> str:
    return cluster.get("service", "model-server", usecase)["spec"]["clusterIP"]


def golden(tree: Tree, usecase: str) -> list:
    """Instances that the model was packed with."""
    bento = fetch_bento(tree.settings.bentos, tree.release(usecase)["image"])
    return json.loads((bento / "src" / "model" / GOLDEN_FILE).read_text(encoding="utf-8"))["instances"]


def predict(cluster: Cluster, usecase: str, instances: list) -> dict:
    """Through the Service, as a client in the cluster."""
    request = urllib.request.Request(
        f"http://{address(cluster, usecase)}/predict",
        json.dumps({"instances": instances}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def answering(body: bytes) -> str:
    return json.loads(body)["release"]["bento"]


def test_flux_takes_the_tree(flux, tree):
    """Every Kustomization that clusters/local declares is there; the models wait for their first release."""
    assert {"controllers", "configs", "platform", FLIGHTS, "fashion-mnist"} <= flux.names("kustomization")
    wait_for(
        "word of the missing release",
        lambda: "release.yaml" in condition(flux.get("kustomization", FLIGHTS), "Ready").get("message", ""),
        60,
    )


def test_the_first_release_brings_the_model_up(flux, tree, story):
    began = time.monotonic()
    tree.mlops("run", FLIGHTS, "--as-of", "2013-04-01", *QUICK)
    committed = time.monotonic()
    wait_for("the first rollout", lambda: serves(flux, FLIGHTS, f"{FLIGHTS}:1"), ROLLOUT)
    story["mlops run to its commit"] = f"{committed - began:.1f} s"
    story["first release: commit to all pods ready"] = f"{time.monotonic() - committed:.1f} s"
    answer = predict(flux, FLIGHTS, golden(tree, FLIGHTS))
    assert answer["release"]["bento"] == f"{FLIGHTS}:1"
    wait_for("the Kustomization", lambda: is_ready(flux.get("kustomization", FLIGHTS)), 60)


def test_the_pods_say_where_they_come_from(flux, tree):
    released = tree.release(FLIGHTS)
    template = deployment(flux, FLIGHTS)["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == released["image"]
    for key in ("bento", "model", "run", "data", "code"):
        assert template["metadata"]["annotations"][f"mlops-blueprint/{key}"] == released[key]
    assert flux.get("kustomization", FLIGHTS)["status"]["lastAppliedRevision"].endswith(tree.pull())


def test_a_new_version_replaces_the_old_under_load_without_a_failed_request(flux, tree, story):
    body = json.dumps({"instances": golden(tree, FLIGHTS)}).encode()
    with Load(80, body, host=address(flux, FLIGHTS), clients=4, pause=0.02, kind=answering) as load:
        with head_moves(tree) as head, is_applied(flux, FLIGHTS, f"{FLIGHTS}:2") as applied:
            tree.mlops("run", FLIGHTS, "--as-of", "2013-07-01", "--replace-champion", *QUICK)
            answered = wait_for("its first answer", lambda: load.first_seen.get(f"{FLIGHTS}:2"), ROLLOUT)
        wait_for("the whole rollout", lambda: serves(flux, FLIGHTS, f"{FLIGHTS}:2"), ROLLOUT)
        wait_for(
            "the old pods to leave",
            lambda: len(pods(flux, FLIGHTS)) == deployment(flux, FLIGHTS)["spec"]["replicas"],
            ROLLOUT,
        )
    story["commit to applied, by webhook"] = f"{applied.at - head.at:.1f} s"
    story["commit to the new version's first answer"] = f"{answered - head.at:.1f} s"
    assert load.answers.failures == []
    assert load.answers.kinds[f"{FLIGHTS}:1"] > 0
    story["requests during the rolling update, failed"] = f"{load.answered()}, {len(load.answers.failures)}"


def test_a_server_that_crashes_never_replaces_one_that_works(flux, tree, story, tmp_path):
    """The Bento's code fails on start: the old pods serve on, and Flux says that the Kustomization is not ready."""
    before = deployment(flux, FLIGHTS)["status"]["readyReplicas"]
    broken = publish_broken(tree, FLIGHTS, tmp_path)
    releases = open_releases(tree.settings)
    crashing = releases.current(FLIGHTS, ENVIRONMENT).model_copy(
        update={"bento": f"{FLIGHTS}:2-crashing", "image": broken}
    )
    releases.bump(FLIGHTS, ENVIRONMENT, crashing, "e2e: a server that crashes")
    committed = time.monotonic()
    wait_for(
        "a crashing pod",
        lambda: any(
            status["restartCount"] > 0 for pod in pods(flux, FLIGHTS) for status in pod["status"]["containerStatuses"]
        ),
        ROLLOUT,
    )
    assert predict(flux, FLIGHTS, golden_of_checkout(tree))["release"]["bento"] == f"{FLIGHTS}:2"
    failed = wait_for(
        "the Kustomization to say so",
        lambda: (
            found
            if (found := condition(flux.get("kustomization", FLIGHTS), "Ready")).get("status") == "False"
            and found.get("reason") == "HealthCheckFailed"
            else None
        ),
        ROLLOUT * 2,
    )
    story["a crashing version: commit to not ready"] = f"{time.monotonic() - committed:.1f} s"
    assert "model-server" in failed["message"]
    assert deployment(flux, FLIGHTS)["status"]["readyReplicas"] >= before
    assert predict(flux, FLIGHTS, golden_of_checkout(tree))["release"]["bento"] == f"{FLIGHTS}:2"


def test_rollback_repairs_it(flux, tree, story):
    began = time.monotonic()
    tree.mlops("rollback", FLIGHTS, "--environment", ENVIRONMENT, "--reason", "it crashes", "--no-wait")
    assert tree.release(FLIGHTS)["bento"] == f"{FLIGHTS}:2"
    wait_for("the rollback", lambda: serves(flux, FLIGHTS, f"{FLIGHTS}:2"), ROLLOUT)
    wait_for("the Kustomization", lambda: is_ready(flux.get("kustomization", FLIGHTS)), 60)
    story["mlops rollback to ready"] = f"{time.monotonic() - began:.1f} s"
    assert predict(flux, FLIGHTS, golden_of_checkout(tree))["release"]["bento"] == f"{FLIGHTS}:2"


def test_drift_made_by_hand_is_corrected(flux, tree):
    wanted = deployment(flux, FLIGHTS)["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    flux.kubectl("set", "resources", "deployment/model-server", "-n", FLIGHTS, "--requests=cpu=7m,memory=300Mi")
    flux.kubectl("delete", "networkpolicy", "model-server", "-n", FLIGHTS)
    flux.reconcile("kustomization", FLIGHTS)
    wait_for("the network policy", lambda: flux.find("networkpolicy", "model-server", FLIGHTS), 60)
    wait_for(
        "the resources",
        lambda: (
            deployment(flux, FLIGHTS)["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == wanted
        ),
        60,
    )


def test_a_new_use_case_is_one_folder_and_one_line(flux, tree, story):
    began = time.monotonic()
    tree.mlops("new", WINES, "--template", "tabular")
    add_line(tree, WINES)
    tree.mlops("render")
    tree.push("A new use case: wines")
    tree.mlops("run", WINES, "--no-wait")
    wait_for("the new model", lambda: serves(flux, WINES, f"{WINES}:1"), ROLLOUT)
    story["`mlops new` to a new model answering in the cluster"] = f"{time.monotonic() - began:.1f} s"
    assert predict(flux, WINES, golden(tree, WINES))["predictions"][0]["label"] in ("Barolo", "Grignolino", "Barbera")


def test_two_models_bumped_at_once_do_not_disturb_each_other(flux, tree):
    releases = open_releases(tree.settings)
    tree.mlops("run", WINES, "--no-wait", "--param", "C=2.0", "--replace-champion")
    releases.rollback(FLIGHTS, ENVIRONMENT, "e2e: at the same time")
    wait_for("the one", lambda: serves(flux, WINES, f"{WINES}:2"), ROLLOUT)
    wait_for("the other", lambda: serves(flux, FLIGHTS, f"{FLIGHTS}:1"), ROLLOUT)


def test_a_model_that_fails_to_build_stops_no_other(flux, tree):
    path = tree.folder / "apps" / WINES / ENVIRONMENT / "kustomization.yaml"
    good = path.read_text()
    path.write_text(good.replace("settings.yaml", "setings.yaml"))
    tree.push("A mistake in one model's folder")
    wait_for(
        "word of the mistake",
        lambda: "setings.yaml" in condition(flux.get("kustomization", WINES), "Ready").get("message", ""),
        60,
    )
    tree.mlops("run", FLIGHTS, "--as-of", "2013-09-01", "--replace-champion", *QUICK)
    version = tree.release(FLIGHTS)["bento"]
    wait_for("the other model", lambda: serves(flux, FLIGHTS, version), ROLLOUT)
    path.write_text(good)
    tree.push("Mended")
    wait_for("the model again", lambda: is_ready(flux.get("kustomization", WINES)), 60)


def test_without_a_webhook_the_next_poll_finds_it(flux, tree, story):
    flux.kubectl("label", "gitrepository", FLUX, "-n", FLUX, "testcluster/webhook-", "--overwrite")
    flux.kubectl("patch", "gitrepository", FLUX, "-n", FLUX, "--type=merge", "-p", '{"spec":{"interval":"15s"}}')
    open_releases(tree.settings).rollback(WINES, ENVIRONMENT, "e2e: found by polling")
    committed = time.monotonic()
    wait_for("the rollback", lambda: serves(flux, WINES, f"{WINES}:1"), ROLLOUT)
    story["commit to ready, by polling every 15 s"] = f"{time.monotonic() - committed:.1f} s"
    flux.kubectl("label", "gitrepository", FLUX, "-n", FLUX, "testcluster/webhook=true", "--overwrite")


def test_a_model_deleted_from_git_is_pruned(flux, tree):
    listing = tree.folder / "clusters" / ENVIRONMENT / "kustomization.yaml"
    tree.pull()
    listing.write_text(listing.read_text().replace(f"  - models/{WINES}.yaml\n", ""))
    (tree.folder / "clusters" / ENVIRONMENT / "models" / f"{WINES}.yaml").unlink()
    tree.push("Wines are no longer served")
    wait_for("the namespace to go", lambda: not flux.kubectl("get", "ns", WINES, "--ignore-not-found").strip(), ROLLOUT)
    assert WINES not in flux.names("kustomization")
    assert serves(flux, FLIGHTS, tree.release(FLIGHTS)["bento"])


class Watch:
    """Looks all the while, and remembers when it first saw what it looks for."""

    def __init__(self, look: Callable[[], object]) -> None:
        self.at = float("nan")
        self._look, self._stopping = look, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            if self._look():
                self.at = time.monotonic()
                return


def head_moves(tree: Tree) -> Watch:
    before = tree.git("ls-remote", "origin", "main")
    return Watch(lambda: tree.git("ls-remote", "origin", "main") != before)


def is_applied(cluster: Cluster, usecase: str, bento: str) -> Watch:
    return Watch(
        lambda: (
            deployment(cluster, usecase)["spec"]["template"]["metadata"]["annotations"]["mlops-blueprint/bento"]
            == bento
        )
    )


def add_line(tree: Tree, usecase: str) -> None:
    listing = tree.folder / "clusters" / ENVIRONMENT / "kustomization.yaml"
    line = f"  - models/{FLIGHTS}.yaml\n"
    text = listing.read_text()
    assert line in text
    listing.write_text(text.replace(line, f"{line}  - models/{usecase}.yaml\n"))


def pods(cluster: Cluster, usecase: str) -> list[dict]:
    listed = json.loads(cluster.kubectl("get", "pods", "-n", usecase, "-o", "json"))["items"]
    return [pod for pod in listed if pod["status"].get("containerStatuses")]


def golden_of_checkout(tree: Tree) -> list:
    """An instance that any version of the flights model takes, without asking Git which is released."""
    sums = next(Path(tree.settings.bentos).glob(f"{FLIGHTS}/*/src/model/{GOLDEN_FILE}"))
    return json.loads(sums.read_text(encoding="utf-8"))["instances"]


def publish_broken(tree: Tree, usecase: str, scratch: Path) -> str:
    """An image by the real publisher, well-formed in all but its service, which fails on start."""
    whole = fetch_bento(tree.settings.bentos, tree.release(usecase)["image"])
    broken = shutil.copytree(whole, scratch / "bento", ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "src" / "service.py").write_text("raise SystemExit('the tokenizer is missing')\n")
    files = sorted(str(path.relative_to(broken)) for path in broken.rglob("*") if path.is_file())
    content = BentoFolder(broken, files, name=usecase, version="3", created="2026-01-01T00:00:00+00:00")
    return publish(content, f"{tree.settings.images}/{usecase}", tree.settings.base_image).image
