"""What a person sees on the terminal: progress, verdicts, tables. No decisions are made here."""

import logging
import sys
import time
from typing import IO, Any, cast

from rich.console import Console
from rich.table import Table

from pipelines import logs
from pipelines.errors import MlopsError
from pipelines.runs.journal import Record
from pipelines.runs.run import RUN, Run

OUTCOME_STYLE = {
    "released": "green",
    "unchanged": "green",
    "live": "green",
    "active": "green",
    "rejected": "yellow",
    "running": "cyan",
    "interrupted": "yellow",
    "down": "yellow",
    "failed": "red",
}


def make_console(stderr: bool = False) -> Console:
    """A console that stays readable in a pipe or a CI log: no wrapping of long lines there."""
    if logs.is_json():
        level = logging.WARNING if stderr else logging.INFO
        lines = cast("IO[str]", logs.LogLines(level))
        return Console(file=lines, highlight=False, soft_wrap=True, width=160, color_system=None)
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, soft_wrap=True, width=160, color_system=None)
    return console


class Timeline:
    """Lines with the time since the beginning, so that several things at once stay readable."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()

    def say(self, text: str, subject: str = "") -> None:
        seconds = int(time.monotonic() - self.began)
        who = f"[bold]{subject:<14}[/]" if subject else ""
        self.console.print(f"[dim]{seconds // 60:02d}:{seconds % 60:02d}[/]  {who}{text}")

    def heading(self, text: str) -> None:
        self.console.print()
        self.say(f"[bold cyan]{text}[/]")

    def record(self, subject: str, record: Record) -> None:
        """A step's end, as one line."""
        if record.step == RUN or record.event == "started":
            return
        self.say(step_line(record), subject)

    def error(self, error: MlopsError) -> None:
        self.console.print(f"[red]error:[/] {_escape(error.message)}")
        if error.hint:
            self.console.print(f"  [dim]hint:[/] {_escape(error.hint)}")


def step_line(record: Record) -> str:
    """`✓ train      4.1 s  sklearn Pipeline on 66,123 rows`"""
    rejected = record.tags.get("gate") == "rejected"
    mark = "[red]✗[/]" if record.event == "failed" else "[yellow]✗[/]" if rejected else "[green]✓[/]"
    if record.event == "failed":  # why is told once, at the end, in full
        return f"{mark} {record.step:<9}{record.seconds or 0:>6.1f} s  failed"
    first_line = record.summary.splitlines()[0] if record.summary else ""
    return f"{mark} {record.step:<9}{record.seconds or 0:>6.1f} s  {_escape(first_line)}"


def outcome_line(run: Run) -> str:
    """How a run ended, in one sentence."""
    name, environment = run.request.usecase, run.request.environment
    if run.outcome == "released":
        bento = run.results["release"]["bento"]
        return f"[green]released[/] {bento} to {environment} in commit {(run.commit or '')[:9]}, {run.seconds:.0f} s"
    if run.outcome == "unchanged":
        return f"[green]unchanged[/]: {environment} already has this release"
    if run.outcome == "rejected":
        from pipelines.evaluation.gate import Verdict

        verdict = Verdict.from_values(run.results["gate"])
        stays = "" if verdict.first_release else f"; what is released of {name} stays up"
        return f"[yellow]rejected[/] by its gate: {_escape(verdict.why)}{stays}, {run.seconds:.0f} s"
    if run.outcome == "failed":
        return f"[red]failed[/] in step {run.failed_step} after {run.seconds:.0f} s"
    return f"[{OUTCOME_STYLE[run.outcome]}]{run.outcome}[/] {_where(run)}, {run.seconds:.0f} s"


def _where(run: Run) -> str:
    if run.current_step:
        return f"in step {run.current_step}"
    return f"after step {list(run.steps)[-1]}" if run.steps else "before the first step"


def fail(error: MlopsError) -> None:
    """Tell an error on stderr, without a traceback."""
    console = make_console(stderr=True)
    console.print(f"[red]error:[/] {_escape(error.message)}")
    if error.hint:
        console.print(f"  [dim]hint:[/] {_escape(error.hint)}")


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A plain table; outcomes and states are coloured."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, style=None, overflow="fold")
    for row in rows:
        made.add_row(*[_cell(value) for value in row])
    return made


def _cell(value: Any) -> str:
    text = "-" if value is None or value == "" else str(value)
    style = OUTCOME_STYLE.get(text)
    return f"[{style}]{text}[/]" if style else _escape(text)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
