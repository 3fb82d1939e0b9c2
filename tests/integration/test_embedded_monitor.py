"""The monitor as part of the embedded platform: everything is recorded, nothing is lost, and it ends with the rest."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from pipelines.embedded.monitor_process import MONITOR, read_token
from pipelines.embedded.platform import status
from pipelines.embedded.supervisor_client import Supervisor
from pipelines.predictions.store.schema import predictions
from pipelines.predictions.store.store import Store
from tests.embedded_world import INSTANCE, World, until, world
from tests.monitor_cases import usecase
from tests.serving import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
NAME = "tiny-table"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, monitor=True) as made:
        folder = made.settings.root / "apps" / NAME
        folder.mkdir()
        values = usecase().model_dump(mode="json", exclude_unset=True)
        (folder / "usecase.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        made.live(made.release(made.pack("1")))
        yield made


def stored(platform: World) -> int:
    store = Store.open(platform.settings.store)
    try:
        return store.counts(NAME).predictions
    finally:
        store.close()


def address(platform: World) -> str:
    return str(status(platform.settings).monitor)


def test_every_answer_is_kept_with_the_version_and_the_commit_that_gave_it(platform: World) -> None:
    told = platform.ask()
    until(lambda: stored(platform) == 1, what="the prediction to be stored")
    store = Store.open(platform.settings.store)
    with store.reading() as connection:
        [row] = connection.execute(predictions.select()).mappings().all()
    store.close()
    assert row["id"] == told["ids"][0]
    assert row["inputs"]["distance"] == INSTANCE["distance"]
    version = (row["usecase"], row["environment"], row["bento"], row["model"], row["commit"])
    assert version == (NAME, "staging", f"{NAME}:1", f"{NAME}/1", platform.model().commit)


def test_a_monitor_that_is_killed_comes_back_where_it_was_and_has_missed_nothing(platform: World) -> None:
    url, before = address(platform), Supervisor(platform.home).watched()[MONITOR].pid
    os.kill(int(before or 0), signal.SIGKILL)
    for _ in range(20):
        platform.ask()
    until(lambda: stored(platform) == 20, what="all predictions to be stored")
    assert address(platform) == url
    assert Supervisor(platform.home).watched()[MONITOR].pid not in (None, before)
    assert httpx.get(f"{url}/readyz", timeout=20).text == "ok"


def test_the_page_and_the_metrics_say_what_is_released(platform: World) -> None:
    url = address(platform)
    until(lambda: "serving" in httpx.get(url, timeout=20).text, what="the page to say that the model serves")
    assert f"{NAME}:1" in httpx.get(url, timeout=20).text
    metrics = httpx.get(f"{url}/metrics", timeout=20).text
    assert f'model_release_info{{bento="{NAME}:1"' in metrics


def test_only_who_has_the_token_may_write(platform: World) -> None:
    url, token = address(platform), platform.home / "monitor.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert httpx.post(f"{url}/labels", json={"labels": []}, timeout=20).status_code == 401
    login = {"authorization": f"Bearer {read_token(platform.home)}"}
    assert httpx.post(f"{url}/alerts", json={"version": "4", "alerts": []}, headers=login).status_code == 200


def test_it_ends_with_the_platform_and_begins_with_it_again(platform: World) -> None:
    url = address(platform)
    platform.down()
    assert status(platform.settings).monitor is None
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=5)
    assert platform.up().monitor == url
    platform.ask()
    until(lambda: stored(platform) == 1, what="predictions to be stored again")


# --- the verb -------------------------------------------------------------------------------------------------


def mlops_monitor(platform: World, *options: str, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "--root", str(platform.settings.root), "monitor", *options],
        env={**os.environ, "MLOPS_HOME": str(platform.home / "another"), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def resting(tmp_path: Path) -> World:
    """A checkout whose platform is not up."""
    return World(tmp_path)


@pytest.mark.parametrize(
    ("options", "env", "told"),
    [
        (["--host", "0.0.0.0"], {}, "MLOPS_MONITOR_TOKEN is not set"),
        ([], {"MLOPS_WATCH": "git,cluster"}, "MLOPS_WATCH: expected 'git' or 'cluster' (got 'git,cluster')"),
        ([], {"MLOPS_EVALUATE_EVERY": "often"}, "MLOPS_EVALUATE_EVERY: 'often' is not a duration"),
        ([], {"MLOPS_ACT_ON": "drift"}, "MLOPS_ACT_ON: 'drift' is no cause; expected some of assessments"),
        ([], {"MLOPS_RUNS_AT_ONCE": "0"}, "MLOPS_RUNS_AT_ONCE: expected at least 1 (got '0')"),
        ([], {"MLOPS_STORE": "mysql://nobody"}, "mysql"),
        ([], {"MLOPS_WATCH": "cluster", "KUBECONFIG": "/nonexistent"}, "no cluster to look at"),
    ],
)
def test_what_it_cannot_begin_with_is_told_before_it_begins(resting, options, env, told):
    process = mlops_monitor(resting, *options, **env)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told in words
    assert "Traceback" not in words


def test_a_port_that_is_taken_is_told_with_a_way_out(resting: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = mlops_monitor(resting, "--port", str(port))
        _, words = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1, port {port}" in words
    assert "--port NUMBER" in words


def test_it_stops_when_it_is_told_to(resting: World) -> None:
    port = free_port()
    process = mlops_monitor(resting, "--port", str(port))
    try:
        until(lambda: _answers(port), what="the monitor to answer")
        process.terminate()
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGTERM)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez", timeout=5).text == "ok"
    except httpx.HTTPError:
        return False
