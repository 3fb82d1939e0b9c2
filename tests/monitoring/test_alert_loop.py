"""What is judged bad becomes an alert, reaches the monitor's webhook as a request for a run, and is taken back.

Prometheus and Alertmanager are real, on the rules and routes of the tree, with shorter waits. What they ask is a
process with the monitor's collectors; what they call is read by the code behind the monitor's /alerts.
"""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest
import yaml

from pipelines.assessment.assess import Assessment
from pipelines.retraining.alertmanager import read_alerts
from tests.monitoring.alerting import Called, alertmanager, alertmanager_config, prometheus
from tests.monitoring.queries import of_dashboards
from tests.monitoring.rules import ROOT, groups
from tests.serving import free_port, wait_until

WITHIN = 25
MONITOR = ROOT / "infrastructure" / "platform" / "monitor" / "alerts.yaml"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def judged(score: float) -> str:
    """One evaluation of the inputs, with this score of the worst column."""
    now = datetime.now(UTC)
    column = {"column": "temperature", "score": score, "drifted": score > 0.2}
    one = Assessment(
        id="flight-delays.staging.inputs.1",
        usecase="flight-delays",
        environment="staging",
        kind="inputs",
        time=now,
        window_start=now,
        window_end=now,
        status="alert" if score > 0.2 else "ok",
        summary="",
        value=score,
        threshold=0.2,
        detail={"columns": [column]},
        bento="flight-delays:7",
    )
    return json.dumps([one.model_dump(mode="json")])


def quick_rules() -> dict[str, object]:
    """The tree's, with seconds instead of minutes."""
    made = [
        {
            **group,
            "rules": [
                {
                    **rule,
                    "expr": rule["expr"].replace("[1h:1m]", "[1h:300ms]"),
                    **({"for": "1s"} if "for" in rule else {}),
                }
                for rule in group["rules"]
            ],
        }
        for group in groups()
    ]
    return {"groups": made}


@pytest.fixture
def exporter(tmp_path):
    file, port = tmp_path / "assessments.json", free_port()
    file.write_text(judged(0.01))
    with (tmp_path / "exporter.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.monitoring.exporter", str(port), str(file)], cwd=ROOT, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "exporter.log").read_text()
        try:
            return "model_drift_score" in httpx.get(f"{address}/metrics").text
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, "the exporter answers")
        yield address, file
    finally:
        process.kill()
        process.wait()


def firing(address: str) -> dict[str, str]:
    alerts = httpx.get(f"{address}/api/v1/alerts").json()["data"]["alerts"]
    return {alert["labels"]["alertname"]: alert["state"] for alert in alerts}


def test_drift_asks_for_a_run_and_takes_it_back_and_every_panel_can_ask(tmp_path, exporter):
    exported, file = exporter
    routes = yaml.safe_load(MONITOR.read_text())
    with (
        Called() as monitor,
        alertmanager(tmp_path, alertmanager_config(routes, url=monitor.url, quick=True)) as manager,
        prometheus(tmp_path, quick_rules(), {"monitor": exported}, manager) as asking,
    ):
        wait_until(lambda: "ModelDown" in firing(asking), "rules are evaluated", WITHIN)  # there is no server here
        assert "InputsDrifted" not in firing(asking)

        file.write_text(judged(3.1))
        body, alert = wait_until(lambda: monitor.told("InputsDrifted", "firing"), "the webhook is called", WITHIN)
        webhook = json.loads(body)
        assert webhook["version"] == "4"
        assert webhook["groupLabels"] == {
            "environment": "staging",
            "owner": "operations-analytics",
            "usecase": "flight-delays",
        }
        assert set(monitor.logins) == {"Bearer secret"}
        assert alert["annotations"]["runbook_url"].endswith("docs/alerts.md#inputsdrifted")
        (asked,) = [one for one in read_alerts(body).triggers if one.reason == "drift"]
        assert (asked.usecase, asked.environment) == ("flight-delays", "staging")
        told = "Requests to flight-delays in staging differ from the training data: temperature by 3.10"
        assert asked.evidence == told
        fires = firing(asking)
        assert {name for name, state in fires.items() if state == "firing"} == {"InputsDrifted", "ModelDown"}

        for query in of_dashboards():
            answered = httpx.get(f"{asking}/api/v1/query", params={"query": query.text}).json()
            assert answered["status"] == "success", f"{query.place}: {answered['error']}"

        file.write_text(judged(0.02))
        body, _ = wait_until(lambda: monitor.told("InputsDrifted", "resolved"), "the alert is over", WITHIN)
        assert asked.fingerprint in {gone.fingerprint for gone in read_alerts(body).gone}


def test_waits_are_shorter_here_and_nothing_else_differs():
    own = [rule for group in groups() for rule in group["rules"]]
    quick = [rule for group in quick_rules()["groups"] for rule in group["rules"]]
    for rule, changed in zip(own, quick, strict=True):
        assert re.sub(r"\[1h:\w+\]", "", rule["expr"]) == re.sub(r"\[1h:\w+\]", "", changed["expr"])
        assert {**rule, "expr": "", "for": ""} == {**changed, "expr": "", "for": ""}
