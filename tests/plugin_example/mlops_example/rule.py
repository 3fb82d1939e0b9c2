from typing import Literal

from pydantic import Field

from pipelines.evaluation.rules.rule import GateRule, RuleResult
from pipelines.usecase.gates import GateSettings


class EnoughRowsSettings(GateSettings):
    """The test has rows enough to be believed."""

    type: Literal["enough-rows"] = Field(description="Enough test rows.")
    rows: int = Field(ge=1, description="Fewest test rows.", examples=[1000])


class EnoughRows(GateRule[EnoughRowsSettings]):
    settings = EnoughRowsSettings

    def judge(self, evaluation):
        return [
            RuleResult(
                rule=f"{self.section.rows} test rows or more",
                value=evaluation.test_rows,
                limit=self.section.rows,
                passed=evaluation.test_rows >= self.section.rows,
                reason=f"{evaluation.test_rows} test rows",
            )
        ]
