"""A model's server as a real process: good and bad requests, metrics, and how it fails to start."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import psutil
import pytest

from tests.serving import ServerProcess, free_port, serving, wait_until
from tests.tiny_models import write_bento, write_fragile_model

JSON = {"content-type": "application/json"}
RAW = {"content-type": "application/octet-stream"}
FLIGHT = {"distance": 1400, "origin": "EWR", "carrier": "UA"}


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flights")
    with serving(write_bento(folder / "bento", version="7"), folder / "run") as server:
        yield server


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with serving(write_bento(folder / "bento", name="tiny-picture", tensor=True), folder / "run") as server:
        yield server


def post(server, **request) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", timeout=30, **request)


def assert_problem(answer: httpx.Response, status: int, detail: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert detail in answer.json()["detail"]
    assert "Traceback" not in answer.text


def test_it_answers(flights):
    answer = post(flights, json={"instances": [FLIGHT]})
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["label"] is True
    assert answer.json()["ids"][0].startswith("tiny-table.7.")


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b'{"instances": [', "not valid JSON"),
        (b'{"instances": [{"distance": NaN}]}', "not valid JSON"),
        (b'{"instances": []}', "empty"),
        (b'{"instances": [{"distance": "1400", "origin": "EWR", "carrier": "UA"}]}', "instance 0, field distance"),
        (b'{"instances": [{"distance": 1400, "origin": "EWR"}]}', "field carrier: is missing"),
        (b'{"instances": [{"distance": 1, "origin": "EWR", "carrier": "UA", "late": 1}]}', "field late: unknown field"),
        (b'{"instances": [{"distance": 1, "origin": "BER", "carrier": "UA"}]}', "field origin"),
    ],
)
def test_a_bad_table_is_a_problem(flights, content, detail):
    assert_problem(post(flights, content=content, headers=JSON), 400, detail)


@pytest.mark.parametrize(
    ("instance", "detail"),
    [
        (np.zeros((27, 28), int).tolist(), "has 27 entries; expected 28"),
        ([[0] * 28] * 27 + [[0] * 27], "image[27]: has 27 entries"),
        ([[0.5] * 28] * 28, "image[0][0]: is a number with a fraction"),
        ([["0"] * 28] * 28, "image[0][0]: is a text"),
        ([[300] * 28] * 28, "image[0][0]: 300 is out of range"),
    ],
)
def test_a_bad_picture_is_a_problem(pictures, instance, detail):
    assert_problem(post(pictures, json={"instances": [instance]}), 400, detail)


def test_raw_pictures_answer_as_json_ones(pictures):
    batch = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype("uint8")
    raw = post(pictures, content=batch.tobytes(), headers=RAW).json()["predictions"]
    assert raw == post(pictures, json={"instances": batch.tolist()}).json()["predictions"]
    assert_problem(post(pictures, content=batch.tobytes()[:-1], headers=RAW), 400, "no whole number of instances")


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/csv"}])
def test_another_content_type_is_a_problem(flights, headers):
    assert_problem(post(flights, content=b"{}", headers=headers), 415, "send application/json")


def test_a_hundred_megabytes_are_refused_and_cost_no_memory(flights):
    process = psutil.Process(flights.process.pid)
    before = process.memory_info().rss
    assert_problem(post(flights, content=b" " * 100_000_000, headers=JSON), 413, "larger than 16777216 bytes")

    def chunks():
        for _ in range(100):
            yield b" " * 1_000_000

    assert_problem(post(flights, content=chunks(), headers=JSON), 413, "larger than 16777216 bytes")
    assert process.memory_info().rss - before < 60_000_000
    assert post(flights, json={"instances": [FLIGHT]}).status_code == 200


def test_unknown_paths_and_methods_are_problems(flights):
    assert_problem(httpx.get(f"{flights.url}/wp-login.php"), 404, "the API is POST /predict")
    assert_problem(httpx.get(f"{flights.url}/predict"), 405, "takes POST")


def test_probes_and_metrics_are_bentomls(flights):
    for probe in ("livez", "readyz", "healthz"):
        assert httpx.get(f"{flights.url}/{probe}").status_code == 200
    post(flights, json={"instances": [FLIGHT]})
    for number in range(3):
        httpx.get(f"{flights.url}/scan-{number}")
    metrics = httpx.get(f"{flights.url}/metrics").text
    labels = 'endpoint="/predict",http_response_code="200",runner_name="tiny-table",service_name="tiny-table"'
    (counted,) = [line for line in metrics.splitlines() if line.startswith(f"bentoml_service_request_total{{{labels}")]
    assert 'service_version="7"' in counted
    assert float(counted.split()[-1]) >= 1
    assert 'model_predictions_total{label="true"}' in metrics
    assert "/scan-" not in metrics


def test_a_model_that_fails_is_a_problem_and_its_traceback_is_in_the_log(tmp_path):
    bento = write_bento(tmp_path / "bento")
    write_fragile_model(bento / "src" / "model")
    with serving(bento, tmp_path) as server:
        assert_problem(post(server, json={"instances": [FLIGHT]}), 500, "the server's log says why")
        log = server.log.read_text()
        assert "Traceback" in log
        assert "idx=1400" in log
        assert post(server, json={"instances": [{**FLIGHT, "distance": 0}]}).status_code == 200


def started_in_vain(bento, folder, *options) -> tuple[int, str]:
    server = ServerProcess(bento, folder, "server", *options)
    try:
        return server.ended(), server.log.read_text()
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("name", "keep", "said"),
    [
        ("src/model/model.onnx", 100, "ModelFileBroken"),
        ("src/model/model.onnx", None, "ModelFileMissing"),
        ("src/model/signature.json", 50, "ModelFileBroken"),
        ("src/model/provenance.json", None, "ModelFileMissing"),
        ("bento.yaml", None, "FileNotFoundError"),
        ("src/service.py", None, "ModuleNotFoundError"),
    ],
)
def test_a_bento_that_cannot_be_loaded_is_one_clear_line_and_exit_status_3(tmp_path, name, keep, said):
    bento = write_bento(tmp_path / "bento")
    file = bento / name
    content = file.read_bytes()
    file.unlink()
    if keep:
        file.write_bytes(content[:keep])
    status, log = started_in_vain(bento, tmp_path)
    assert status == 3
    (line,) = log.splitlines()
    assert said in line
    if said.startswith("ModelFile"):
        assert file.name in line


def test_a_port_that_is_taken_is_said(tmp_path):
    bento = write_bento(tmp_path / "bento")
    with socket.create_server(("127.0.0.1", 0)) as other:
        status, log = started_in_vain(bento, tmp_path, "--port", other.getsockname()[1])
    assert status == 3
    (line,) = log.splitlines()
    assert "PublicAddressUnusable" in line
    assert "ddress already in use" in line


def test_a_descriptor_that_does_not_listen_is_said(tmp_path):
    bento = write_bento(tmp_path / "bento")
    with socket.socket() as silent:
        server = ServerProcess(bento, tmp_path, "server", fd=silent.fileno())
        try:
            assert server.ended() == 3
        finally:
            server.kill()
    assert "does not listen" in server.log.read_text()


def test_a_state_that_cannot_be_written_does_not_keep_it_from_answering(tmp_path):
    bento = write_bento(tmp_path / "bento")
    server = ServerProcess(bento, tmp_path, "server", "--state", "/proc/no-such-folder/state")
    try:
        wait_until(lambda: _ready(server.url), "ready")
        server.terminate()
        assert server.ended() == 0
        assert "cannot be written: No such file or directory" in server.log.read_text()
    finally:
        server.kill()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_server_in_standby_answers_checks_and_goes_when_told(tmp_path, sign):
    active = tmp_path / "active"
    active.write_text("another\n")
    server = ServerProcess(write_bento(tmp_path / "bento"), tmp_path, "server", "--standby", active)
    try:
        server.until("standby")
        answer = httpx.post(f"{server.private_url}/predict", json={"instances": [FLIGHT]})
        assert answer.status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/livez")
        server.process.send_signal(sign)
        assert server.ended() == 0
    finally:
        server.kill()


def test_it_is_small_and_quick_to_start(tmp_path):
    bento = write_bento(tmp_path / "bento")
    began = time.monotonic()
    with serving(bento, tmp_path) as server:
        took = time.monotonic() - began
        assert psutil.Process(server.process.pid).memory_info().rss < 160_000_000
    assert took < 8  # 1.2 s where nothing else runs


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_bentoml_builds_it_and_serves_it_by_its_own_command(tmp_path):
    """What is packed is a Bento like any other: `bentoml serve` answers, counts and names the version."""
    source = write_bento(tmp_path / "unpacked", version="7") / "src"
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    environment.pop("PYTHONPATH", None)
    build = (
        "import bentoml, sys; bentoml.build('service:Service', name='tiny-table', version='7', "
        "include=['service.py', 'bento/**', 'model/**'], build_ctx=sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", build, str(source)], env=environment, check=True, cwd=source)
    port = free_port()
    log = (tmp_path / "log").open("wb")
    serve = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", "tiny-table:7", "--port", str(port)],
        env=environment,
        cwd=tmp_path,
        stdout=log,
        stderr=log,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: serve.poll() is not None or _ready(url), "ready")
        answer = httpx.post(f"{url}/predict", json={"instances": [FLIGHT]})
        assert answer.json()["release"]["bento"] == "tiny-table:7"
        assert_problem(
            httpx.post(f"{url}/predict", json={"instances": [{**FLIGHT, "distance": "far"}]}), 400, "distance"
        )
        assert_problem(httpx.get(f"{url}/predict"), 405, "takes POST")
        metrics = httpx.get(f"{url}/metrics").text
        counted = [line for line in metrics.splitlines() if line.startswith("bentoml_service_request_total")]
        assert any('endpoint="/predict"' in line and 'service_version="7"' in line for line in counted)
        assert 'model_predictions_total{label="true"} 1.0' in metrics
        assert json.loads(httpx.get(f"{url}/openapi.json").text)["info"]["version"] == "7"
    finally:
        for process in [*psutil.Process(serve.pid).children(recursive=True), psutil.Process(serve.pid)]:
            process.terminate()
        serve.wait(20)
        log.close()
