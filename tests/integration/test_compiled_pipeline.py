"""The compiled pipeline, each component's own command run as the backend would, with nothing shared but the stores."""

import pytest

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import Verdict
from pipelines.release.releases import open_releases
from pipelines.runners import local
from pipelines.training.tracking import mlflow_client
from tests.kubeflow_cases import STEPS, apart
from tests.pipeline_cases import NAME, Lab
from tests.stores import stores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with stores(tmp_path_factory.mktemp("stores")) as running:
        yield running


@pytest.fixture
def cluster(lab, shared, tmp_path):
    with apart(lab, shared, tmp_path / "apart") as place:
        yield place


def test_steps_apart_answer_what_the_embedded_run_does(cluster, tmp_path):
    embedded = Lab(tmp_path / "embedded" / "checkout")
    asked = cluster.lab.request(seed=7)
    here = local.run(embedded.settings, embedded.request(seed=7), lambda _record: None)
    done = cluster.run(asked)

    assert list(done) == STEPS, done[list(done)[-1]].log
    assert here.outcome == "released"
    journal = cluster.journal(asked)
    told = {step: journal.records_of(step)[-1 if step != "release" else -2] for step in STEPS}
    for step, kind in (("evaluate", Evaluation), ("gate", Verdict)):
        assert kind.model_validate(told[step].result) == kind.model_validate(here.results[step])
    there = open_releases(cluster.lab.settings).current(NAME, "staging")
    own = open_releases(embedded.settings).current(NAME, "staging")
    assert (there.bento, there.model, there.data, there.metrics) == (own.bento, own.model, own.data, own.metrics)
    assert there.image.startswith(f"{cluster.stores.registry.host}/models/{NAME}@sha256:")
    client = mlflow_client(cluster.stores.tracking_uri)
    assert client.get_run(journal.mlflow_run).info.status == "FINISHED"
    assert {item.path for item in client.list_artifacts(journal.mlflow_run, "evaluation")} >= {
        "evaluation/verdict.md",
        "evaluation/model-card.html",
    }
