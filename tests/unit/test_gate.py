"""The gate: every rule, in both directions, at its boundary, and when it cannot be evaluated."""

import math
from pathlib import Path

import pytest
import yaml
from evaluation_cases import binary_usecase, delay_usecase
from markdown_it import MarkdownIt

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import RuleResult, Verdict, judge
from pipelines.evaluation.metrics import Scores, SliceScore

FAITHFUL = {"agreement": 1e-6, "agreement_rows": 500}


def auc(value, **more) -> Scores:
    return Scores(rows=1000, metrics={"roc_auc": value}, **more)


def gated(**gate):
    return binary_usecase(metrics=["roc_auc"], gates=[{"metric": "roc_auc", **gate}])


def evaluation(candidate: Scores, **more) -> Evaluation:
    return Evaluation(candidate=candidate, test_rows=1000, **FAITHFUL | more)


def against(champion: Scores | None, **more) -> dict:
    return {"champion": champion, "champion_name": "flight-delays/7", **more}


def last_rule(verdict: Verdict) -> RuleResult:
    return verdict.rules[-1]


# --- absolute limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "passed"), [(0.66, True), (0.65, True), (0.6499, False)])
def test_at_least_passes_from_the_limit_up(value, passed):
    verdict = judge(gated(at_least=0.65), evaluation(auc(value)))
    rule = last_rule(verdict)
    assert (verdict.passed, rule.passed, rule.value, rule.limit) == (passed, passed, value, 0.65)
    assert rule.rule == "roc_auc at least 0.65"


@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ({"at_least": 0.99}, 0.9844, "roc_auc 0.9844 is below at_least 0.99"),
        ({"at_least": 0.65}, 0.65, "roc_auc 0.65 keeps at_least 0.65"),
        ({"at_least": 0.65}, 0.64999, "roc_auc 0.64999 is below at_least 0.65"),
        ({"at_most": 0.2}, 0.25, "roc_auc 0.25 is above at_most 0.2"),
    ],
)
def test_the_reason_names_metric_value_direction_and_limit(limit, value, told):
    assert last_rule(judge(gated(**limit), evaluation(auc(value)))).reason == told


@pytest.mark.parametrize(("value", "passed"), [(9.0, True), (10.0, True), (10.01, False)])
def test_at_most_passes_from_the_limit_down(value, passed):
    usecase = delay_usecase(gates=[{"metric": "mae", "at_most": 10.0}])
    verdict = judge(usecase, evaluation(Scores(rows=1000, metrics={"mae": value})))
    assert (verdict.passed, last_rule(verdict).limit) == (passed, 10.0)


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_a_metric_without_a_value_fails_and_says_why(nothing):
    scores = auc(nothing, problems={"roc_auc": "no row is of class 'late'"})
    rule = last_rule(judge(gated(at_least=0.0), evaluation(scores)))
    assert not rule.passed
    assert rule.value is None
    assert rule.reason == "roc_auc cannot be evaluated: no row is of class 'late'"


def test_a_metric_that_nobody_computed_fails():
    rule = last_rule(judge(gated(at_least=0.0), evaluation(Scores(rows=1000, metrics={}))))
    assert (rule.passed, rule.reason) == (False, "roc_auc cannot be evaluated: it has no value")


# --- against the champion -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "margin", "passed"),
    [
        (0.80, 0.0, True),
        (0.81, 0.0, True),
        (0.7999, 0.0, False),
        (0.795, 0.005, True),
        (0.7949, 0.005, False),
    ],
)
def test_higher_is_better_so_the_candidate_may_be_lower_by_the_margin(candidate, margin, passed):
    verdict = judge(gated(champion="not-worse", margin=margin), evaluation(auc(candidate), **against(auc(0.80))))
    rule = last_rule(verdict)
    assert (verdict.passed, rule.baseline, rule.limit) == (passed, 0.80, pytest.approx(0.80 - margin))
    assert not verdict.first_release


@pytest.mark.parametrize(
    ("candidate", "margin", "passed"),
    [(0.20, 0.0, True), (0.19, 0.0, True), (0.2001, 0.0, False), (0.3, 0.1, True), (0.3001, 0.1, False)],
)
def test_lower_is_better_so_the_candidate_may_be_higher_by_the_margin(candidate, margin, passed):
    usecase = binary_usecase(metrics=["brier"], gates=[{"metric": "brier", "champion": "not-worse", "margin": margin}])
    scores, champion = (Scores(rows=9, metrics={"brier": value}) for value in (candidate, 0.2))
    verdict = judge(usecase, evaluation(scores, **against(champion)))
    assert verdict.passed is passed


def test_a_rounding_error_is_not_worse():
    assert 0.8 - 0.1 > 0.7
    verdict = judge(gated(champion="not-worse", margin=0.1), evaluation(auc(0.7), **against(auc(0.8))))
    assert verdict.passed


def test_the_reason_names_metric_direction_and_both_values():
    usecase = gated(champion="not-worse", margin=0.05)
    reasons = [
        last_rule(judge(usecase, evaluation(auc(value), **against(auc(0.5))))).reason
        for value in (0.75, 0.5, 0.46, 0.25)
    ]
    assert reasons == [
        "roc_auc 0.75 is 0.25 better (higher) than flight-delays/7's 0.5",
        "roc_auc 0.5 is the same as flight-delays/7's",
        "roc_auc 0.46 is 0.04 worse (lower) than flight-delays/7's 0.5, within the margin 0.05",
        "roc_auc 0.25 is 0.25 worse (lower) than flight-delays/7's 0.5, beyond the margin 0.05",
    ]


def test_the_reason_knows_that_less_can_be_better():
    usecase = binary_usecase(metrics=["brier"], gates=[{"metric": "brier", "champion": "not-worse"}])
    for value, told in (
        (0.19, "brier 0.19 is 0.01 better (lower) than flight-delays/7's 0.2"),
        (0.21, "brier 0.21 is 0.01 worse (higher) than flight-delays/7's 0.2; no margin is set"),
    ):
        scores, champion = (Scores(rows=9, metrics={"brier": number}) for number in (value, 0.2))
        assert last_rule(judge(usecase, evaluation(scores, **against(champion)))).reason == told


def test_without_any_champion_it_is_a_first_release():
    verdict = judge(gated(champion="not-worse"), evaluation(auc(0.6)))
    assert (verdict.passed, verdict.first_release, verdict.champion) == (True, True, None)
    assert last_rule(verdict).reason.startswith("not applicable: first release")
    assert "first release" in verdict.conclusion


def test_a_first_release_still_has_to_keep_its_limits():
    usecase = binary_usecase(
        metrics=["roc_auc"],
        gates=[{"metric": "roc_auc", "champion": "not-worse"}, {"metric": "roc_auc", "at_least": 0.65}],
    )
    verdict = judge(usecase, evaluation(auc(0.6)))
    assert (verdict.passed, verdict.first_release) == (False, True)
    assert [rule.rule for rule in verdict.failed] == ["roc_auc at least 0.65"]


def test_a_champion_that_could_not_be_scored_is_no_first_release():
    broken = against(None, champion_problem="the model needs humidity, which the data no longer has")
    verdict = judge(gated(champion="not-worse"), evaluation(auc(0.99), **broken))
    assert (verdict.passed, verdict.first_release) == (False, False)
    reason = last_rule(verdict).reason
    assert reason.startswith(
        "roc_auc cannot be evaluated: the champion flight-delays/7 could not be scored: the model needs"
    )
    assert "To replace it on purpose, run the pipeline with --replace-champion" in reason


def test_a_champion_without_this_metric_cannot_be_compared_with():
    champion = auc(None, problems={"roc_auc": "no row is of class 'late'"})
    rule = last_rule(judge(gated(champion="not-worse"), evaluation(auc(0.9), **against(champion))))
    assert not rule.passed
    assert "no row is of class 'late'" in rule.reason


def test_a_candidate_without_this_metric_fails_even_against_a_weak_champion():
    rule = last_rule(judge(gated(champion="not-worse"), evaluation(auc(None), **against(auc(0.1)))))
    assert (rule.passed, rule.baseline) == (False, 0.1)


# --- slices -------------------------------------------------------------------------------------------------


def carriers(**values) -> list[SliceScore]:
    return [
        SliceScore(column="carrier", value=name, rows=rows, metrics={"roc_auc": value})
        for name, (value, rows) in values.items()
    ]


def by_carrier(slices, **gate) -> RuleResult:
    usecase = gated(slices=["carrier"], min_rows=200, **(gate or {"at_least": 0.55}))
    return last_rule(judge(usecase, evaluation(auc(0.7, slices=slices))))


def test_each_value_with_enough_rows_must_keep_the_limit():
    rule = by_carrier(carriers(AA=(0.7, 500), UA=(0.55, 200)))
    assert (rule.passed, rule.value) == (True, 0.55)
    assert rule.rule == "roc_auc at least 0.55 for each carrier with 200 rows or more"
    assert rule.reason == "roc_auc keeps at_least 0.55; worst of 2: UA (200 rows) 0.55"


def test_one_bad_value_is_enough_to_fail_and_is_named():
    rule = by_carrier(carriers(AA=(0.7, 500), UA=(0.54, 300), YV=(0.51, 200)))
    assert (rule.passed, rule.value) == (False, 0.51)
    assert rule.reason == "roc_auc is below at_least 0.55 for carrier: YV (200 rows) 0.51, UA (300 rows) 0.54"


def test_the_worst_value_of_a_lower_is_better_limit_is_the_highest():
    rule = by_carrier(carriers(AA=(0.7, 500), UA=(0.3, 300)), at_most=0.5)
    assert (rule.passed, rule.value) == (False, 0.7)


def test_values_with_few_rows_are_listed_and_not_judged():
    rule = by_carrier(carriers(AA=(0.7, 500), HA=(0.1, 199), OO=(None, 3)))
    assert rule.passed
    kept, few = rule.reason.split("; not judged, too few rows: ")
    assert kept == "roc_auc keeps at_least 0.55; worst of 1: AA (500 rows) 0.7"
    assert few == "HA (199 rows), OO (3 rows)"


def test_no_value_with_enough_rows_fails():
    rule = by_carrier(carriers(AA=(0.9, 199)))
    assert (rule.passed, rule.value) == (False, None)
    assert rule.reason.startswith("roc_auc cannot be evaluated: no carrier has 200 rows")
    assert not by_carrier([]).passed


def test_a_judged_value_without_a_metric_fails():
    silent = SliceScore(
        column="carrier", value="YV", rows=200, metrics={"roc_auc": None}, problems={"roc_auc": "no row is late"}
    )
    rule = by_carrier([*carriers(AA=(0.7, 500), UA=(math.nan, 300)), silent])
    assert not rule.passed
    assert "roc_auc cannot be evaluated for carrier: UA (300 rows) has no value, YV (200 rows) no" in rule.reason
    assert "keeps" not in rule.reason


def test_each_slice_column_is_its_own_rule():
    usecase = binary_usecase(
        metrics=["roc_auc"],
        gates=[{"metric": "roc_auc", "at_least": 0.55, "slices": ["carrier", "distance"], "min_rows": 200}],
    )
    verdict = judge(usecase, evaluation(auc(0.7, slices=carriers(AA=(0.7, 500)))))
    assert [rule.passed for rule in verdict.rules[-2:]] == [True, False]
    assert "no distance has 200 rows" in last_rule(verdict).reason


def test_many_bad_values_do_not_fill_a_page():
    rule = by_carrier(carriers(**{f"C{index}": (0.1, 200) for index in range(50)}))
    assert rule.reason.endswith("and 42 more")


# --- always -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("agreement", "passed"), [(0.0, True), (1e-4, True), (1.1e-4, False), (None, False)])
def test_the_exported_model_must_agree_with_the_trained_one(agreement, passed):
    verdict = judge(gated(at_least=0.5), evaluation(auc(0.7), agreement=agreement))
    (rule,) = [rule for rule in verdict.rules if rule.metric == "agreement"]
    assert (verdict.passed, rule.passed, rule.limit) == (passed, passed, 1e-4)


def test_an_export_that_differs_says_by_how_much():
    (rule,) = judge(gated(at_least=0.5), evaluation(auc(0.7), agreement=0.02)).failed
    assert rule.reason == "the largest difference on 500 rows, 0.02, is above evaluation.agreement 0.0001"


def test_an_agreement_that_was_not_measured_says_why():
    verdict = judge(gated(at_least=0.5), evaluation(auc(0.7), agreement=None, agreement_problem="no outputs"))
    assert "cannot be evaluated: no outputs" in verdict.to_markdown()


def test_answers_that_are_not_finite_are_rejected():
    problem = "3 of 1000 outputs are not finite, first in row 17"
    scores = auc(None, problems={"roc_auc": problem})
    verdict = judge(gated(slices=["carrier"], at_least=0.0), evaluation(scores, candidate_problem=problem))
    assert not verdict.passed
    assert {rule.reason for rule in verdict.failed} == {problem, f"roc_auc cannot be evaluated: {problem}"}


# --- the verdict as a file ----------------------------------------------------------------------------------


def test_the_conclusion_is_one_sentence():
    good = judge(gated(at_least=0.65), evaluation(auc(0.7), **against(auc(0.6))))
    assert good.conclusion == "Passed: all 3 rules hold (against flight-delays/7)."
    bad = judge(gated(at_least=0.65), evaluation(auc(0.6), **against(auc(0.6))))
    assert bad.conclusion == "Rejected: 1 of 3 rules failed (against flight-delays/7): roc_auc at least 0.65."


def test_why_it_was_rejected_fits_on_a_line():
    usecase = binary_usecase(
        metrics=["roc_auc"],
        gates=[{"metric": "roc_auc", "at_least": 0.65}, {"metric": "roc_auc", "champion": "not-worse"}],
    )
    bad = judge(usecase, evaluation(auc(0.6), **against(auc(0.7))))
    assert bad.why == "roc_auc 0.6 is below at_least 0.65 (and 1 more)"
    assert judge(usecase, evaluation(auc(0.8), **against(auc(0.7)))).why == ""


def test_the_markdown_is_one_table_whatever_a_slice_is_called():
    rule = carriers(**{"A|B <script>\n|": (0.1, 500)})
    usecase = gated(slices=["carrier"], at_least=0.5)
    verdict = judge(usecase, evaluation(auc(0.7, slices=rule)))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(verdict.to_markdown())
    assert html.count("<tr>") == 1 + len(verdict.rules)
    assert html.count("<td") == 6 * len(verdict.rules)
    assert "A|B &lt;script&gt; | (500 rows) 0.1" in html


def test_a_verdict_survives_being_written_and_read(tmp_path):
    verdict = judge(gated(champion="not-worse"), evaluation(auc(math.nan), **against(auc(0.5))))
    verdict.write(tmp_path / "verdict.json")
    assert Verdict.read(tmp_path / "verdict.json") == verdict


def test_the_example_in_the_guide_is_what_comes_out():
    guide = (Path(__file__).parents[2] / "docs" / "gates.md").read_text()
    told = yaml.safe_load(guide.split("```yaml")[1].split("```")[0])["evaluation"]
    values = carriers(AA=(0.68, 2661), HA=(0.41, 31), UA=(0.66, 5012), YV=(0.5387, 214))
    candidate, champion = ({"roc_auc": 0.6712, "brier": 0.1644}, {"roc_auc": 0.6689, "brier": 0.167})
    facts = Evaluation(
        candidate=Scores(rows=26934, metrics=candidate, slices=values),
        champion=Scores(rows=26934, metrics=champion),
        champion_name="flight-delays/7",
        agreement=3.1e-7,
        agreement_rows=1000,
        test_rows=26934,
    )
    assert judge(binary_usecase(**told), facts).to_markdown() in guide
