"""One version takes over from another while clients keep asking: nobody may notice but by the answers."""

import json
import socket
import time

import httpx
import pytest

from tests.load import Load
from tests.serving import ServerProcess, serving, wait_until
from tests.tiny_models import write_bento

BODY = json.dumps({"instances": [{"distance": 1400, "origin": "EWR", "carrier": "UA"}]}).encode()
HANDOVERS = 5


@pytest.fixture
def listening():
    """The public socket, opened once by whoever supervises the servers, and inherited by each."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as opened:
        opened.set_inheritable(True)
        yield opened


@pytest.fixture
def versions(tmp_path):
    """Starts a version beside the others, on the same socket."""
    started: list[ServerProcess] = []

    def start(number: int, listening: socket.socket, *options: object) -> ServerProcess:
        bento = tmp_path / f"bento-{number}"
        if not bento.exists():
            write_bento(bento, version=str(number))
        standby = ["--standby", tmp_path / "active"]
        server = ServerProcess(bento, tmp_path, f"v{number}", *standby, *options, fd=listening.fileno())
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


def version_of(body: bytes) -> str:
    return json.loads(body)["release"]["bento"]


@pytest.mark.slow
def test_handovers_under_load_lose_no_request(listening, versions, tmp_path):
    port = listening.getsockname()[1]
    active = tmp_path / "active"
    old = versions(0, listening)
    old.until("standby")
    active.write_text("v0")
    old.until("active")
    with (
        Load(port, BODY, clients=6, kind=version_of) as busy,
        Load(port, BODY, clients=4, kind=version_of, pause=0.05) as idling,
    ):
        for number in range(1, HANDOVERS + 1):
            new = versions(number, listening).until("standby")
            active.write_text(new.name)
            new.until("active")
            old.terminate()
            assert old.ended() == 0, old.log.read_text()
            seen = busy.answered()
            wait_until(lambda seen=seen: busy.answered() > seen + 200, "requests of the new version")
            old = new
    assert busy.answers.failures + idling.answers.failures == []
    assert busy.answered() > 1000
    assert set(busy.answers.kinds) == {f"tiny-table:{number}" for number in range(HANDOVERS + 1)}
    # The connections outlived by the servers were ended politely, and no others.
    assert busy.answers.connections <= 6 * (HANDOVERS + 1)


def test_a_version_in_standby_takes_no_request(listening, versions, tmp_path):
    (tmp_path / "active").write_text("v0\n")
    versions(0, listening).until("active")
    versions(1, listening).until("standby")
    with Load(listening.getsockname()[1], BODY, clients=4, kind=version_of) as load:
        wait_until(lambda: load.answered() > 200, "requests")
    assert load.answers.failures == []
    assert set(load.answers.kinds) == {"tiny-table:0"}


def test_an_idle_connection_is_served_once_more_and_then_closed(listening, versions, tmp_path):
    """Closing it at once would race with a request that is already on its way."""
    (tmp_path / "active").write_text("v0")
    server = versions(0, listening).until("active")
    with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
        assert "connection" not in client.get("/readyz").headers
        server.terminate()
        server.until("draining")
        time.sleep(0.5)
        last = client.post("/predict", content=BODY, headers={"content-type": "application/json"})
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        assert server.ended(5) == 0


def test_an_idle_connection_is_cut_after_the_drain_timeout_and_a_checkers_does_not_count(listening, versions, tmp_path):
    (tmp_path / "active").write_text("v0")
    server = versions(0, listening, "--drain-timeout", 1).until("active")
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client,
        httpx.Client(base_url=server.private_url) as checker,
    ):
        assert client.get("/livez").status_code == checker.get("/livez").status_code == 200
        began = time.monotonic()
        server.terminate()
        assert server.ended(10) == 0
        assert 1 <= time.monotonic() - began < 4
    again = versions(1, listening, "--drain-timeout", 20)
    (tmp_path / "active").write_text("v1")
    again.until("active")
    with httpx.Client(base_url=again.private_url) as checker:
        assert checker.get("/livez").status_code == 200
        again.terminate()
        assert again.ended(5) == 0


def test_a_request_in_flight_is_answered(listening, versions, tmp_path):
    (tmp_path / "active").write_text("v0")
    server = versions(0, listening).until("active")
    half = len(BODY) // 2
    with socket.create_connection(listening.getsockname()) as client:
        head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(BODY)}\r\n\r\n"
        client.sendall(head.encode() + BODY[:half])
        time.sleep(0.2)
        server.terminate()
        server.until("draining")
        client.sendall(BODY[half:])
        client.settimeout(5)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert server.ended(5) == 0


def test_the_socket_outlives_every_server(listening, versions, tmp_path):
    """Between two servers clients wait in its queue; they are not refused."""
    (tmp_path / "active").write_text("v0")
    first = versions(0, listening).until("active")
    first.terminate()
    assert first.ended() == 0
    with Load(listening.getsockname()[1], BODY, clients=3, kind=version_of) as load:
        (tmp_path / "active").write_text("v1")
        versions(1, listening).until("active")
        wait_until(lambda: load.answered() > 50, "requests")
    assert load.answers.failures == []
    assert set(load.answers.kinds) == {"tiny-table:1"}


def test_a_crash_leaves_the_other_version_serving(listening, versions, tmp_path):
    (tmp_path / "active").write_text("v0")
    versions(0, listening).until("active")
    versions(1, listening).until("standby").kill()
    with Load(listening.getsockname()[1], BODY, clients=3) as load:
        wait_until(lambda: load.answered() > 50, "requests")
    assert load.answers.failures == []


def test_a_pod_goes_on_accepting_for_the_drain_delay_while_it_is_not_ready(tmp_path):
    """Whoever routes to it needs a moment to see /readyz, and sends new connections until then."""
    with serving(write_bento(tmp_path / "bento"), tmp_path, "--drain-delay", 1) as server:
        began = time.monotonic()
        server.terminate()
        server.until("draining")
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        answer = httpx.post(f"{server.url}/predict", content=BODY, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert server.ended(10) == 0
        assert time.monotonic() - began >= 1
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/readyz")
