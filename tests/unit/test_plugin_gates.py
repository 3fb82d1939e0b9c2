"""Gate rules by their type: inferred from today's keys, named outright, or a plugin's; metrics of plugins in them."""

import copy

import numpy as np
import pytest
import yaml
from evaluation_cases import binary_usecase

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import judge
from pipelines.evaluation.metrics import Scores, score
from pipelines.evaluation.rules.load import RuleUnknown, rule_type
from pipelines.metric_catalog import METRICS, all_metrics_for, find_metric, metric_info
from pipelines.plugins import PluginBroken
from pipelines.usecase import UsecaseInvalid, load_usecase
from pipelines.usecase.gates import ChampionGate, GateSettings, LimitGate, SliceGate
from tests.pipeline_cases import USECASE
from tests.plugin_cases import Plugins, plugins

__all__ = ["plugins"]

METRIC = """
import numpy as np
from pipelines.evaluation.formulas import MetricUndefined
from pipelines.metric_catalog import Metric


def compute(answers):
    if len(answers) < 2:
        raise MetricUndefined("one row is not enough")
    return float(np.mean(answers.predicted != answers.target)) * FACTOR


error_rate = Metric("classification", "lower", "share of wrong labels", compute, lowest=0, highest=1)
FACTOR = 1
"""

RULE = '''
from typing import Literal

from pydantic import Field

from pipelines.evaluation.rules.rule import GateRule, RuleResult
from pipelines.usecase.gates import GateSettings


class EnoughSettings(GateSettings):
    """The test has enough rows."""

    type: Literal["enough-rows"] = Field(description="Enough test rows.")
    rows: int = Field(ge=1, description="Fewest rows.", examples=[1000])


class Enough(GateRule[EnoughSettings]):
    settings = EnoughSettings

    def judge(self, evaluation):
        passed = evaluation.test_rows >= self.section.rows
        reason = f"{evaluation.test_rows} test rows"
        return [RuleResult(rule=f"{self.section.rows} test rows or more", passed=passed, reason=reason)]
'''


def gate(**keys) -> GateSettings:
    (only,) = binary_usecase(metrics=["roc_auc"], gates=[keys]).evaluation.gates
    return only


def problem(tmp_path, gate, metrics=("roc_auc",)):
    values = copy.deepcopy(USECASE)
    values["evaluation"] = {"metrics": list(metrics), "gates": [gate]}
    folder = tmp_path / "apps" / values["name"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "usecase.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(UsecaseInvalid) as caught:
        load_usecase(tmp_path, values["name"])
    (only,) = caught.value.problems
    return only.split(": ", 1)[1]


# --- which type ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"at_least": 0.6}, LimitGate),
        ({"at_most": 0.6}, LimitGate),
        ({"champion": "not-worse"}, ChampionGate),
        ({"champion": "not-worse", "margin": 0.1}, ChampionGate),
        ({"slices": ["carrier"], "at_least": 0.5}, SliceGate),
        ({"slices": ["carrier"], "at_most": 0.5, "min_rows": 9}, SliceGate),
    ],
)
def test_the_keys_say_the_type_and_so_may_the_type(keys, kind):
    inferred = gate(metric="roc_auc", **keys)
    assert type(inferred) is kind
    assert gate(type=inferred.type, metric="roc_auc", **keys) == inferred


@pytest.mark.parametrize(
    "keys",
    [
        {"at_least": 0.6, "champion": None, "slices": [], "margin": 0, "min_rows": 100},
        {"champion": "not-worse", "slices": [], "at_least": None},
    ],
)
def test_a_key_of_another_type_that_says_nothing_is_no_error(keys):
    assert gate(metric="roc_auc", **keys).type in ("limit", "champion")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"at_lest": 0.6}, ".at_lest: unknown key for type: limit (did you mean at_least?); allowed: type, metric,"),
        ({"slice": ["big"], "at_least": 0.5}, ".slice: unknown key for type: limit; allowed: type, metric, at_least"),
        ({"champoin": "not-worse"}, ".champoin: unknown key for type: champion (did you mean champion?)"),
        (
            {"at_least": 0.6, "champion": "not-worse"},
            ".at_least: a gate has exactly one of at_least, at_most and champion; this one has at_least and champion",
        ),
        ({"min_rows": 7, "at_least": 0.5}, ".min_rows: min_rows goes with slices: it is the fewest test rows of a"),
        ({"slices": ["kind"]}, ": a gate has exactly one of at_least, at_most and champion; this one has none"),
        ({"type": "limits", "at_least": 0.5}, ".type: 'limits' is not allowed (did you mean limit?); allowed: limit,"),
        ({"type": "champion"}, '.champion: is required but missing; such as "not-worse"'),
        ({"type": 3, "at_least": 0.5}, ".type: '3' is not allowed; allowed: limit, champion, slices"),
        ({"at_least": "0.6"}, ".at_least: must be a number, not '0.6'; write it as a number"),
    ],
)
def test_what_is_wrong_with_a_gate_is_named_by_its_key(tmp_path, keys, said):
    assert problem(tmp_path, {"metric": "roc_auc", **keys}).startswith(f"evaluation.gates[0]{said}")


def test_a_gate_that_is_no_mapping_is_named(tmp_path):
    assert problem(tmp_path, "roc_auc").startswith("evaluation.gates[0]: must be keys and values, not 'roc_auc'")


def test_a_limit_that_no_model_can_reach_is_named(tmp_path):
    key = "evaluation.gates[0]"
    said = problem(tmp_path, {"metric": "roc_auc", "at_least": 65})
    assert said == f"{key}.at_least: roc_auc lies between 0 and 1; no model has 65"
    said = problem(tmp_path, {"metric": "log_loss", "at_most": -1, "slices": ["kind"]})
    assert said == f"{key}.at_most: log_loss is at least 0; no model has -1"


# --- rules of plugins ---------------------------------------------------------------------------------------


@pytest.fixture
def with_rule(plugins: Plugins) -> Plugins:
    plugins.install("enough", RULE, {"gate_rules": {"enough-rows": "enough:Enough"}})
    return plugins


def test_a_plugins_rule_is_judged_like_the_others(with_rule):
    usecase = binary_usecase(metrics=["roc_auc"], gates=[{"type": "enough-rows", "rows": 1000}])
    facts = {"candidate": Scores(rows=9, metrics={"roc_auc": 0.7}), "agreement": 0.0, "agreement_rows": 9}
    verdicts = [judge(usecase, Evaluation(test_rows=rows, **facts)) for rows in (1000, 999)]
    assert [verdict.passed for verdict in verdicts] == [True, False]
    assert verdicts[1].why == "999 test rows"
    assert usecase.reported_metrics == ["roc_auc"]


def test_what_is_wrong_with_a_plugins_rule_is_named_by_its_key(with_rule, tmp_path):
    said = problem(tmp_path, {"type": "enough-rows", "rows": 0})
    assert said == "evaluation.gates[0].rows: must be at least 1, not 0"


def test_one_that_offers_no_rule_is_refused(plugins):
    code = RULE.replace("GateRule[EnoughSettings]", "object")
    plugins.install("enough", code, {"gate_rules": {"enough-rows": "enough:Enough"}})
    with pytest.raises(PluginBroken, match=r"enough 1\.0 .* offers no subclass of pipelines\.evaluation\.rules"):
        rule_type("enough-rows")
    with pytest.raises(RuleUnknown, match="no rule is of type 'gone'"):
        rule_type("gone")


# --- metrics of plugins -------------------------------------------------------------------------------------


def with_metric(plugins: Plugins, code: str = METRIC) -> None:
    plugins.install("rates", code, {"metrics": {"error_rate": "rates:error_rate"}})


def scored(answers=((0.9, 0.1), (0.2, 0.8), (0.6, 0.4), (0.3, 0.7))):
    usecase = binary_usecase(metrics=["error_rate"], gates=[{"metric": "error_rate", "at_most": 0.3}])
    target = np.array([0, 1, 1, 1][: len(answers)])
    return usecase, score(usecase, target, np.array(answers), {})


def test_a_plugins_metric_is_scored_and_gated(plugins):
    with_metric(plugins)
    usecase, scores = scored()
    assert scores.metrics == {"error_rate": 0.25}
    verdict = judge(usecase, Evaluation(candidate=scores, test_rows=4, agreement=0.0, agreement_rows=4))
    assert verdict.rules[-1].reason == "error_rate 0.25 keeps at_most 0.3"


def test_its_direction_decides_what_is_worse_than_the_champion(plugins):
    with_metric(plugins)
    usecase = binary_usecase(metrics=["error_rate"], gates=[{"metric": "error_rate", "champion": "not-worse"}])
    candidate, champion = (Scores(rows=4, metrics={"error_rate": value}) for value in (0.2, 0.1))
    facts = {"test_rows": 4, "agreement": 0.0, "agreement_rows": 4, "champion_name": "flights/7"}
    verdict = judge(usecase, Evaluation(candidate=candidate, champion=champion, **facts))
    assert verdict.rules[-1].reason == "error_rate 0.2 is 0.1 worse (higher) than flights/7's 0.1; no margin is set"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (METRIC.replace("FACTOR = 1", "FACTOR = 4.8"), "its function gave 1.2, but error_rate lies between 0 and 1"),
        (METRIC.replace("FACTOR = 1", "FACTOR = float('nan')"), "the result is nan"),
        (METRIC.replace("FACTOR = 1", "FACTOR = 'x'"), "its function raised TypeError"),
    ],
)
def test_a_metric_that_goes_wrong_has_no_value_and_says_why(plugins, code, why):
    with_metric(plugins, code)
    scores = scored()[1]
    assert scores.metrics == {"error_rate": None}
    assert why in scores.problems["error_rate"]


def test_a_metric_may_say_that_it_is_undefined(plugins):
    with_metric(plugins)
    assert scored(answers=((0.9, 0.1),))[1].problems == {"error_rate": "one row is not enough"}


def test_what_is_wrong_with_a_plugins_metric_is_named_by_its_key(plugins, tmp_path):
    with_metric(plugins)
    said = problem(tmp_path, {"metric": "error_rat", "at_most": 0.1})
    assert "'error_rat' is no metric for classification (did you mean error_rate?); allowed: accuracy," in said
    assert said.endswith("calibration_error, error_rate")
    said = problem(tmp_path, {"metric": "error_rate", "at_most": 2})
    assert said.endswith(["evaluation", "gates[0].at_most: error_rate lies between 0 and 1; no model has 2"][1])


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("error_rate = 7", "offers no pipelines.metric_catalog.Metric"),
        (METRIC.replace('"lower"', '"smaller"'), "has 'smaller' where one of higher, lower is allowed"),
        (METRIC.replace('"classification"', '"ranking"'), "has 'ranking' where one of classification, regression is"),
        (METRIC.replace("compute, lowest", "None, lowest"), "needs `compute`, a function"),
    ],
)
def test_a_broken_one_is_named_where_it_is_used_and_nowhere_else(plugins, tmp_path, code, why):
    with_metric(plugins, code)
    said = problem(tmp_path, {"metric": "error_rate", "at_most": 0.1})
    start = "evaluation.gates[0].metric: rates 1.0 (entry point mlops_blueprint.metrics: error_rate = rates:error_rate)"
    assert said.startswith(f"{start} {why}")
    assert gate(metric="roc_auc", at_least=0.5).metric == "roc_auc"
    assert "error_rate" not in all_metrics_for("classification")


def test_a_built_in_name_cannot_be_taken(plugins):
    plugins.install("rates", METRIC, {"metrics": {"roc_auc": "rates:error_rate"}})
    assert find_metric("roc_auc") is METRICS["roc_auc"]
    assert metric_info("roc_auc").better == "higher"
