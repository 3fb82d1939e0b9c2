"""What real server processes record: while the monitor is there, while it is away, and when they are killed."""

import re
import resource
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest

from bento.recording.segments import read_segment
from pipelines.predictions.ingest import ingest
from pipelines.predictions.store.store import Store
from tests.load import Load
from tests.recording_cases import FLIGHT, LoopbackMonitor, no_rules
from tests.serving import ServerProcess, free_port, serving, wait_until
from tests.tiny_models import write_bento


@pytest.fixture(scope="module")
def bento(tmp_path_factory):
    return write_bento(tmp_path_factory.mktemp("bento"), version="7")


@pytest.fixture
def monitor():
    made = LoopbackMonitor()
    yield made
    made.close()


def told(tmp_path, monitor_url, **more) -> dict[str, str]:
    """A server's environment."""
    return {
        "MLOPS_MONITOR_URL": monitor_url,
        "MLOPS_MONITOR_TOKEN": "secret",
        "MLOPS_SPOOL": str(tmp_path / "spool"),
        "MLOPS_ENVIRONMENT": "staging",
        "MLOPS_RELEASE_COMMIT": "a" * 40,
        **more,
    }


def ask(server, *instances, url=None, **more) -> list[str]:
    """The ids of the answer."""
    body = {"instances": list(instances or [FLIGHT]), **more}
    answer = httpx.post(f"{url or server.url}/predict", json=body, timeout=10)
    assert answer.status_code == 200, answer.text
    ids: list[str] = answer.json()["ids"]
    return ids


def metric(server, name) -> float:
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def test_every_answer_reaches_the_store_with_where_it_came_from(bento, tmp_path, monitor):
    with serving(bento, tmp_path, env=told(tmp_path, monitor.url)) as server:
        ids = [*ask(server), *ask(server, FLIGHT, {**FLIGHT, "distance": 1}, keys=["UA1", "UA2"])]
        assert httpx.post(f"{server.url}/predict", json={"instances": [{}]}).status_code == 400
        wait_until(lambda: len(monitor.ids()) == 3, "shipped")
        assert metric(server, "model_predictions_recorded_total") == 3
        assert metric(server, "model_predictions_shipped_total") == 3
        assert metric(server, "model_predictions_spooled_bytes") == 0
    store = Store.open(f"sqlite:///{tmp_path / 'monitor.db'}")
    for body in monitor.bodies:
        ingest(body, store, no_rules, datetime.now(UTC))
    assert store.counts("tiny-table").predictions == 3
    with store.reading() as connection:
        rows = connection.exec_driver_sql('SELECT id, "commit", environment, join_key FROM predictions ORDER BY id')
        assert [tuple(row) for row in rows] == [
            (name, "a" * 40, "staging", key) for name, key in zip(ids, [None, "UA1", "UA2"], strict=True)
        ]
    assert set(monitor.tokens) == {"Bearer secret"}


def test_pictures_are_recorded_as_they_came(tmp_path, monitor):
    picture = write_bento(tmp_path / "bento", name="tiny-picture", tensor=True)
    arrays = np.random.default_rng(1).integers(0, 256, (2, 28, 28)).astype("uint8")
    with serving(picture, tmp_path, env=told(tmp_path, monitor.url)) as server:
        raw = {"content-type": "application/octet-stream"}
        assert httpx.post(f"{server.url}/predict", content=arrays.tobytes(), headers=raw).status_code == 200
        ask(server, arrays[0].tolist())
        wait_until(lambda: len(monitor.ids()) == 3, "shipped")
    exchanges = [one for body in monitor.bodies for one in read_segment(body).exchanges]
    assert bytes(exchanges[0].request) == arrays.tobytes()


def test_without_a_monitor_nothing_is_kept(bento, tmp_path):
    with serving(bento, tmp_path, env={"MLOPS_SPOOL": str(tmp_path / "spool")}) as server:
        ask(server)
        assert "model_predictions_recorded_total" not in httpx.get(f"{server.url}/metrics").text
    assert not (tmp_path / "spool").exists()


def test_sigterm_ships_the_last_answer(bento, tmp_path, monitor):
    with serving(bento, tmp_path, env=told(tmp_path, monitor.url)) as server:
        ids = ask(server)
        server.terminate()
        assert server.ended() == 0
    assert monitor.ids() == ids
    assert not list((tmp_path / "spool").glob("server-*"))


@pytest.mark.slow
def test_sigterm_while_the_monitor_is_away_ends_soon_and_leaves_them_to_the_next_server(bento, tmp_path):
    port = free_port()
    env = told(tmp_path, f"http://127.0.0.1:{port}")
    with serving(bento, tmp_path, env=env) as server:
        ids = ask(server)
        server.terminate()
        began = time.monotonic()
        assert server.ended() == 0
        assert time.monotonic() - began < 15
        assert "stay in" in server.log.read_text()
    monitor = LoopbackMonitor(port)
    try:
        with serving(bento, tmp_path / "after", env=env):
            wait_until(lambda: monitor.ids() == ids, "shipped by the next")
    finally:
        monitor.close()


@pytest.mark.slow
def test_a_server_that_is_killed_under_load_loses_no_more_than_its_last_moment(bento, tmp_path):
    port = free_port()
    env = told(tmp_path, f"http://127.0.0.1:{port}")
    body = b'{"instances": [{"distance": 1400, "origin": "EWR", "carrier": "UA"}]}'
    with serving(bento, tmp_path, env=env) as server:
        with Load(server.port, body, clients=4) as load:
            wait_until(lambda: load.answered() > 300, "load")
            wait_until(lambda: list((tmp_path / "spool").rglob("*.open")), "a segment is being written")
            answered = load.answered()
            server.kill()
        assert answered > 300
    monitor = LoopbackMonitor(port)
    try:
        with serving(bento, tmp_path / "after", env=env) as after:
            wait_until(lambda: not list((tmp_path / "spool").rglob("*.segment")), "everything is shipped")
            wait_until(lambda: metric(after, "model_predictions_shipped_total") > 0, "counted")
            shipped = metric(after, "model_predictions_shipped_total")
        ids = monitor.ids()
        assert len(ids) == len(set(ids)) == shipped
        assert len(ids) > 0
        assert not list((tmp_path / "spool").rglob("*.open"))
    finally:
        monitor.close()


@pytest.mark.slow
def test_a_disk_that_is_full_costs_no_request_and_is_told(bento, tmp_path, monitor):
    with serving(bento, tmp_path, env=told(tmp_path, monitor.url)) as server:
        ask(server)
        wait_until(lambda: len(monitor.ids()) == 1, "shipped")
        # The system refuses every write beyond this size, as it does on a full disk.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        ask(server)
        wait_until(lambda: metric(server, "model_predictions_dropped_total") == 1, "dropped and counted")
        for _ in range(20):
            ask(server)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        def recovered() -> bool:
            ask(server)
            return len(monitor.ids()) > 1

        wait_until(recovered, "recorded again")
        wait_until(lambda: _all_accounted_for(server), "every prediction is counted")


def _all_accounted_for(server) -> bool:
    kept = metric(server, "model_predictions_recorded_total") + metric(server, "model_predictions_dropped_total")
    return kept == metric(server, "model_predictions_total")


def test_a_spool_that_cannot_be_made_costs_no_request(bento, tmp_path, monitor):
    (tmp_path / "spool").write_text("a file where a folder should be")
    with serving(bento, tmp_path, env=told(tmp_path, monitor.url)) as server:
        for _ in range(5):
            ask(server)
        wait_until(lambda: metric(server, "model_predictions_dropped_total") == 5, "dropped and counted")
        server.terminate()
        assert server.ended() == 0
        assert server.log.read_text().count("they are dropped") == 1


def test_what_checks_a_server_in_standby_is_no_prediction(bento, tmp_path, monitor):
    active = tmp_path / "active"
    server = ServerProcess(bento, tmp_path, "new", "--standby", active, env=told(tmp_path, monitor.url))
    try:
        server.until("standby")
        checked = ask(server, url=server.private_url)
        active.write_text("new")
        server.until("active")
        ids = ask(server)
        server.terminate()
        assert server.ended() == 0
        assert monitor.ids() == ids != checked
    finally:
        server.kill()


def test_two_servers_of_one_spool_both_ship_theirs(bento, tmp_path, monitor):
    env = told(tmp_path, monitor.url)
    with serving(bento, tmp_path / "a", env=env) as one, serving(bento, tmp_path / "b", env=env) as other:
        ids = [*ask(one), *ask(other)]
        wait_until(lambda: sorted(monitor.ids()) == sorted(ids), "shipped")
