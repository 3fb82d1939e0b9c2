"""What Prometheus is told of assessments and requests."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipelines.assessment.assess import assess
from pipelines.monitor.metrics.assessments import NAMES, AssessmentMetrics
from pipelines.monitor.metrics.triggers import TriggerMetrics
from pipelines.retraining.triggers import RunOutcome
from tests.monitoring_cases import NOW, FrameSource, labelled, predictions, reference, sizes, watched
from tests.trigger_cases import SetClock, dispatcher, drift, open_table

REFERENCE = reference()


@pytest.fixture
def registry():
    return CollectorRegistry()


def told(registry) -> dict[str, float]:
    """Each sample by its name and labels, as Prometheus reads them."""
    lines = generate_latest(registry).decode().splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    assert len(samples) == len({name for name, _ in samples}), "the same sample twice"
    return {name: float(value) for name, value in samples}


def judged(frame, environment="staging", **monitoring):
    return assess(watched(**monitoring), environment, FrameSource(frame), REFERENCE, NOW)


def test_scores_and_their_limits_are_metrics(registry):
    AssessmentMetrics(registry).show(judged(labelled(predictions(sizes(1000, shift=3.0)))))

    found = told(registry)

    place = 'environment="staging"'
    assert found[f'model_drift_threshold{{{place},usecase="tiny"}}'] == 0.2
    assert found[f'model_drift_score{{column="size",{place},kind="inputs",usecase="tiny"}}'] > 0.2
    assert f'model_drift_score{{column="confidence",{place},kind="predictions",usecase="tiny"}}' in found
    assert found[f'model_quality_threshold{{bound="at_least",{place},metric="roc_auc",usecase="tiny"}}'] == 0.7
    quality = [found[f'{name}{{{place},metric="roc_auc",usecase="tiny"}}'] for name in _QUALITY]
    assert quality == sorted(quality)
    assert found[f'model_assessment_status{{{place},kind="inputs",status="alert",usecase="tiny"}}'] == 1
    assert found[f'model_assessment_status{{{place},kind="inputs",status="ok",usecase="tiny"}}'] == 0


_QUALITY = ("model_quality_lower", "model_quality", "model_quality_upper")


def test_what_an_evaluation_no_longer_says_is_gone(registry):
    metrics = AssessmentMetrics(registry)
    metrics.show(judged(labelled(predictions(sizes(1000)))))
    assert any(name.startswith("model_drift_score") for name in told(registry))

    metrics.show(judged(predictions(sizes(10))))

    found = told(registry)
    assert not any(name.startswith(("model_drift_score", "model_quality{")) for name in found)
    assert any(name.startswith("model_drift_threshold") for name in found)


def test_a_use_case_that_goes_takes_its_metrics_along(registry):
    metrics = AssessmentMetrics(registry)
    metrics.show(judged(predictions(sizes(300))) + judged(predictions(sizes(300)), "production"))

    metrics.keep_only([("tiny", "production")])

    found = told(registry)
    assert found
    assert all('environment="production"' in name for name in found)
    metrics.keep_only([])
    assert told(registry) == {}


@pytest.mark.parametrize("rows", [0, 199, 1000])
def test_every_sample_is_of_a_named_metric_whatever_the_status(registry, rows):
    AssessmentMetrics(registry).show(judged(predictions(sizes(rows))))

    assert {name.split("{")[0] for name in told(registry)} <= set(NAMES)


def test_the_docs_name_every_metric():
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text(encoding="utf-8")

    assert [name for name in NAMES if f"`{name}`" not in page] == []


def test_requests_are_counted_by_what_came_of_them(registry, tmp_path):
    table, clock = open_table(tmp_path / "monitor.db"), SetClock()
    monitor = dispatcher(table, clock)
    TriggerMetrics(table, registry)
    for number in range(5):
        monitor.request(drift(f"alert:{number}"))
    monitor.request(drift(usecase="quiet"))

    assert told(registry) == {
        'retrain_pending{reason="drift",usecase="tiny"}': 1,
        'retrain_requests_total{outcome="joined",reason="drift",usecase="tiny"}': 4,
        'retrain_requests_total{outcome="joined",reason="drift",usecase="quiet"}': 0,
        'retrain_requests_total{outcome="refused",reason="drift",usecase="quiet"}': 1,
    }

    monitor.finish(monitor.begin(), RunOutcome(outcome="released"))
    found = told(registry)
    assert found['retrain_requests_total{outcome="released",reason="drift",usecase="tiny"}'] == 1
    assert 'retrain_pending{reason="drift",usecase="tiny"}' not in found


def test_a_database_that_is_away_costs_no_other_metric(registry, tmp_path):
    table = open_table(tmp_path / "monitor.db")
    TriggerMetrics(table, registry)
    (tmp_path / "monitor.db").write_bytes(b"this is no database at all, and never was" * 200)

    AssessmentMetrics(registry).show(judged(predictions(sizes(300))))

    assert any(name.startswith("model_assessment_status") for name in told(registry))
