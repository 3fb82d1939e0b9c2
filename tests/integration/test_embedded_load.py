"""Clients notice nothing: not of a rollout, not of many, not of a reconciler that dies between two of them."""

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from pipelines.demo.load import Load
from pipelines.embedded.platform import RolloutFailed
from tests.embedded_world import INSTANCE, World, crash_at_start, until, world

BODY = {"instances": [INSTANCE]}


@pytest.mark.slow
def test_twenty_rollouts_under_load_fail_no_request(tmp_path: Path) -> None:
    with world(tmp_path) as platform:
        url = platform.live(platform.release(platform.pack("0"))).url
        with Load(f"{url}/predict", [BODY]) as load:
            for version in range(1, 21):
                _roll_out(platform, version)
            load.wait_for_answers(load.requests + 20)
    assert dict(load.failed) == {}
    assert {f"tiny-table:{version}" for version in range(21)} == set(load.answered)


@pytest.mark.slow
def test_what_goes_wrong_in_a_rollout_fails_no_request(tmp_path: Path) -> None:
    with world(tmp_path) as platform:
        url = platform.live(platform.release(platform.pack("0"))).url
        with Load(f"{url}/predict", [BODY]) as load:
            with pytest.raises(RolloutFailed):
                platform.live(platform.release(platform.pack("1", spoil=crash_at_start)))
            commit = platform.release(platform.pack("2", weight=0.002))
            until(lambda: len(platform.servers) > 1)
            os.kill(platform.reconciler_pid, signal.SIGKILL)
            platform.live(commit)
            os.kill(platform.reconciler_pid, signal.SIGKILL)
            _roll_out(platform, 3)
            load.wait_for_answers(load.requests + 20)
    assert dict(load.failed) == {}
    assert set(load.answered) == {"tiny-table:0", "tiny-table:2", "tiny-table:3"}


@pytest.mark.slow
def test_a_client_that_keeps_an_idle_connection_is_answered_by_the_old_version_once_more(tmp_path: Path) -> None:
    with world(tmp_path) as platform:
        url = platform.live(platform.release(platform.pack("0"))).url
        with httpx.Client(timeout=10) as idle:
            assert _bento(idle, url) == "tiny-table:0"
            _roll_out(platform, 1)
            time.sleep(1)
            assert _bento(idle, url) == "tiny-table:0"
            assert _bento(idle, url) == "tiny-table:1"
        until(lambda: len(platform.servers) == 1, what="the old server to go when its last client has")


def _roll_out(platform: World, version: int) -> None:
    platform.live(platform.release(platform.pack(str(version), weight=0.001 + version / 10_000)))


def _bento(client: httpx.Client, url: str) -> str:
    return client.post(f"{url}/predict", json=BODY).json()["release"]["bento"]
