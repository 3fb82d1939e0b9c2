"""What the terminal shows of a run."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from pipelines.console import outcome_line
from pipelines.evaluation.gate import RuleResult, Verdict
from pipelines.runs.request import RunRequest
from pipelines.runs.run import Run


def run(outcome: str, **known: Any) -> Run:
    request = RunRequest(usecase="tiny", run_id="tiny-20260101-000000-aaaa", environment="staging")
    started = datetime(2026, 1, 1, tzinfo=UTC)
    made = {"request": request, "folder": Path("runs"), "outcome": outcome, "started": started, "seconds": 12.3}
    return Run.model_validate({**made, "steps": {}, "results": {}, **known})


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ({"outcome": "interrupted", "current_step": "train"}, "interrupted in step train, 12 s"),
        (
            {"outcome": "interrupted", "steps": {"snapshot": 1.0, "validate": 2.0}},
            "interrupted after step validate, 12 s",
        ),
        ({"outcome": "interrupted"}, "interrupted before the first step, 12 s"),
        ({"outcome": "running", "current_step": "train"}, "running in step train, 12 s"),
        ({"outcome": "failed", "failed_step": "train"}, "failed in step train after 12 s"),
    ],
)
def test_a_run_that_did_not_end_says_how_far_it_came(known, line):
    assert told(run(**known)) == line


def told(of: Run) -> str:
    return Text.from_markup(outcome_line(of)).plain


@pytest.mark.parametrize(
    ("champion", "stays"), [("tiny/1", "; what is released of tiny stays up"), (None, "")], ids=["replaces", "first"]
)
def test_a_rejected_run_says_why_and_promises_nothing_that_is_not_there(champion, stays):
    rule = RuleResult(rule="r", passed=False, reason="accuracy is below at_least 0.99 for kind: [b] (9 rows) 0.5")
    verdict = Verdict(usecase="tiny", passed=False, first_release=not champion, champion=champion, rules=[rule])
    line = told(run("rejected", results={"gate": verdict.model_dump(mode="json")}))
    assert line == f"rejected by its gate: accuracy is below at_least 0.99 for kind: [b] (9 rows) 0.5{stays}, 12 s"
