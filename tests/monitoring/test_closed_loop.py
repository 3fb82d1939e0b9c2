"""The whole loop with nothing played: other requests → drift → Prometheus → Alertmanager → the monitor → the pipeline →
a commit → the reconciler → a new version, after which the alert is over.

Only the waits are shorter than in production, and the data is small.
"""

import copy
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from pipelines.embedded.monitor_process import read_token
from pipelines.embedded.platform import down, status, up, wait_for
from pipelines.predictions.store.store import Store
from pipelines.release.releases import open_releases
from pipelines.retraining.queue import TriggerTable
from tests.embedded_world import free_port, until
from tests.monitoring.alerting import alertmanager, alertmanager_config, prometheus
from tests.monitoring.test_alert_loop import MONITOR, firing, quick_rules
from tests.pipeline_cases import MODEL_PY, NAME, USECASE, Lab, git, run_here

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(420)]
WATCHED = {"drift": {"columns": ["size", "kind"], "threshold": 0.2, "min_rows": 200, "window": "24h"}}
# The monitor judges all the time and acts on alerts alone, as it does in a cluster.
EAGER = {"MLOPS_EVALUATE_EVERY": "1s", "MLOPS_ACT_ON": "", "MLOPS_LONGEST_COOLDOWN": "0s"}
ROUND, RUN = 60, 200
BIGGER = MODEL_PY.replace("uniform(0, 10, rows)", "uniform(4, 10, rows)").replace("+ noise > 5", "+ noise > 7")


@pytest.fixture
def platform(tmp_path: Path, monkeypatch) -> Iterator[Lab]:
    for name in ("MLOPS_ENVIRONMENT", "MLOPS_REMOTE", "MLOPS_RUN", "MLOPS_MONITOR_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in EAGER.items():
        monkeypatch.setenv(name, value)
    lab = Lab(tmp_path / "checkout")
    values = copy.deepcopy(USECASE)
    values["monitoring"] = WATCHED
    values["retrain"] = {"on": ["drift"], "cooldown": "6h"}
    lab.write_usecase(values)
    git(lab.root, "commit", "-q", "-am", "watch it")
    lab.settings.home.mkdir(exist_ok=True)
    (lab.settings.home / "monitor.token").write_text("secret")
    try:
        up(lab.settings, port=free_port(), monitor=True)
        yield lab
    finally:
        down(lab.settings)


def train(lab: Lab) -> str:
    run = run_here(lab, lab.request())
    assert run.outcome == "released", run.error
    return str(wait_for(lab.settings, NAME, "staging", run.commit or "", timeout=60).url)


def ask(url: str, low: float, rows: int = 600) -> None:
    """Requests about things of at least this size."""
    rng = np.random.default_rng(11)
    instances = [
        {"size": float(size), "kind": str(kind)}
        for size, kind in zip(rng.uniform(low, 10, rows), rng.choice(["a", "b", "c"], rows), strict=True)
    ]
    httpx.post(f"{url}/predict", json={"instances": instances}, timeout=30).raise_for_status()


def inputs(lab: Lab, bento: str) -> str | None:
    """What the last evaluation of this version's requests came to."""
    store = Store.open(lab.settings.store)
    try:
        found = store.assessments(NAME, "staging", kind="inputs", limit=1)
    finally:
        store.close()
    return str(found[0]["status"]) if found and found[0]["bento"] == bento else None


def test_other_requests_end_in_a_new_version_and_the_alert_is_over(platform: Lab, tmp_path: Path) -> None:
    url = train(platform)
    monitor = str(status(platform.settings).monitor)
    assert read_token(platform.settings.home) == "secret"
    routes = yaml.safe_load(MONITOR.read_text())
    with (
        alertmanager(tmp_path, alertmanager_config(routes, url=f"{monitor}/alerts", quick=True)) as manager,
        prometheus(tmp_path, quick_rules(), {"monitor": monitor}, manager, every=("1s", "900ms")) as asking,
    ):
        ask(url, low=0)
        until(lambda: inputs(platform, f"{NAME}:1") == "ok", ROUND, "requests as in training to be judged well")
        assert "InputsDrifted" not in firing(asking)

        platform.write_model(BIGGER)  # what the world is like by now
        git(platform.root, "commit", "-q", "-am", "the data of today")
        for _ in range(3):
            ask(url, low=4)
        until(lambda: inputs(platform, f"{NAME}:1") == "alert", ROUND, "other requests to be seen")
        until(lambda: firing(asking).get("InputsDrifted") == "firing", ROUND, "the alert")

        table = TriggerTable(Store.open(platform.settings.store).database)
        until(
            lambda: [one for one in table.newest(NAME) if one.state == "released"], RUN, "the run to end in a release"
        )
        [record] = table.newest(NAME)
        assert record.reason == "drift"
        [released, first] = open_releases(platform.settings).history(NAME, "staging")
        assert (released.release.bento, first.release.bento) == (f"{NAME}:2", f"{NAME}:1")
        assert released.reason == record.sentence
        assert released.reason.startswith("drift: Requests to tiny in staging differ from the training data: size by ")
        wait_for(platform.settings, NAME, "staging", released.commit, timeout=60)

        ask(url, low=4)
        until(lambda: inputs(platform, f"{NAME}:2") == "ok", ROUND, "today's requests to fit today's model")
        until(lambda: "InputsDrifted" not in firing(asking), ROUND, "the alert to be over")
    assert [one.state for one in table.newest(NAME)] == ["released"], "one run, however often it was told"
