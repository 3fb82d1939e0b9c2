"""One evaluation of one use case: what it says of good and of ugly predictions."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.assessment.assess import SAMPLED_ROWS, assess
from pipelines.assessment.reports import KEPT, Reports
from tests.monitoring_cases import (
    NOW,
    PICTURES,
    SIGNATURE,
    FrameSource,
    labelled,
    pictures,
    predictions,
    probabilities,
    reference,
    sizes,
    watched,
)

REFERENCE = reference()


def judged(columns, *, known=REFERENCE, usecase=None, reports=None, only="drift"):
    """The assessments of these requests by their kind."""
    usecase = usecase or watched(**({"quality": None} if only == "drift" else {"drift": None}))
    frame = columns if isinstance(columns, pd.DataFrame) else predictions(columns)
    return {one.kind: one for one in assess(usecase, "staging", FrameSource(frame), known, NOW, reports=reports)}


def column(assessment, name):
    return next(one for one in assessment.detail["columns"] if one["column"] == name)


# --- drift ---------------------------------------------------------------------------------------------------


def test_requests_like_the_training_data_are_no_drift():
    found = judged(sizes(1000))

    assert [one.status for one in found.values()] == ["ok", "ok"]
    assert found["inputs"].value < 0.1
    assert "on 1,000 predictions since 2026-11-20 12:00" in found["inputs"].summary


def test_shifted_requests_are_drift_and_the_sentence_names_column_method_score_and_limit():
    found = judged(sizes(1000, shift=3.0))

    assert found["inputs"].status == found["predictions"].status == "alert"
    assert found["inputs"].detail["columns"][0]["column"] == "size"
    assert found["inputs"].summary.startswith("size psi ")
    assert " > 0.2 on 1,000 predictions since" in found["inputs"].summary
    assert not column(found["inputs"], "kind")["drifted"]


def test_inputs_can_drift_while_the_answers_do_not():
    columns = sizes(1000)
    columns["kind"] = np.array(["a"] * 1000, dtype=object)

    found = judged(columns)

    assert (found["inputs"].status, found["predictions"].status) == ("alert", "ok")


def test_too_few_predictions_are_not_judged():
    found = judged(sizes(199, shift=5.0))

    assert found["inputs"].status == "too-few"
    assert found["inputs"].value is None
    assert "199 predictions in 1d; 200 are needed" in found["inputs"].summary


def test_an_empty_window_is_too_few_not_an_error():
    assert {one.status for one in judged(sizes(0)).values()} == {"too-few"}


def test_only_the_window_counts():
    old = predictions(sizes(1000, shift=5.0), at=NOW - timedelta(hours=25))
    fresh = predictions(sizes(500))

    assert judged(pd.concat([old, fresh]))["inputs"].status == "ok"


def test_only_predictions_of_the_released_version_count():
    others = predictions(sizes(1000, shift=5.0), bento="tiny:6")
    own = predictions(sizes(300))

    found = judged(pd.concat([others, own]))

    assert found["inputs"].status == "ok"
    assert "on 300 predictions" in found["inputs"].summary


def test_a_column_that_is_all_missing_is_drift_by_definition():
    columns = sizes(500)
    columns["size"][:] = np.nan

    found = judged(columns)["inputs"]

    assert found.status == "alert"
    assert column(found, "size")["note"] == "missing in all 500 predictions"
    assert "missing in all 500 predictions" in found.summary


def test_a_column_that_disappeared_is_drift_by_definition():
    frame = predictions(sizes(500))
    frame["inputs"] = [{"kind": cells["kind"]} for cells in frame["inputs"]]

    found = judged(frame)["inputs"]

    assert found.status == "alert"
    assert found.detail["columns"][0]["column"] == "size"


@pytest.mark.parametrize("method", ["psi", "jensenshannon", "wasserstein", "ks"])
def test_a_lost_column_is_above_any_threshold_of_any_method(method):
    columns = sizes(500)
    columns["kind"][:] = None
    usecase = watched(quality=None, drift={"method": method, "threshold": 50, "min_rows": 200})

    found = judged(columns, usecase=usecase)["inputs"]

    assert found.status == "alert"
    assert found.value > found.threshold


def test_a_column_that_is_missing_more_often_than_in_training_is_drift():
    columns = sizes(1000)
    columns["size"][:200] = np.nan

    size = column(judged(columns)["inputs"], "size")

    assert size["drifted"]
    assert "missing more or less often" in size["note"]


def test_a_constant_column_is_compared_like_any_other():
    known = replace(
        REFERENCE, sample=replace(REFERENCE.sample, inputs=REFERENCE.sample.inputs.assign(size=np.float32(4)))
    )
    same, other = sizes(500), sizes(500)
    same["size"][:] = 4
    other["size"][:] = 5

    assert not column(judged(same, known=known)["inputs"], "size")["drifted"]
    assert column(judged(other, known=known)["inputs"], "size")["drifted"]


def test_a_column_that_became_constant_is_drift():
    columns = sizes(500)
    columns["size"][:] = 5

    assert column(judged(columns)["inputs"], "size")["drifted"]


def test_new_categories_are_named_the_most_frequent_first():
    columns = sizes(1000)
    columns["kind"][:300] = "z"
    columns["kind"][300:310] = "y"

    kind = column(judged(columns)["inputs"], "kind")

    assert kind["drifted"]
    assert kind["new_categories"] == ["z", "y"]


def test_one_outlier_does_not_hide_a_shift():
    columns = sizes(1000, shift=3.0)
    columns["size"][0] = 1e30

    assert column(judged(columns)["inputs"], "size")["drifted"]


def test_many_rare_categories_are_not_drift_in_a_small_window():
    rng = np.random.default_rng(1)
    inputs = REFERENCE.sample.inputs.assign(kind=[f"town {number}" for number in rng.integers(0, 400, 3000)])
    known = replace(REFERENCE, sample=replace(REFERENCE.sample, inputs=inputs))
    columns = sizes(300)
    columns["kind"] = np.array([f"town {number}" for number in rng.integers(0, 400, 300)], dtype=object)

    assert not column(judged(columns, known=known)["inputs"], "kind")["drifted"]


def test_values_that_do_not_fit_their_feature_count_as_missing():
    frame = predictions(sizes(500))
    frame["inputs"] = [{"size": "tall", "kind": 3} for _ in frame["inputs"]]

    found = judged(frame)["inputs"]

    assert found.status == "alert"
    assert all(one["drifted"] for one in found.detail["columns"])


def test_a_column_that_the_model_no_longer_takes_is_left_out_with_a_reason():
    signature = SIGNATURE.model_copy(update={"fields": {"size": SIGNATURE.fields["size"]}})
    sample = replace(REFERENCE.sample, inputs=REFERENCE.sample.inputs[["size"]])
    known = replace(REFERENCE, signature=signature, sample=sample)
    usecase = watched(quality=None, drift={"threshold": 0.2, "min_rows": 200, "columns": ["size", "kind"]})

    found = judged(sizes(500), known=known, usecase=usecase)["inputs"]

    assert found.status == "ok"
    assert found.detail["left_out"] == {"kind": "the released model does not take it"}


@pytest.mark.parametrize(("kept", "why"), [("drop", "is not stored"), ("hash", "is stored as a hash")])
def test_a_column_that_is_kept_back_for_privacy_is_no_drift(kept, why):
    frame = predictions(sizes(500))
    stored = {"kind": "9f86d081"} if kept == "hash" else {}
    frame["inputs"] = [{"size": cells["size"], **stored} for cells in frame["inputs"]]
    usecase = watched(quality=None, store={"columns": {"kind": kept}})

    found = judged(frame, usecase=usecase)["inputs"]

    assert found.status == "ok"
    assert found.detail["left_out"]["kind"].startswith(why)


@pytest.mark.parametrize(("change", "status"), [({}, "ok"), ({"brightness": 0.5}, "alert"), ({"noise": 30}, "alert")])
def test_pictures_are_compared_by_mean_contrast_and_edges(change, status):
    frame = predictions({"size": sizes(400)["size"], "image": pictures(400, seed=3, **change)})
    usecase = watched(quality=None).model_copy()

    found = judged(frame, known=reference(PICTURES), usecase=usecase)["inputs"]

    assert found.status == status
    assert {one["column"] for one in found.detail["columns"]} == {"image.mean", "image.contrast", "image.edges"}


def test_a_bento_without_a_sample_is_skipped_with_the_reason():
    found = judged(sizes(1000), known=replace(REFERENCE, sample=None))

    assert {one.status for one in found.values()} == {"skipped"}
    assert "tiny:7 was packed without a reference sample" in found["inputs"].summary


def test_what_cannot_be_judged_is_a_failed_assessment_that_says_why():
    frame = predictions(sizes(500)).drop(columns=["confidence"])

    found = judged(frame)

    assert {one.status for one in found.values()} == {"failed"}
    assert "confidence" in found["inputs"].summary


def test_a_store_that_is_away_is_the_callers_to_retry():
    class Away(FrameSource):
        def coverage(self, *arguments, **named):
            raise ConnectionError("the database is away")

    with pytest.raises(ConnectionError):
        assess(watched(), "staging", Away(), REFERENCE, NOW)


def test_the_same_data_and_time_give_the_same_assessments():
    source = FrameSource(labelled(predictions(sizes(1000, shift=0.4))))

    first, second = (assess(watched(), "staging", source, REFERENCE, NOW) for _ in range(2))

    assert first == second
    assert len({one.id for one in first}) == 4


def test_it_reads_a_bounded_sample_but_tells_of_all_predictions():
    source = FrameSource(predictions(sizes(20_000, shift=3.0)))

    found = assess(watched(quality=None), "staging", source, REFERENCE, NOW)

    assert max(source.asked) == SAMPLED_ROWS
    assert found[0].detail["rows"] == SAMPLED_ROWS
    assert "on 20,000 predictions" in found[0].summary


def test_an_assessment_is_a_document_of_plain_json():
    for one in assess(watched(), "staging", FrameSource(labelled(predictions(sizes(500)))), REFERENCE, NOW):
        assert json.loads(one.model_dump_json())["time"] == "2026-11-21T12:00:00Z"
        assert type(one).model_validate_json(one.model_dump_json()) == one


# --- the report ----------------------------------------------------------------------------------------------


def test_the_report_is_kept_whole_and_named_in_both_assessments(tmp_path):
    found = judged(sizes(500, shift=3.0), reports=Reports(tmp_path))

    path = found["inputs"].report_path
    assert path == found["predictions"].report_path == str(tmp_path / "staging/tiny/20261121-120000-alert.html")
    text = (tmp_path / "staging/tiny/20261121-120000-alert.html").read_text(encoding="utf-8")
    assert f"inputs: size, psi {column(found['inputs'], 'size')['score']:.3f} > 0.2" in text
    assert text.rstrip().endswith("</html>")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["jensenshannon", "wasserstein", "ks"])
def test_every_method_has_a_report_that_names_its_own_scores(tmp_path, method):
    usecase = watched(quality=None, drift={"method": method, "threshold": 0.05, "min_rows": 100})

    found = judged(sizes(500, shift=3.0), usecase=usecase, reports=Reports(tmp_path))

    text = Path(found["inputs"].report_path).read_text(encoding="utf-8")
    for name in ("size", "kind"):
        assert f"inputs: {name}, {method} {column(found['inputs'], name)['score']:.3f}" in text.replace("\\u2264", "≤")


def test_a_verdict_stands_where_its_report_cannot_be_written(tmp_path, caplog):
    (tmp_path / "staging").write_text("a file where a folder should be")

    found = judged(sizes(500, shift=3.0), reports=Reports(tmp_path))

    assert found["inputs"].status == "alert"
    assert found["inputs"].report_path is None
    assert "NotADirectoryError" in found["inputs"].detail["report_problem"]
    assert "no report of tiny in staging" in caplog.text


def test_every_alert_has_a_report_and_a_quiet_evaluation_one_a_day(tmp_path):
    reports = Reports(tmp_path)
    day = timedelta(days=1)
    assert reports.is_due("tiny", "staging", NOW, False)

    reports.keep("tiny", "staging", NOW, False, _Page())
    reports.keep("tiny", "staging", NOW, True, _Page())

    assert not reports.is_due("tiny", "staging", NOW + day / 2, False)
    assert reports.is_due("tiny", "staging", NOW + day / 2, True)
    assert reports.is_due("tiny", "staging", NOW + day, False)
    assert reports.is_due("other", "staging", NOW + day / 2, False)


class _Page:
    """In place of Evidently's snapshot, whose page takes a second."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def save_html(self, filename: str) -> None:
        with Path(filename).open("w", encoding="utf-8") as file:
            file.write("<html>")
            if self.broken:
                raise OSError("No space left on device")


def test_reports_are_bounded_and_a_quiet_week_does_not_remove_those_of_alerts(tmp_path):
    reports = Reports(tmp_path)
    for hour in range(20):
        reports.keep("tiny", "staging", NOW + timedelta(hours=hour), hour < 12, _Page())

    names = sorted(path.name for path in (tmp_path / "staging/tiny").iterdir())

    assert len([name for name in names if "alert" in name]) == KEPT["alert"]
    assert [name for name in names if "ok" in name] == [f"20261122-0{hour}0000-ok.html" for hour in (5, 6, 7)]


def test_a_report_that_cannot_be_written_leaves_nothing_half(tmp_path):
    with pytest.raises(OSError, match="No space"):
        Reports(tmp_path).keep("tiny", "staging", NOW, True, _Page(broken=True))

    assert list((tmp_path / "staging/tiny").iterdir()) == []


def test_what_a_killed_evaluation_left_is_removed_by_the_next(tmp_path):
    place = tmp_path / "staging" / "tiny"
    place.mkdir(parents=True)
    (place / ".20261121-110000-ok.html.4711.tmp").write_text("<html>")

    Reports(tmp_path).keep("tiny", "staging", NOW, False, _Page())

    assert [path.name for path in place.iterdir()] == ["20261121-120000-ok.html"]


# --- quality and labels --------------------------------------------------------------------------------------


def quality(frame, **rule):
    values = {"metric": "roc_auc", "at_least": 0.7, "labels_within": "3d", "min_labels": 200, **rule}
    values = {key: value for key, value in values.items() if value is not None}
    return judged(frame, usecase=watched(drift=None, quality=values), only="quality")


def test_right_answers_are_good_quality_with_an_interval_and_slices():
    found = quality(labelled(predictions(sizes(2000))))["quality"]

    low, high = found.detail["interval"]
    assert found.status == "ok"
    assert 0.7 < low < found.value < high < 0.95
    assert {(one["column"], one["value"]) for one in found.detail["slices"]} == {("kind", kind) for kind in "abc"}
    assert found.summary.startswith(f"roc_auc {found.value:.3f} [")


def test_wrong_answers_are_an_alert_that_says_it_is_no_chance():
    found = quality(labelled(predictions(sizes(2000)), wrong=0.4))["quality"]

    assert found.status == "alert"
    assert found.detail["surely_beyond"]
    assert "< 0.7 on 2,000 labelled predictions" in found.summary
    assert "chance" not in found.summary


def test_a_value_just_beyond_the_limit_is_an_alert_that_chance_may_explain():
    frame = labelled(predictions(sizes(400)))
    value = quality(frame)["quality"].value

    found = quality(frame, at_least=value + 0.005)["quality"]

    assert found.status == "alert"
    assert not found.detail["surely_beyond"]
    assert found.summary.endswith("though chance may explain it")


def test_a_limit_above_is_held_the_other_way_round():
    frame = labelled(predictions(sizes(1000)))

    assert quality(frame, metric="brier", at_least=None, at_most=0.25)["quality"].status == "ok"
    assert quality(frame, metric="brier", at_least=None, at_most=0.05)["quality"].status == "alert"


def test_too_few_labels_are_not_judged():
    frame = labelled(predictions(sizes(1000)))
    frame.loc[199:, "truth"] = None

    found = quality(frame)

    assert (found["quality"].status, found["labels"].status) == ("too-few", "too-few")
    assert "199 labelled predictions since" in found["quality"].summary


def test_true_values_that_the_model_has_no_class_for_are_left_out_and_counted():
    frame = labelled(predictions(sizes(1000)))
    frame.loc[:99, "truth"] = "sideways"

    found = quality(frame)["quality"]

    assert (found.detail["rows"], found.detail["unusable"]) == (900, 100)


def test_a_metric_without_a_value_is_skipped_with_the_reason():
    frame = labelled(predictions(sizes(1000))).assign(truth=True)

    found = quality(frame)["quality"]

    assert found.status == "skipped"
    assert "roc_auc has no value" in found.summary


def test_coverage_and_lag_look_at_predictions_whose_label_is_due():
    due = predictions(sizes(400), at=NOW - timedelta(days=3))
    frame = labelled(due, late=timedelta(hours=2))
    frame.loc[300:, "truth"] = None
    fresh = predictions(sizes(500)).assign(
        truth=None, observed_at=pd.Series(pd.NaT, index=range(500), dtype="datetime64[ns, UTC]")
    )

    found = quality(pd.concat([frame, fresh], ignore_index=True))["labels"]

    assert found.status == "ok"
    assert found.value == 0.75
    assert found.detail["lag_median_seconds"] == 7200
    assert found.summary == "300 of 400 predictions older than 3d have a true value"


def test_labels_that_stay_away_are_an_alert_of_their_own():
    found = quality(predictions(sizes(400), at=NOW - timedelta(days=3)))

    assert (found["quality"].status, found["labels"].status) == ("too-few", "alert")
    assert found["labels"].summary == "no labels: 0 of 400 predictions older than 3d have a true value"


def test_predictions_whose_label_is_not_due_yet_are_no_alert():
    assert quality(predictions(sizes(400)))["labels"].status == "too-few"


def test_outputs_that_are_no_probabilities_are_a_failed_assessment():
    frame = labelled(predictions(sizes(400)))
    frame["output"] = [{"probabilities": {"false": 3.0, "true": 4.0}}] * 400

    found = quality(frame)["quality"]

    assert found.status == "failed"
    assert "no probability" in found.summary


def test_the_model_of_these_tests_is_one():
    assert np.allclose(probabilities(sizes(10)).sum(axis=1), 1)
