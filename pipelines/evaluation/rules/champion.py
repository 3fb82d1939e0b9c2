"""`{metric: roc_auc, champion: not-worse, margin: 0.005}`: the candidate against the released model."""

from __future__ import annotations

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.markdown import number
from pipelines.evaluation.rules.numbers import at_least, at_most, distinct, finite, no_value
from pipelines.evaluation.rules.rule import GateRule, RuleResult
from pipelines.metric_catalog import metric_info
from pipelines.usecase.gates import ChampionGate


class ChampionRule(GateRule[ChampionGate]):
    """The candidate may be worse than the champion by the margin, in the direction that is worse for the metric.

    Only a first release, with no champion at all, passes without a comparison.
    """

    settings = ChampionGate

    def judge(self, evaluation: Evaluation) -> list[RuleResult]:
        """One result."""
        metric, margin = self.section.metric, self.section.margin
        value = finite(evaluation.candidate.metrics.get(metric))
        champion = evaluation.champion
        baseline = finite(champion.metrics.get(metric)) if champion else None
        limit = None
        if evaluation.champion_name is None:
            passed, reason = True, "not applicable: first release, there is no champion"
        elif baseline is None:
            passed, reason = False, _champion_without_value(metric, evaluation)
        else:
            limit = baseline - margin if self._higher_is_better else baseline + margin
            if value is None:
                passed, reason = False, no_value(metric, evaluation.candidate.problems)
            else:
                passed = at_least(value, limit) if self._higher_is_better else at_most(value, limit)
                reason = self._comparison(value, baseline, passed, evaluation.champion_name)
        allowed = f" by more than {margin:g}" if margin else ""
        return [
            RuleResult(
                rule=f"{metric} not worse than the champion's{allowed}",
                metric=metric,
                value=value,
                limit=limit,
                baseline=baseline,
                passed=passed,
                reason=reason,
            )
        ]

    @property
    def _higher_is_better(self) -> bool:
        return metric_info(self.section.metric).better == "higher"

    def _comparison(self, value: float, baseline: float, passed: bool, champion: str) -> str:
        metric, margin = self.section.metric, self.section.margin
        if value == baseline:
            return f"{metric} {number(value)} is the same as {champion}'s"
        higher = value > baseline
        better = higher == self._higher_is_better
        found, theirs = distinct(value, baseline)
        direction = f"{'better' if better else 'worse'} ({'higher' if higher else 'lower'})"
        said = f"{metric} {found} is {number(abs(value - baseline))} {direction} than {champion}'s {theirs}"
        if better:
            return said
        if not passed and not margin:
            return f"{said}; no margin is set"
        return f"{said}, {'within' if passed else 'beyond'} the margin {margin:g}"


def _champion_without_value(metric: str, evaluation: Evaluation) -> str:
    problems = evaluation.champion.problems if evaluation.champion else {}
    why = evaluation.champion_problem or problems.get(metric, f"{metric} has no value")
    return (
        f"{metric} cannot be evaluated: the champion {evaluation.champion_name} could not be scored: {why}. "
        "To replace it on purpose, run the pipeline with --replace-champion: "
        "that run is judged as a first release"
    )
