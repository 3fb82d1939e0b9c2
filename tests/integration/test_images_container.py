"""The image is pulled by its digest into a container runtime, and answers: base image, layer and server together."""

import json
from pathlib import Path

import pytest

from bento.signature import GOLDEN_FILE, Golden
from tests.base_image import base_image, contract
from tests.containers import containerd
from tests.image_cases import bento_folder, push
from tests.registries import registry
from tests.serving import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def base():
    return base_image()


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running.host


@pytest.fixture(scope="module")
def runtime():
    with containerd() as running:
        yield running


@pytest.fixture(scope="module")
def published(host, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bento")
    return push(bento_folder(folder, version="7"), host, base.push(host)), folder


@pytest.fixture(scope="module")
def container(runtime, published):
    image, _ = published
    runtime.pull(image.image)
    with runtime.running(image.image, "seven") as running:
        running.until_ready()
        yield running


def test_it_gives_the_answers_that_the_model_was_packed_with(container, published):
    golden = Golden.read(published[1] / "src" / "model" / GOLDEN_FILE)
    status, text = container.ask("/predict", {"instances": golden.instances})

    assert status == 200, text
    answer = json.loads(text)
    found = [list(each["probabilities"].values()) for each in answer["predictions"]]
    assert found == [pytest.approx(each, abs=1e-6) for each in golden.outputs]
    assert answer["release"]["bento"] == "tiny-table:7"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics", "/signature"])
def test_what_a_cluster_asks_it(container, path):
    assert container.ask(path)[0] == 200


def test_nonsense_is_refused_and_not_a_crash(container):
    assert container.ask("/predict", {"instances": [{"distance": "far"}]})[0] == 400


def test_it_runs_as_nobody_in_particular_and_can_change_nothing(container):
    found = container.python(
        "import json, os, pathlib\n"
        "def writable(path):\n"
        "    try: pathlib.Path(path, 'x').write_text('x'); return True\n"
        "    except OSError: return False\n"
        "status = dict(l.split(':\\t', 1) for l in open('/proc/1/status').read().splitlines() if ':\\t' in l)\n"
        "print(json.dumps({'uid': os.getuid(), 'gid': os.getgid(), 'capabilities': status['CapEff'],\n"
        "  'writable': [p for p in ('/', '/home/bentoml/bento/src', '/opt/venv', '/tmp') if writable(p)],\n"
        "  'cwd': os.readlink('/proc/1/cwd')}))"
    )
    assert found == {
        "uid": 1034,
        "gid": 1034,
        "capabilities": "0000000000000000",
        "writable": ["/tmp"],
        "cwd": "/home/bentoml/bento/src",
    }


def test_it_holds_nothing_that_trains(container):
    found = container.python(
        "import importlib.util as u, json\n"
        "names = ('mlflow', 'kfp', 'tensorflow', 'sklearn', 'pandas', 'pipelines', 'pip', 'uv')\n"
        "print(json.dumps([name for name in names if u.find_spec(name)]))"
    )
    assert found == []


def test_it_leaves_when_it_is_told_to(runtime, published):
    with runtime.running(published[0].image, "leaving") as running:
        running.until_ready()
        running.terminate()


def test_an_image_whose_model_is_broken_ends_at_once_and_says_why(runtime, host, base, tmp_path):
    bento = bento_folder(tmp_path / "b", version="8")
    (tmp_path / "b" / "src" / "model" / "model.onnx").write_bytes(b"not a model")
    image = push(bento, host, base.push(host)).image
    runtime.pull(image)
    with runtime.running(image, "broken") as running:
        wait_until(lambda: running.status == "STOPPED", "a server that cannot serve ends")
        assert "cannot be served" in running.log


def test_a_second_version_is_pulled_without_the_base(runtime, host, base, tmp_path):
    first = push(bento_folder(tmp_path / "a", version="9", weight=0.5), host, base.push(host))
    second = push(bento_folder(tmp_path / "b", version="10", weight=0.6), host, base.push(host))
    runtime.pull(first.image)
    assert runtime.pull(second.image) < 10
    layers = [json.loads(each.manifest)["layers"] for each in (first, second)]
    assert layers[0][:-1] == layers[1][:-1]


def test_the_base_is_under_450_mb_unpacked(base):
    assert base.unpacked < 450e6, f"{base.unpacked / 1e6:.0f} MB"


def test_the_contract_is_what_the_docs_say():
    told = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
    config = contract()
    for part in (config["User"], config["WorkingDir"], *config["Env"], " ".join(config["Cmd"]), "3000"):
        assert f"`{part}`" in told, part
