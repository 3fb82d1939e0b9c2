"""What every gate rule can do: judge an evaluation, with a result for each thing it looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from pipelines.documents import Value
from pipelines.evaluation.evaluate import Evaluation
from pipelines.usecase.gates import GateSettings

Settings = TypeVar("Settings", bound=GateSettings)


class RuleResult(Value):
    """One rule and how it came out. `baseline` is the champion's value; `value` of a slice rule is the worst one."""

    rule: str
    metric: str | None = None
    value: float | None = None
    limit: float | None = None
    baseline: float | None = None
    passed: bool
    reason: str


class GateRule(ABC, Generic[Settings]):
    """One entry of `evaluation.gates`. A rule that cannot be evaluated fails, and says why.

    `settings` is the model of the entry for this type; `section` holds one use case's values of it.
    """

    settings: ClassVar[type[GateSettings]]

    def __init__(self, section: Settings) -> None:
        self.section = section

    @abstractmethod
    def judge(self, evaluation: Evaluation) -> list[RuleResult]:
        """The results, at least one: what was asked, whether it holds, and the reason in one sentence."""
