"""`{metric: roc_auc, at_least: 0.65}`: the metric on all test rows keeps a limit."""

from __future__ import annotations

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.rules.numbers import Limit, distinct, finite, no_value
from pipelines.evaluation.rules.rule import GateRule, RuleResult
from pipelines.usecase.gates import LimitGate


class LimitRule(GateRule[LimitGate]):
    """The candidate's value is at the limit or on its good side."""

    settings = LimitGate

    def judge(self, evaluation: Evaluation) -> list[RuleResult]:
        """One result."""
        metric = self.section.metric
        limit = Limit.of(self.section.at_least, self.section.at_most)
        value = finite(evaluation.candidate.metrics.get(metric))
        if value is None:
            passed, reason = False, no_value(metric, evaluation.candidate.problems)
        else:
            passed = limit.holds(value)
            found, allowed = distinct(value, limit.value)
            reason = f"{metric} {found} {'keeps' if passed else f'is {limit.side}'} {limit.bound} {allowed}"
        return [
            RuleResult(
                rule=f"{metric} {limit}", metric=metric, value=value, limit=limit.value, passed=passed, reason=reason
            )
        ]
