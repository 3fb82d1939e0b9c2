"""The monitor's place in a cluster: who reaches it, what it may read, and names that agree from file to file."""

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.monitor.options import Options
from tests.monitoring.rules import ROOT, rules

MONITOR = ROOT / "infrastructure" / "platform" / "monitor"
SERVER = ROOT / "apps" / "components" / "model-server"
ADDRESS = "http://monitor.mlops.svc.cluster.local"


def read(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / f"{name}.yaml").read_text())
    return found


def container(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(folder, "deployment")["spec"]["template"]["spec"]["containers"][0]
    return found


def environ(folder: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in container(folder)["env"]}


def test_it_reads_two_names_and_nothing_else():
    role = read(MONITOR, "clusterrole")
    assert [(rule["resources"], rule["resourceNames"]) for rule in role["rules"]] == [
        (["configmaps"], ["usecase"]),
        (["deployments"], ["model-server"]),
    ]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    account = read(ROOT / "infrastructure" / "platform" / "mlops", "serviceaccount")["metadata"]
    (subject,) = read(MONITOR, "clusterrolebinding")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}


def test_what_it_needs_of_secrets_is_made_by_somebody():
    database = read(ROOT / "infrastructure" / "platform" / "mlops", "database")["metadata"]["name"]
    made = {f"{database}-app": {"uri"}}  # by CloudNativePG
    for name in ("token", "privacy-key"):
        target = read(MONITOR, name)["spec"]["target"]
        made[target["name"]] = set(target["template"]["data"])
    for name, one in environ(MONITOR).items():
        wanted = one["valueFrom"]["secretKeyRef"]
        assert wanted["key"] in made.get(wanted["name"], set()), name


def test_servers_have_its_address_and_its_token():
    given = read(MONITOR, "clients")["spec"]["externalSecretSpec"]
    assert given["target"]["template"]["data"] == {"token": "{{ .token }}", "url": ADDRESS}
    assert given["data"][0]["secretKey"] == "token"
    pod = read(SERVER, "deployment")["spec"]["template"]["spec"]
    (mount,) = [each for each in container(SERVER)["volumeMounts"] if each["name"] == "monitor"]
    (volume,) = [each["secret"] for each in pod["volumes"] if each["name"] == "monitor"]
    assert environ(SERVER)["MLOPS_MONITOR_FOLDER"]["value"] == mount["mountPath"]
    assert volume["secretName"] == given["target"]["name"]
    assert volume["optional"], "a cluster without the monitor serves, and records nothing"


def test_its_service_is_at_that_address():
    service = read(MONITOR, "service")
    place = service["metadata"]
    assert f"http://{place['name']}.{place['namespace']}.svc.cluster.local" == ADDRESS
    (port,) = service["spec"]["ports"]
    assert port["port"] == 80
    assert port["targetPort"] in {one["name"] for one in container(MONITOR)["ports"]}
    (webhook,) = read(MONITOR, "alerts")["spec"]["receivers"][0]["webhookConfigs"]
    assert webhook["url"] == f"{ADDRESS}/alerts"


def test_the_way_from_a_server_to_it_is_open_on_both_ends():
    (listening,) = container(MONITOR)["ports"]
    out = read(SERVER, "networkpolicy")["spec"]["egress"]
    (way,) = [rule for rule in out if "podSelector" in rule["to"][0]]
    assert way["ports"] == [{"port": listening["containerPort"], "protocol": "TCP"}]
    labels = read(MONITOR, "deployment")["spec"]["template"]["metadata"]["labels"]
    assert way["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    (door,) = read(MONITOR, "networkpolicy")["spec"]["ingress"]
    models, others = door["from"]
    assert models["namespaceSelector"]["matchExpressions"] == [{"key": "mlops-blueprint/usecase", "operator": "Exists"}]
    assert set(others["namespaceSelector"]["matchExpressions"][0]["values"]) == {"kubeflow", "monitoring"}


def test_rules_know_both_by_the_names_that_the_operator_gives():
    """The label `job` is the name of the Service."""
    asked = " ".join(rule["expr"] for rule in rules())
    for folder in (MONITOR, SERVER):
        assert f'job="{read(folder, "service")["metadata"]["name"]}"' in asked


def test_a_server_s_own_labels_win_and_it_is_known_by_use_case_and_environment():
    (endpoint,) = read(SERVER, "servicemonitor")["spec"]["endpoints"]
    assert endpoint["honorLabels"], 'else endpoint="/predict" becomes exported_endpoint, and no rule finds it'
    assert {one["targetLabel"] for one in endpoint["relabelings"]} == {"usecase", "environment"}


def test_it_is_nobody_special():
    pod = read(MONITOR, "deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    security = container(MONITOR)["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_every_profile_has_it_and_its_command_can_be_said():
    verb, *options = container(MONITOR)["args"]
    CliRunner().invoke(main, [verb, *options, "--help"], catch_exceptions=False)
    for profile in ("lite", "full"):
        parts = read(ROOT / "infrastructure" / "profiles" / profile / "platform", "kustomization")["resources"]
        assert "../../../platform/monitor" in parts


def test_its_settings_can_be_read_and_only_where_pipelines_are_does_it_start_any():
    own = read(MONITOR, "settings")["data"]
    (patch,) = read(MONITOR / "retrains", "kustomization")["patches"]
    changed = yaml.safe_load(patch["patch"])["data"]
    assert not Options.load(own).starts_runs
    assert Options.load(own).watch == "cluster"
    trains = Options.load(own | changed)
    assert (trains.starts_runs, trains.act_on) == (True, ("new-data",)), "alerts and CronJobs do the rest"
    for cluster in ("local", "staging", "production"):
        stage = read(ROOT / "clusters" / cluster, "platform")["spec"]
        has_pipelines = (ROOT / "clusters" / cluster / "pipelines").is_dir()
        assert ("../../../platform/monitor/retrains" in stage.get("components", [])) == has_pipelines, cluster


def test_every_cluster_says_which_image():
    assert container(MONITOR)["image"] == "${MONITOR_IMAGE}"
    for cluster in ("local", "staging", "production"):
        assert read(ROOT / "clusters" / cluster, "cluster-vars")["data"]["MONITOR_IMAGE"]
