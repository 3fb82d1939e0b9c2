"""Who is told what: the monitor every alert about a model, a team its own, each through Alertmanager's own amtool."""

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.monitoring import tools
from tests.monitoring.alerting import alertmanager_config
from tests.monitoring.rules import ROOT

MONITOR = yaml.safe_load((ROOT / "infrastructure" / "platform" / "monitor" / "alerts.yaml").read_text())
(EXAMPLE,) = re.findall(r"```yaml\n(# Alerts about.+?)```", (ROOT / "docs" / "alerts.md").read_text(), re.DOTALL)
TEAM = yaml.safe_load(EXAMPLE)
SCHEMAS = Path(os.environ.get("MLOPS_SCHEMAS", ROOT.parent / "shared" / "schemas"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("routing") / "alertmanager.yml"
    made = alertmanager_config(MONITOR, TEAM)
    for receiver in made["receivers"]:
        for chat in receiver.get("slack_configs", []):
            chat["api_url"] = "https://chat.example.com/secret"
    file.write_text(yaml.safe_dump(made))
    return file


def told(config: Path, **labels: str) -> set[str]:
    words = [f"{name}={value}" for name, value in labels.items()]
    found = tools.run("amtool", "config", "routes", "test", f"--config.file={config}", *words)
    assert found.returncode == 0, found.stderr
    return set(found.stdout.strip().split(","))


def test_alertmanager_takes_it(config):
    checked = tools.run("amtool", "check-config", config)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_monitor_is_told_of_every_model(config):
    told_of = told(config, alertname="InputsDrifted", usecase="fashion-mnist", environment="staging", owner="looks")
    assert told_of == {"mlops/monitor/monitor"}


def test_a_team_is_told_of_its_own_models_beside_the_monitor(config):
    told_of = told(config, alertname="QualityLow", usecase="flight-delays", owner="operations-analytics")
    assert told_of == {"mlops/monitor/monitor", "monitoring/operations-analytics/chat"}


def test_what_is_about_no_model_does_not_go_to_the_monitor(config):
    assert told(config, alertname="MonitorDown", owner="platform") == {"null"}


def test_the_monitor_hears_when_it_is_over_and_lets_only_those_in_that_know_the_token():
    (webhook,) = MONITOR["spec"]["receivers"][0]["webhookConfigs"]
    assert webhook["sendResolved"]
    assert webhook["httpConfig"]["authorization"]["credentials"] == {"name": "monitor-token", "key": "token"}


@pytest.mark.parametrize("found", [MONITOR, TEAM], ids=["monitor", "docs/alerts.md"])
def test_the_operator_knows_every_field(found):
    file = SCHEMAS / "json" / "monitoring.coreos.com" / "alertmanagerconfig_v1alpha1.json"
    if not file.is_file():
        pytest.skip(f"no schema of AlertmanagerConfig: there is no {file}; MLOPS_SCHEMAS names the folder")
    jsonschema.Draft7Validator(json.loads(file.read_text())).validate(found)
