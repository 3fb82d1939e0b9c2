"""vertex/<environment>.yaml, machines, and logins: what is right and what is refused."""

import json
import re
from pathlib import Path

import pytest
import yaml

from pipelines.usecase.api_version import API_VERSION
from pipelines.usecase.operation import Serving
from pipelines.vertex.access import PlainAddress, token_source
from pipelines.vertex.api import VertexApi
from pipelines.vertex.check import check_vertex
from pipelines.vertex.config import load_config
from pipelines.vertex.errors import (
    NoMachineFits,
    VertexConfigInvalid,
    VertexLoginMissing,
    VertexLoginRefused,
    VertexNotConfigured,
)
from pipelines.vertex.machines import size_of
from pipelines.vertex.target import as_label
from tests.fake_vertex import FakeVertex
from tests.pipeline_cases import NAME, Lab
from tests.vertex_cases import CONFIG, PIPELINES

ROOT = Path(__file__).parents[2]


def write(root: Path, values) -> Path:
    (root / "vertex").mkdir(exist_ok=True)
    versioned = values if isinstance(values, str) else {**values, "apiVersion": API_VERSION}
    text = versioned if isinstance(versioned, str) else yaml.safe_dump(versioned, sort_keys=False)
    (root / "vertex" / "staging.yaml").write_text(text)
    return root


def test_an_environment_without_the_file_is_not_on_vertex(tmp_path):
    with pytest.raises(VertexNotConfigured, match=r"vertex/staging\.yaml does not exist"):
        load_config(tmp_path, "staging")


def test_what_is_left_out_has_defaults(tmp_path):
    found = load_config(write(tmp_path, {"project": "example-ml", "region": "europe-west4"}), "staging")
    assert (found.pipelines, found.endpoints.usecases) == (None, [])
    assert found.endpoints.canary is not None
    assert found.endpoints.canary.percent == 10


def test_a_canary_can_be_switched_off(tmp_path):
    found = load_config(write(tmp_path, {**CONFIG, "endpoints": {"canary": None}}), "staging")
    assert found.endpoints.canary is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"project": "example-ml"}, "vertex/staging.yaml:1: region: is missing"),
        ({**CONFIG, "projekt": "x"}, "projekt: is no key of this file"),
        ({**CONFIG, "region": "Europe"}, "vertex/staging.yaml:3: region"),
        ({**CONFIG, "endpoints": {"canary": {"percent": 100}}}, "endpoints.canary.percent"),
        ({**CONFIG, "endpoints": {"canary": {"hold": "soon"}}}, "'soon' is not a duration"),
        ({**CONFIG, "endpoints": {"usecases": ["a", "a"]}}, "stands there twice"),
        ({**CONFIG, "pipelines": {**PIPELINES, "bucket": "s3://x"}}, "pipelines.bucket"),
        ({**CONFIG, "pipelines": {**PIPELINES, "images": {"default": "image:latest"}}}, "pipelines.images.default"),
        ({**CONFIG, "pipelines": {**PIPELINES, "secrets": {"MLOPS_GIT_TOKEN": "ghp_abc"}}}, "secrets.MLOPS_GIT_TOKEN"),
        ("project: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(tmp_path, values, told):
    with pytest.raises(VertexConfigInvalid) as refused:
        load_config(write(tmp_path, values), "staging")
    assert told in str(refused.value)
    assert "docs/vertex.md" in str(refused.value)


def test_the_file_that_the_docs_show_is_right(tmp_path):
    text = (ROOT / "docs" / "vertex.md").read_text()
    (shown,) = re.findall(r"```yaml\n(# vertex/.*?)```", text, re.DOTALL)
    found = load_config(write(tmp_path, shown.replace("…", "0" * 63)), "staging")
    assert found.pipelines is not None
    assert found.endpoints.usecases


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (CONFIG, []),
        (
            {**CONFIG, "endpoints": {"usecases": ["tinny"]}},
            ["endpoints.usecases: there is no use case 'tinny' (did you"],
        ),
        ({**CONFIG, "pipelines": {**PIPELINES, "scheduled": ["other"]}}, ["pipelines.scheduled: there is no use case"]),
        ({**CONFIG, "project": "X"}, ["vertex/staging.yaml:2: project"]),
        (
            {**CONFIG, "pipelines": {**PIPELINES, "images": {}, "scheduled": [NAME]}},
            ["pipelines.scheduled: tiny: tiny runs in the image 'default'"],
        ),
    ],
)
def test_a_check_finds_what_a_reconcile_would_stumble_over(tmp_path, values, told):
    write(Lab(tmp_path / "checkout").root, values)
    found = check_vertex(tmp_path / "checkout")
    assert len(found) == len(told), found
    assert all(part in problem for part, problem in zip(told, found, strict=True))


def test_a_check_finds_a_file_that_nothing_reads(tmp_path):
    write(tmp_path, {})
    (tmp_path / "vertex" / "staging.yaml").rename(tmp_path / "vertex" / "stage.yaml")
    (problem,) = check_vertex(tmp_path)
    assert problem.startswith("vertex/stage.yaml: nothing reads this file")


def test_a_checkout_without_vertex_has_nothing_to_check(tmp_path):
    assert check_vertex(tmp_path) == []


@pytest.mark.parametrize(
    ("cpu", "memory", "machine"),
    [
        ("500m", "512Mi", "e2-highcpu-2"),
        ("500m", "1Gi", "e2-highcpu-2"),
        ("500m", "1025Mi", "e2-standard-2"),
        ("2", "7Gi", "e2-standard-2"),
        ("2.5", "1Gi", "e2-highcpu-4"),
        ("1", "100Gi", "e2-highmem-16"),
    ],
)
def test_the_smallest_machine_that_fits(cpu, memory, machine):
    assert size_of(Serving(cpu=cpu, memory=memory)).machine == machine


def test_a_server_that_is_too_large_for_any(tmp_path):
    with pytest.raises(NoMachineFits, match="64 cores"):
        size_of(Serving(cpu="64"))
    assert size_of(Serving(cpu="64"), "c3-standard-88").machine == "c3-standard-88"


def test_labels_are_cut_to_what_google_allows():
    assert as_label("Flight-Delays:7.1") == "flight-delays_7_1"
    assert len(as_label("a" * 100)) == 63


def test_a_token_is_not_sent_where_it_could_be_read():
    with pytest.raises(PlainAddress):
        VertexApi.of("example-ml", "europe-west4", {"MLOPS_VERTEX_API": "http://vertex.example.com"})


def test_a_token_is_never_in_a_text_of_the_client():
    api = VertexApi.of("example-ml", "europe-west4", {"MLOPS_VERTEX_TOKEN": "ya29.secret"})
    assert "ya29" not in repr(api)
    assert api.address == "https://europe-west4-aiplatform.googleapis.com"


@pytest.fixture
def federated(tmp_path, monkeypatch):
    """A file as google-github-actions/auth writes it: the job's own token is traded for one of Google's."""

    def write_login(address: str) -> None:
        (tmp_path / "oidc").write_text("eyJ.of-the-job")
        kept = {
            "type": "external_account",
            # Not a workload's but a workforce's: for the first google-auth would ask the real Google for a project.
            "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/github",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{address}/token",
            "credential_source": {"file": str(tmp_path / "oidc")},
        }
        (tmp_path / "login.json").write_text(json.dumps(kept))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "login.json"))

    return write_login


def test_the_token_of_a_workflow_is_traded_for_one_of_google_s(federated):
    with FakeVertex().serve() as fake:
        federated(fake.address)
        assert token_source({})() == fake.token
        assert fake.traded == ["eyJ.of-the-job"]


def test_a_token_that_cannot_be_traded(federated):
    federated("http://127.0.0.1:9")
    with pytest.raises(VertexLoginRefused, match="could not be renewed"):
        token_source({})()


def test_nobody_is_logged_in(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    with pytest.raises(VertexLoginMissing, match="gcloud auth application-default login"):
        token_source({})()
