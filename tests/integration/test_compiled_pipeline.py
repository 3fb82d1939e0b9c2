"""The compiled pipeline, each component's own command run as the backend would, with nothing shared but the stores."""

import pytest
import yaml

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import Verdict
from pipelines.release.releases import open_releases
from pipelines.runs.tracking import mlflow_client
from tests.kubeflow_cases import STEPS, apart
from tests.pipeline_cases import NAME, Lab, run_here
from tests.stores import stores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 7


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with stores(tmp_path_factory.mktemp("stores")) as running:
        yield running


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A run on this machine as users have it: its steps, and what it released."""
    lab = Lab(tmp_path_factory.mktemp("embedded") / "checkout")
    run = run_here(lab, lab.request(seed=SEED))
    assert run.outcome == "released", run.error
    return run, open_releases(lab.settings).current(NAME, "staging")


@pytest.fixture
def cluster(lab, shared, tmp_path):
    with apart(lab, shared, tmp_path / "apart") as place:
        yield place


def assert_same_answer(cluster, asked, embedded):
    """Metrics, verdict and release; versions count runs, and the images' names are another registry's."""
    here, own = embedded
    journal = cluster.journal(asked)
    for step, kind in (("evaluate", Evaluation), ("gate", Verdict)):
        told = next(record for record in journal.records_of(step) if record.event == "finished")
        assert kind.from_values(told.result) == kind.from_values(here.results[step])
    there = open_releases(cluster.lab.settings).current(NAME, "staging")
    assert (there.data, there.metrics) == (own.data, own.metrics)
    assert there.bento.split(":")[0] == own.bento.split(":")[0] == NAME
    assert there.image.startswith(f"{cluster.stores.registry.host}/models/{NAME}@sha256:")
    return there, journal


def test_steps_apart_answer_what_the_embedded_run_does(cluster, embedded):
    asked = cluster.lab.request(seed=SEED)
    done = cluster.run(asked)
    assert list(done) == STEPS, done[list(done)[-1]].log
    _, journal = assert_same_answer(cluster, asked, embedded)
    client = mlflow_client(cluster.stores.tracking_uri)
    assert client.get_run(journal.mlflow_run).info.status == "FINISHED"
    assert {item.path for item in client.list_artifacts(journal.mlflow_run, "evaluation")} >= {
        "evaluation/verdict.md",
        "evaluation/model-card.html",
    }


def test_a_rejected_candidate_goes_no_further_than_its_gate(cluster):
    values = yaml.safe_load((cluster.lab.root / "apps" / NAME / "usecase.yaml").read_text())
    values["evaluation"]["gates"] = [{"metric": "roc_auc", "at_least": 0.999999}]
    cluster.lab.write_usecase(values)
    asked = cluster.lab.request(seed=SEED)
    done = cluster.run(asked)
    assert list(done) == STEPS[:5]
    assert done["gate"].parameters == {"passed": False}
    assert open_releases(cluster.lab.settings).current(NAME, "staging") is None
    journal = cluster.journal(asked)
    tracked = mlflow_client(cluster.stores.tracking_uri).get_run(journal.mlflow_run)
    assert (tracked.data.tags["gate"], tracked.info.status) == ("rejected", "FINISHED")


def test_a_step_that_shares_no_store_says_so_before_anything_is_trained(cluster):
    del cluster.config_maps["mlops-settings"]["MLOPS_SNAPSHOTS"]
    done = cluster.run(cluster.lab.request(seed=SEED))
    assert list(done) == ["snapshot"]
    assert done["snapshot"].status != 0
    assert "MLOPS_SNAPSHOTS is" in done["snapshot"].log
    assert "s3://" in done["snapshot"].log
