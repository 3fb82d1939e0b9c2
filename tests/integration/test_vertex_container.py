"""Vertex AI's container contract, kept by the real server: as a process, and as the image in a container."""

import json
import os
import subprocess
import sys

import httpx
import pytest

from bento.signature import GOLDEN_FILE, Golden
from tests.base_image import base_image
from tests.containers import containerd
from tests.image_cases import bento_folder, push
from tests.registries import registry
from tests.serving import ServerProcess, free_port, wait_until
from tests.tiny_models import write_bento

HEALTH = "/v1/endpoints/17/deployedModels/4"
PREDICT = f"{HEALTH}:predict"
FLIGHT = {"distance": 1400, "origin": "EWR", "carrier": "UA"}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """The port, and a server that was told another one by its options."""
    folder, port = tmp_path_factory.mktemp("vertex"), free_port()
    asked = {"AIP_HTTP_PORT": str(port), "AIP_HEALTH_ROUTE": HEALTH, "AIP_PREDICT_ROUTE": PREDICT}
    asked["AIP_STORAGE_URI"] = "gs://vertex/copy-of-nothing"
    server = ServerProcess(write_bento(folder / "bento", version="7"), folder / "run", "vertex", env=asked)
    try:
        server.until("active")
        wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}{HEALTH}").status_code == 200, "healthy")
        yield port, server
    finally:
        server.kill()


def test_it_answers_where_vertex_asks_and_nowhere_else(deployed):
    port, server = deployed
    answer = httpx.post(f"http://127.0.0.1:{port}{PREDICT}", json={"instances": [FLIGHT, FLIGHT]})

    assert answer.status_code == 200, answer.text
    assert [each["label"] for each in answer.json()["predictions"]] == [True, True]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/livez")


def test_its_own_paths_still_answer(deployed):
    assert httpx.post(f"http://127.0.0.1:{deployed[0]}/predict", json={"instances": [FLIGHT]}).status_code == 200


def test_predictions_are_counted_under_one_name(deployed):
    httpx.post(f"http://127.0.0.1:{deployed[0]}{PREDICT}", json={"instances": [FLIGHT]})
    metrics = httpx.get(f"http://127.0.0.1:{deployed[0]}/metrics").text
    assert 'endpoint="/predict"' in metrics
    assert "deployedModels" not in metrics


def test_wrong_requests_are_told_apart_there_too(deployed):
    url = f"http://127.0.0.1:{deployed[0]}"
    assert httpx.get(f"{url}{PREDICT}").status_code == 405
    assert httpx.post(f"{url}{PREDICT}", json={"instances": [{"distance": "far"}]}).status_code == 400
    assert httpx.get(f"{url}/v1/endpoints/17").status_code == 404


def test_it_says_that_it_does_not_read_the_bucket(deployed):
    assert "AIP_STORAGE_URI is ignored (gs://vertex/copy-of-nothing)" in deployed[1].log.read_text()


@pytest.mark.parametrize("asked", [{"AIP_HTTP_PORT": "eighty"}, {"AIP_HEALTH_ROUTE": "/a", "AIP_PREDICT_ROUTE": "/a"}])
def test_a_contract_that_cannot_be_kept_is_one_line_and_no_start(tmp_path, asked):
    bento = write_bento(tmp_path / "bento")
    done = subprocess.run(
        [sys.executable, "-m", "bento.server", "--bento", str(bento), "--port", "0"],
        cwd=bento / "src",
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "VertexContractInvalid" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_keeps_it_in_a_container(tmp_path):
    base = base_image()
    with registry(tmp_path / "registry") as running, containerd() as runtime:
        image = push(bento_folder(tmp_path / "b", version="7"), running.host, base.push(running.host)).image
        runtime.pull(image)
        asked = {"AIP_HTTP_PORT": "8080", "AIP_HEALTH_ROUTE": HEALTH, "AIP_PREDICT_ROUTE": PREDICT}
        with runtime.running(image, "vertex", env=asked) as container:
            wait_until(lambda: container.ask(HEALTH, port=8080)[0] == 200, "healthy", 60)
            golden = Golden.read(tmp_path / "b" / "src" / "model" / GOLDEN_FILE)
            status, text = container.ask(PREDICT, {"instances": golden.instances}, port=8080)
            assert status == 200, text
            found = [list(each["probabilities"].values()) for each in json.loads(text)["predictions"]]
            assert found == [pytest.approx(each, abs=1e-6) for each in golden.outputs]
            assert container.ask("/livez")[0] == 0  # nobody listens on the port that the image gives as a default
