"""Evaluations in a process of their own, on the real store: what comes back, and what a killed one leaves."""

import json
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipelines.assessment import worker
from pipelines.assessment.assess import Assessment, assess
from pipelines.assessment.reference import keep_reference, load_reference
from pipelines.assessment.worker import WorkFolders, evaluate, job_of
from pipelines.predictions.store.rows import LabelRow, Origin, PredictionRow
from pipelines.predictions.store.store import Store
from tests.databases import postgres
from tests.monitoring_cases import NOW, predictions, sizes, watched
from tests.tiny_models import write_bento

pytestmark = pytest.mark.slow
USECASE = "tiny-table"
ROWS = 600


def distances(shift: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "distance": (rng.uniform(0, 2000, ROWS) + shift).astype("float32"),
        "temperature": rng.normal(50, 10, ROWS).astype("float32"),
        "origin": rng.choice(["EWR", "JFK", "LGA"], ROWS).astype(object),
        "carrier": rng.choice(["UA", "B6"], ROWS).astype(object),
    }


def usecase(**monitoring):
    values = watched(**monitoring).model_dump(mode="json", exclude_unset=True)
    values["name"] = USECASE
    values["data"]["features"] = {
        "distance": {"type": "number"},
        "temperature": {"type": "number", "max_missing": 0.1},
        "origin": {"type": "category"},
        "carrier": {"type": "category"},
    }
    values["evaluation"]["slices"] = ["carrier"]
    return type(watched()).model_validate(values)


def fill(store: Store, columns: dict[str, np.ndarray], labelled: int = ROWS) -> None:
    origin = Origin(USECASE, "staging", f"{USECASE}:1", f"{USECASE}/1", "r" * 32, None, {})
    yes = 1 / (1 + np.exp(-0.001 * columns["distance"]))
    rows = [
        PredictionRow(
            id=f"{USECASE}.1.{number:026x}",
            time=NOW - timedelta(seconds=ROWS - number),
            inputs=dict(zip(columns, [cell if isinstance(cell, str) else float(cell) for cell in cells], strict=True)),
            output={"label": bool(p > 0.5), "probabilities": {"false": float(1 - p), "true": float(p)}},
            label="true" if p > 0.5 else "false",
            confidence=float(max(p, 1 - p)),
        )
        for number, (p, *cells) in enumerate(zip(yes, *columns.values(), strict=True))
    ]
    store.save_predictions(origin, rows, NOW)
    truth = np.random.default_rng(8).random(ROWS) < yes
    labels = [LabelRow(row.id, USECASE, bool(true), NOW) for row, true in zip(rows, truth, strict=True)]
    store.save_labels(labels[:labelled], "test", NOW)


@pytest.fixture
def bento(tmp_path):
    folder = write_bento(tmp_path / "bento")
    keep_reference(folder / "src" / "model", distances(), seed=1)
    return folder


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    if request.param == "sqlite":
        yield WorkFolders(store=f"sqlite:///{tmp_path / 'monitor.db'}", reports=tmp_path / "reports")
        return
    with postgres() as server:
        yield WorkFolders(store=server.url, reports=tmp_path / "reports")


def job(bento: Path, place: WorkFolders, **monitoring):
    return job_of(usecase(**monitoring), "staging", bento, place, NOW)


def test_a_child_judges_as_this_process_does_and_the_store_keeps_what_it_found(bento, place):
    store = Store.open(place.store)
    fill(store, distances(shift=3000))

    [judged] = evaluate([job(bento, place)])

    assert judged.problem is None
    here = assess(usecase(), "staging", store, load_reference(bento), NOW)
    assert [one.model_copy(update={"report_path": None}) for one in judged.assessments] == here
    status = {one.kind: one.status for one in judged.assessments}
    assert status == {"inputs": "alert", "predictions": "alert", "quality": "alert", "labels": "too-few"}
    assert Path(judged.assessments[0].report_path).read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    assert store.save_assessments(judged.assessments) == 4
    assert store.save_assessments(judged.assessments) == 0
    [kept] = store.assessments(USECASE, "staging", kind="inputs")
    assert Assessment.model_validate(kept) == judged.assessments[0]
    store.close()


def test_one_use_case_that_cannot_be_judged_does_not_stop_the_others(bento, tmp_path):
    place = WorkFolders(store=f"sqlite:///{tmp_path / 'monitor.db'}", reports=tmp_path / "reports")
    store = Store.open(place.store)
    fill(store, distances())
    away = job(tmp_path / "nowhere", place)

    first, second = evaluate([away, job(bento, place)])

    assert "signature.json does not exist" in first.problem
    assert not first.retry
    assert [one.status for one in second.assessments][:2] == ["ok", "ok"]


def test_a_store_that_is_away_is_a_problem_to_try_again(bento, tmp_path):
    place = WorkFolders(store="postgresql://monitor@127.0.0.1:9/monitor", reports=tmp_path / "reports")

    [judged] = evaluate([job(bento, place)])

    assert judged.retry
    assert "the prediction store postgresql+psycopg://monitor@127.0.0.1:9/monitor" in judged.problem


def test_an_evaluation_that_does_not_end_is_killed_and_leaves_nothing_half(bento, tmp_path):
    place = WorkFolders(store=f"sqlite:///{tmp_path / 'monitor.db'}", reports=tmp_path / "reports")
    fill(Store.open(place.store), distances())
    began = time.monotonic()

    judged = evaluate([job(bento, place)] * 500, longest=timedelta(seconds=6))

    assert time.monotonic() - began < 30
    assert all(one.retry for one in judged if one.problem)
    assert "was not over in 0:00:06" in judged[-1].problem
    assert all(len(one.assessments) == 4 for one in judged if not one.problem)
    assert Store.open(place.store).assessments(USECASE, "staging") == []
    for page in place.reports.rglob("*.html"):
        assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_a_line_that_was_cut_off_does_not_count(monkeypatch, bento, tmp_path):
    place = WorkFolders(store=f"sqlite:///{tmp_path / 'monitor.db'}", reports=tmp_path / "reports")
    whole = json.dumps({"job": 0})
    printed = f"print({whole!r}); print({whole[:-4]!r}, end='')"
    real = subprocess.Popen
    monkeypatch.setattr(worker.subprocess, "Popen", lambda command, **more: real([command[0], "-c", printed], **more))

    first, second = evaluate([job(bento, place)] * 2)

    assert first.problem is None
    assert second.problem.startswith("the evaluation ended with exit status 0")


def test_no_jobs_start_no_process(monkeypatch):
    monkeypatch.setattr(worker.subprocess, "Popen", None)

    assert evaluate([]) == []


def test_the_frames_of_the_unit_tests_are_those_of_the_store(place):
    """tests.monitoring_cases.FrameSource stands in for the store: both give the same columns."""
    store = Store.open(place.store)
    fill(store, distances(), labelled=10)
    frame = store.joined(USECASE, "staging", NOW - timedelta(days=1), NOW, 100)
    given = predictions(sizes(5))

    assert set(given.columns) <= set(frame.columns)
    assert len(frame) == 10
    assert isinstance(frame["inputs"][0], dict)
    assert frame["truth"][0] in (True, False)
    store.close()
