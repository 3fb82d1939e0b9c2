"""The dashboards are what their code writes, and reach Grafana as ConfigMaps that Flux leaves as they are."""

import subprocess
import sys

import pytest
import yaml

from tests.monitoring.queries import dashboards
from tests.monitoring.rules import FOLDER, ROOT

PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in dashboards().items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]


def test_they_are_fresh():
    checked = subprocess.run(
        [sys.executable, FOLDER / "dashboards", "--check"], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr


@pytest.fixture(scope="module")
def config_maps():
    built = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=False, timeout=60
    )
    assert built.returncode == 0, built.stderr
    return [found for found in yaml.safe_load_all(built.stdout) if found["kind"] == "ConfigMap"]


def test_every_dashboard_is_a_config_map_that_grafana_s_sidecar_finds(config_maps):
    assert {name for found in config_maps for name in found["data"]} == set(dashboards())
    release = ROOT / "infrastructure" / "controllers" / "kube-prometheus-stack" / "release.yaml"
    sidecar = yaml.safe_load(release.read_text())["spec"]["values"]["grafana"]["sidecar"]["dashboards"]
    for found in config_maps:
        assert found["metadata"]["labels"] == {"grafana_dashboard": "1"}
        assert found["metadata"]["annotations"][sidecar["folderAnnotation"]] == "mlops-blueprint"


def test_flux_leaves_their_variables_alone(config_maps):
    for found in config_maps:
        assert found["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/substitute"] == "disabled"


def test_links_and_bookmarks_last():
    assert {name: made["uid"] for name, made in dashboards().items()} == {
        "model-health.json": "model-health",
        "platform.json": "platform",
        "service-health.json": "service-health",
    }
    for made in dashboards().values():
        assert made["title"]
        assert not made["editable"], "a change made in the browser is lost with the pod"


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_the_one_source_by_name_and_fits(panel):
    assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
    assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert panel["targets"]
    names = [target["refId"] for target in panel["targets"]]
    assert len(names) == len(set(names))


def test_releases_are_marked_where_models_are_looked_at():
    marked = {name for name, made in dashboards().items() if made["annotations"]["list"]}
    assert marked == {"service-health.json", "model-health.json"}
