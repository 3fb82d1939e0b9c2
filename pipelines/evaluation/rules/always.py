"""The two rules that hold for every use case: valid answers, and an export that is faithful."""

from __future__ import annotations

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.rules.numbers import at_most, distinct, finite
from pipelines.evaluation.rules.rule import RuleResult


def answers_are_valid(evaluation: Evaluation) -> RuleResult:
    """Every output on the test rows is finite, and a probability where it should be one."""
    problem = evaluation.candidate_problem
    return RuleResult(
        rule="every answer on the test rows is finite and valid",
        passed=problem is None,
        reason=problem or f"{evaluation.test_rows} rows answered",
    )


def export_agrees(limit: float, evaluation: Evaluation) -> RuleResult:
    """The exported model's outputs differ from the trained one's by `evaluation.agreement` at most."""
    value = finite(evaluation.agreement)
    if value is None:
        passed, reason = False, f"cannot be evaluated: {evaluation.agreement_problem or 'it was not measured'}"
    else:
        passed, rows = at_most(value, limit), f"on {evaluation.agreement_rows} rows"
        found, allowed = distinct(value, limit)
        reason = (
            f"largest difference {rows}"
            if passed
            else f"the largest difference {rows}, {found}, is above evaluation.agreement {allowed}"
        )
    return RuleResult(
        rule=f"the exported model answers as the trained one, within {limit:g}",
        metric="agreement",
        value=value,
        limit=limit,
        passed=passed,
        reason=reason,
    )
