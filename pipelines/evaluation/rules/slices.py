"""`{metric: roc_auc, slices: [carrier], at_least: 0.55}`: a limit for every value of some columns."""

from __future__ import annotations

from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.markdown import number
from pipelines.evaluation.metrics import SliceScore
from pipelines.evaluation.rules.numbers import Limit, distinct, finite, listed
from pipelines.evaluation.rules.rule import GateRule, RuleResult
from pipelines.usecase.gates import SliceGate


class SliceRule(GateRule[SliceGate]):
    """Each value of a column with enough rows keeps the limit; the worst of them is the rule's value."""

    settings = SliceGate

    def judge(self, evaluation: Evaluation) -> list[RuleResult]:
        """One result a column."""
        return [self._judge_column(column, evaluation) for column in dict.fromkeys(self.section.slices)]

    def _judge_column(self, column: str, evaluation: Evaluation) -> RuleResult:
        metric, min_rows = self.section.metric, self.section.min_rows
        limit = Limit.of(self.section.at_least, self.section.at_most)
        slices = [part for part in evaluation.candidate.slices if part.column == column]
        judged = [part for part in slices if part.rows >= min_rows]
        values = [(part, finite(part.metrics.get(metric))) for part in judged]
        known = [(value, part) for part, value in values if value is not None]
        known.sort(key=lambda pair: pair[0], reverse=limit.worst_first)
        unknown = [part for part, value in values if value is None]
        broken = [(value, part) for value, part in known if not limit.holds(value)]
        parts = []
        if evaluation.candidate_problem:
            parts.append(f"{metric} cannot be evaluated: {evaluation.candidate_problem}")
        elif not judged:
            parts.append(f"{metric} cannot be evaluated: no {column} has {min_rows} rows")
        if broken:
            names = listed([f"{_name(part)} {distinct(value, limit.value)[0]}" for value, part in broken])
            parts.append(f"{metric} is {limit.side} {limit.bound} {limit.value:g} for {column}: {names}")
        if unknown:
            why = [f"{_name(part)} {part.problems.get(metric, 'has no value')}" for part in unknown]
            parts.append(f"{metric} cannot be evaluated for {column}: {listed(why)}")
        passed = not parts
        if known and not broken:
            kept = f"{metric} keeps {limit.bound} {limit.value:g}; " if passed else ""
            parts.append(f"{kept}worst of {len(known)}: {_name(known[0][1])} {number(known[0][0])}")
        if few := [part for part in slices if part.rows < min_rows]:
            parts.append(f"not judged, too few rows: {listed([_name(part) for part in few])}")
        return RuleResult(
            rule=f"{metric} {limit} for each {column} with {min_rows} rows or more",
            metric=metric,
            value=known[0][0] if known else None,
            limit=limit.value,
            passed=passed,
            reason="; ".join(parts),
        )


def _name(part: SliceScore) -> str:
    return f"{part.value} ({part.rows} rows)"
