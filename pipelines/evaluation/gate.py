"""The gate: whether a candidate may be released, rule by rule, with the reason.

A rule that cannot be evaluated fails. Only a first release, with no champion at all, passes champion rules
without a comparison.
"""

import math

from pipelines.documents import Document, Value
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.markdown import Markdown, escape, number, table
from pipelines.evaluation.metrics import SliceScore
from pipelines.metric_catalog import METRICS
from pipelines.usecase import UseCase
from pipelines.usecase.model import Gate

NAMED_AT_MOST = 8


class RuleResult(Value):
    """One rule and how it came out. `baseline` is the champion's value; `value` of a slice rule is the worst one."""

    rule: str
    metric: str | None = None
    value: float | None = None
    limit: float | None = None
    baseline: float | None = None
    passed: bool
    reason: str


class Verdict(Document):
    """Whether the candidate may be released. It may when every rule passed."""

    KIND = "verdict"

    usecase: str
    passed: bool
    first_release: bool
    champion: str | None
    rules: list[RuleResult]

    @property
    def failed(self) -> list[RuleResult]:
        return [rule for rule in self.rules if not rule.passed]

    @property
    def conclusion(self) -> str:
        """The verdict in one sentence."""
        against = "a first release, no champion to compare with" if self.first_release else f"against {self.champion}"
        if self.passed:
            return f"Passed: all {len(self.rules)} rules hold ({against})."
        broken = "; ".join(rule.rule for rule in self.failed)
        return f"Rejected: {len(self.failed)} of {len(self.rules)} rules failed ({against}): {broken}."

    @property
    def why(self) -> str:
        """Why it was rejected, in one line: the first broken rule's reason, and how many more there are."""
        if self.passed:
            return ""
        first, *others = self.failed
        return " ".join(first.reason.split()) + (f" (and {len(others)} more)" if others else "")

    def to_table(self) -> Markdown:
        """All rules, one a row."""
        rows = [
            [
                "passed" if rule.passed else "**failed**",
                escape(rule.rule),
                number(rule.value),
                number(rule.limit),
                number(rule.baseline),
                escape(rule.reason),
            ]
            for rule in self.rules
        ]
        values = ["Candidate", "Limit", "Champion"]
        return table(["", "Rule", *values, "Why"], rows, numbers=values)

    def to_markdown(self) -> str:
        """The conclusion and all rules."""
        return f"**{escape(self.conclusion)}**\n\n{self.to_table()}\n"


def judge(usecase: UseCase, evaluation: Evaluation) -> Verdict:
    """Apply every gate of the use case, and the two that always hold: valid answers, and a faithful export."""
    rules = [_answers_are_valid(evaluation), _export_agrees(usecase, evaluation)]
    for gate in usecase.evaluation.gates:
        if gate.champion:
            rules.append(_champion_rule(gate, evaluation))
        elif gate.slices:
            rules += [_slice_rule(gate, column, evaluation) for column in dict.fromkeys(gate.slices)]
        else:
            rules.append(_limit_rule(gate, evaluation))
    return Verdict(
        usecase=usecase.name,
        passed=all(rule.passed for rule in rules),
        first_release=evaluation.champion_name is None,
        champion=evaluation.champion_name,
        rules=rules,
    )


# --- always -------------------------------------------------------------------------------------------------


def _answers_are_valid(evaluation: Evaluation) -> RuleResult:
    problem = evaluation.candidate_problem
    return RuleResult(
        rule="every answer on the test rows is finite and valid",
        passed=problem is None,
        reason=problem or f"{evaluation.test_rows} rows answered",
    )


def _export_agrees(usecase: UseCase, evaluation: Evaluation) -> RuleResult:
    limit = usecase.evaluation.agreement
    value = _finite(evaluation.agreement)
    if value is None:
        passed, reason = False, f"cannot be evaluated: {evaluation.agreement_problem or 'it was not measured'}"
    else:
        passed, rows = _at_most(value, limit), f"on {evaluation.agreement_rows} rows"
        found, allowed = _apart(value, limit)
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


# --- from usecase.yaml --------------------------------------------------------------------------------------


def _limit_rule(gate: Gate, evaluation: Evaluation) -> RuleResult:
    value = _finite(evaluation.candidate.metrics.get(gate.metric))
    limit = _limit(gate)
    if value is None:
        passed, reason = False, _no_value(gate.metric, evaluation.candidate.problems)
    else:
        passed = _holds(gate, value)
        found, allowed = _apart(value, limit)
        reason = f"{gate.metric} {found} {'keeps' if passed else f'is {_side(gate)}'} {_bound(gate)} {allowed}"
    return RuleResult(
        rule=f"{gate.metric} {_limit_text(gate)}",
        metric=gate.metric,
        value=value,
        limit=limit,
        passed=passed,
        reason=reason,
    )


def _champion_rule(gate: Gate, evaluation: Evaluation) -> RuleResult:
    """The candidate may be worse than the champion by the margin, in the direction that is worse for the metric."""
    higher_is_better = METRICS[gate.metric].better == "higher"
    value = _finite(evaluation.candidate.metrics.get(gate.metric))
    champion = evaluation.champion
    baseline = _finite(champion.metrics.get(gate.metric)) if champion else None
    limit = None
    if evaluation.champion_name is None:
        passed, reason = True, "not applicable: first release, there is no champion"
    elif baseline is None:
        passed, reason = False, _champion_without_value(gate.metric, evaluation)
    else:
        limit = baseline - gate.margin if higher_is_better else baseline + gate.margin
        if value is None:
            passed, reason = False, _no_value(gate.metric, evaluation.candidate.problems)
        else:
            passed = _at_least(value, limit) if higher_is_better else _at_most(value, limit)
            reason = _comparison(gate, value, baseline, passed, evaluation.champion_name)
    allowed = f" by more than {gate.margin:g}" if gate.margin else ""
    return RuleResult(
        rule=f"{gate.metric} not worse than the champion's{allowed}",
        metric=gate.metric,
        value=value,
        limit=limit,
        baseline=baseline,
        passed=passed,
        reason=reason,
    )


def _slice_rule(gate: Gate, column: str, evaluation: Evaluation) -> RuleResult:
    """The limit, for each value of the column with enough rows; the worst of them is the rule's value."""
    slices = [slice_ for slice_ in evaluation.candidate.slices if slice_.column == column]
    judged = [slice_ for slice_ in slices if slice_.rows >= gate.min_rows]
    values = [(slice_, _finite(slice_.metrics.get(gate.metric))) for slice_ in judged]
    known = [(value, slice_) for slice_, value in values if value is not None]
    unknown = [slice_ for slice_, value in values if value is None]
    broken = [(value, slice_) for value, slice_ in known if not _holds(gate, value)]
    known.sort(key=lambda pair: pair[0], reverse=gate.at_most is not None)
    broken.sort(key=lambda pair: pair[0], reverse=gate.at_most is not None)
    limit = _limit(gate)
    parts = []
    if evaluation.candidate_problem:
        parts.append(f"{gate.metric} cannot be evaluated: {evaluation.candidate_problem}")
    elif not judged:
        parts.append(f"{gate.metric} cannot be evaluated: no {column} has {gate.min_rows} rows")
    if broken:
        names = _named([f"{_slice(slice_)} {_apart(value, limit)[0]}" for value, slice_ in broken])
        parts.append(f"{gate.metric} is {_side(gate)} {_bound(gate)} {limit:g} for {column}: {names}")
    if unknown:
        why = [f"{_slice(slice_)} {slice_.problems.get(gate.metric, 'has no value')}" for slice_ in unknown]
        parts.append(f"{gate.metric} cannot be evaluated for {column}: {_named(why)}")
    passed = not parts
    if known and not broken:
        kept = f"{gate.metric} keeps {_bound(gate)} {limit:g}; " if passed else ""
        parts.append(f"{kept}worst of {len(known)}: {_slice(known[0][1])} {number(known[0][0])}")
    if few := [slice_ for slice_ in slices if slice_.rows < gate.min_rows]:
        parts.append(f"not judged, too few rows: {_named([_slice(slice_) for slice_ in few])}")
    return RuleResult(
        rule=f"{gate.metric} {_limit_text(gate)} for each {column} with {gate.min_rows} rows or more",
        metric=gate.metric,
        value=known[0][0] if known else None,
        limit=limit,
        passed=passed,
        reason="; ".join(parts),
    )


# --- limits and words ---------------------------------------------------------------------------------------


def _limit(gate: Gate) -> float:
    limit = gate.at_least if gate.at_least is not None else gate.at_most
    assert limit is not None  # noqa: S101 - the schema asks for one where there is no champion to compare with
    return limit


def _limit_text(gate: Gate) -> str:
    return f"{_bound(gate).replace('_', ' ')} {_limit(gate):g}"


def _bound(gate: Gate) -> str:
    """The key in usecase.yaml."""
    return "at_least" if gate.at_least is not None else "at_most"


def _side(gate: Gate) -> str:
    """Where a value is that breaks the limit."""
    return "below" if gate.at_least is not None else "above"


def _holds(gate: Gate, value: float) -> bool:
    if gate.at_least is not None:
        return _at_least(value, gate.at_least)
    return gate.at_most is not None and _at_most(value, gate.at_most)


def _at_least(value: float, limit: float) -> bool:
    """Equal passes, and so does a rounding error: 0.3 - 0.1 is not quite 0.2."""
    return value >= limit or math.isclose(value, limit, rel_tol=1e-12, abs_tol=1e-12)


def _at_most(value: float, limit: float) -> bool:
    return _at_least(-value, -limit)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _no_value(metric: str, problems: dict[str, str]) -> str:
    return f"{metric} cannot be evaluated: {problems.get(metric, 'it has no value')}"


def _champion_without_value(metric: str, evaluation: Evaluation) -> str:
    problems = evaluation.champion.problems if evaluation.champion else {}
    why = evaluation.champion_problem or problems.get(metric, f"{metric} has no value")
    return (
        f"{metric} cannot be evaluated: the champion {evaluation.champion_name} could not be scored: {why}. "
        "To replace it on purpose, run the pipeline with --replace-champion: "
        "that run is judged as a first release"
    )


def _comparison(gate: Gate, value: float, baseline: float, passed: bool, champion: str) -> str:
    if value == baseline:
        return f"{gate.metric} {number(value)} is the same as {champion}'s"
    higher = value > baseline
    better = higher == (METRICS[gate.metric].better == "higher")
    found, theirs = _apart(value, baseline)
    direction = f"{'better' if better else 'worse'} ({'higher' if higher else 'lower'})"
    told = f"{gate.metric} {found} is {number(abs(value - baseline))} {direction} than {champion}'s {theirs}"
    if better:
        return told
    if not passed and not gate.margin:
        return f"{told}; no margin is set"
    return f"{told}, {'within' if passed else 'beyond'} the margin {gate.margin:g}"


def _apart(value: float, other: float) -> tuple[str, str]:
    """Both numbers short, but with as many digits as it takes to tell them apart: 0.64996 is not 0.65."""
    for digits in range(4, 17):
        texts = f"{value:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1] or value == other:
            break
    return (number(value), number(other)) if digits == 4 else texts


def _slice(slice_: SliceScore) -> str:
    return f"{slice_.value} ({slice_.rows} rows)"


def _named(names: list[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
