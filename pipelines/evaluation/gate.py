"""The gate: whether a candidate may be released, rule by rule, with the reason.

A rule that cannot be evaluated fails. Only a first release, with no champion at all, passes champion rules
without a comparison.
"""

from pipelines.documents import Document
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.markdown import Markdown, escape, number, table
from pipelines.evaluation.rules.always import answers_are_valid, export_agrees
from pipelines.evaluation.rules.load import rule_of
from pipelines.evaluation.rules.rule import RuleResult
from pipelines.usecase import UseCase

__all__ = ["RuleResult", "Verdict", "judge"]


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
    """Apply every gate of the use case, and the two that always hold: valid answers, and a faithful export.

    Raises:
        PluginBroken: a rule comes from a plugin that cannot be loaded.
    """
    rules = [
        answers_are_valid(evaluation),
        export_agrees(usecase.evaluation.agreement, evaluation),
        *(result for section in usecase.evaluation.gates for result in rule_of(section).judge(evaluation)),
    ]
    return Verdict(
        usecase=usecase.name,
        passed=all(rule.passed for rule in rules),
        first_release=evaluation.champion_name is None,
        champion=evaluation.champion_name,
        rules=rules,
    )
