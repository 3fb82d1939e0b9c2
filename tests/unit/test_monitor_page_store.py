"""Assessments of many use cases at a glance, on SQLite and on a real PostgreSQL: the same on both."""

from datetime import timedelta

import pytest

from pipelines.assessment.assess import Assessment
from pipelines.monitor.page.queries import steps_between
from pipelines.predictions.store.rows import Origin, PredictionRow
from pipelines.predictions.store.store import Store
from pipelines.predictions.store.summaries import KINDS
from tests.databases import postgres
from tests.monitoring_cases import NOW

HOUR = timedelta(hours=1)
TINY, QUOTED = ("tiny", "staging"), ('o\'neill "$[0]" ü', "staging")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def store(request, tmp_path):
    if request.param == "sqlite":
        opened = Store.open(f"sqlite:///{tmp_path / 'monitor.db'}")
        yield opened
        opened.close()
        return
    with postgres() as server:
        opened = Store.open(server.url)
        yield opened
        opened.close()


def told(place, kind, at, value=0.1, status="ok") -> Assessment:
    return Assessment(
        id=f"{place}{kind}{at}",
        usecase=place[0],
        environment=place[1],
        kind=kind,
        time=at,
        window_start=at - HOUR,
        window_end=at,
        status=status,
        summary="a sentence",
        value=value,
        threshold=0.2,
        detail={"columns": [{"column": "size", "score": value}]},
        bento="tiny:7",
    )


def test_the_newest_of_each_kind_and_place(store):
    for place in (TINY, QUOTED, ("other", "staging"), ("tiny", "production")):
        store.save_assessments([told(place, kind, NOW - hours * HOUR, hours) for kind in KINDS for hours in (2, 0, 1)])
    found = [Assessment.model_validate(row) for row in store.newest_assessments([TINY, QUOTED])]
    assert {(one.usecase, one.environment, one.kind) for one in found} == {
        (*place, kind) for place in (TINY, QUOTED) for kind in KINDS
    }
    assert {(one.time, one.value) for one in found} == {(NOW, 0.0)}
    assert found[0].detail == {"columns": [{"column": "size", "score": 0.0}]}


def test_nobody_is_asked_about(store):
    store.save_assessments([told(TINY, "inputs", NOW)])
    assert store.newest_assessments([]) == []
    assert store.newest_assessments([("nobody", "staging")]) == []
    assert store.first_assessment([], NOW - HOUR) is None
    assert store.last_predictions([]) == {}


def test_the_first_one_since_a_time(store):
    store.save_assessments([told(TINY, "inputs", NOW - hours * HOUR) for hours in (50, 3, 1)])
    store.save_assessments([told(QUOTED, "quality", NOW - 2 * HOUR)])
    assert store.first_assessment([TINY, QUOTED], NOW - 10 * HOUR) == NOW - 3 * HOUR
    assert store.first_assessment([QUOTED], NOW - 10 * HOUR) == NOW - 2 * HOUR
    assert store.first_assessment([TINY], NOW) is None


def test_the_last_value_of_each_step_and_none_where_there_was_none(store):
    store.save_assessments([told(TINY, "inputs", NOW - hours * HOUR, hours) for hours in (8, 5, 4, 3, 0)])
    store.save_assessments([told(QUOTED, "inputs", NOW, value=None, status="too-few")])
    moments = steps_between(NOW - 8 * HOUR, NOW, 4)
    found = store.assessed_values([TINY, QUOTED], ("inputs",), moments)
    assert found == {(*TINY, "inputs"): [8.0, 4.0, 3.0, 0.0], (*QUOTED, "inputs"): [None] * 4}


def test_everything_of_one_over_time(store):
    store.save_assessments([told(TINY, kind, NOW - hours * HOUR, hours) for kind in KINDS for hours in range(9)])
    found = store.assessed_over_time(TINY, steps_between(NOW - 8 * HOUR, NOW, 4))
    times = [row["time"] for row in found]
    assert times == sorted(times)
    assert [row["value"] for row in found if row["kind"] == "quality"] == [6.0, 4.0, 2.0, 0.0]


def test_when_each_model_answered_last(store):
    for usecase, environment, at in ((*TINY, NOW - HOUR), (*TINY, NOW), ("tiny", "production", NOW - 2 * HOUR)):
        origin = Origin(usecase, environment, "tiny:7", "tiny/7", "run", None, {})
        store.save_predictions(origin, [PredictionRow(f"{environment}{at}", at, {}, {})], NOW)
    assert store.last_predictions([TINY, QUOTED]) == {TINY: NOW}


@pytest.mark.parametrize(("span", "count"), [(0.0, 1), (0.5, 1), (3.0, 3), (3600.0, 20)])
def test_steps_cover_all_of_the_time_and_none_is_shorter_than_a_second(span, count):
    end = NOW + timedelta(seconds=span)
    moments = steps_between(NOW, end, 20)
    assert len(moments) == count + 1
    assert moments[0] < NOW
    assert moments[-1] == end
    assert moments == sorted(moments)
