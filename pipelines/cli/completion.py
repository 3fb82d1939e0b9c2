"""Completion in the shell: what TAB offers, and the line that switches it on.

Click writes the script; it is loaded by a file of its own or by one line in the shell's own file.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.errors import MlopsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "mlops"
VARIABLE = "_MLOPS_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
OFFERED_RUNS = 50


class ShellUnknown(MlopsError):
    """The shell is none that completion is made for, or cannot be told from SHELL."""


@dataclass(frozen=True)
class Installed:
    """Where completion was switched on. `changed`: whether it had not been before."""

    shell: str
    file: Path
    changed: bool


def complete_usecases(ctx: click.Context, _: click.Parameter, incomplete: str) -> list["CompletionItem"]:
    """The folders of apps/ that hold a usecase.yaml."""
    root = _settings(ctx, "root")
    names = sorted(path.parent.name for path in root.glob("apps/*/usecase.yaml")) if root else []
    return _items(names, incomplete)


def complete_runs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list["CompletionItem"]:
    """The newest runs of the state folder."""
    from pipelines.runs.index import newest_names

    runs = _settings(ctx, "runs")
    return _items(newest_names(runs) if runs else [], incomplete)[:OFFERED_RUNS]


def complete_usecases_and_runs(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list["CompletionItem"]:
    """Use cases first."""
    return [*complete_usecases(ctx, parameter, incomplete), *complete_runs(ctx, parameter, incomplete)]


def script(shell: str) -> str:
    """What the shell has to read, as click writes it."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - SHELLS are those click knows
    return made(_command(), {}, PROGRAM, VARIABLE).source()


def install(shell: str) -> Installed:
    """Switch completion on for this user; a second time changes nothing."""
    file = _file(shell)
    if shell == "fish":  # reads the file by itself
        text = script(shell)
        changed = not file.is_file() or file.read_text(encoding="utf-8") != text
        if changed:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return Installed(shell, file, changed)
    line = _line(shell)
    known = file.read_text(encoding="utf-8") if file.is_file() else ""
    if line in known.splitlines():
        return Installed(shell, file, changed=False)
    with file.open("a", encoding="utf-8") as target:
        target.write(("\n" if known and not known.endswith("\n") else "") + line + "\n")
    return Installed(shell, file, changed=True)


def shell_of_user() -> str:
    """The name of the login shell. Raises ShellUnknown."""
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise ShellUnknown(
            f"completion is made for {', '.join(SHELLS)}; SHELL says {name or 'nothing'}",
            hint=f"name one: `{PROGRAM} --install-completion bash`",
        )
    return name


def completion_option(name: str, help_text: str, act: Callable[[str], None]) -> Callable[[Any], Any]:
    """An option of the whole command that does something and ends. Its value is a shell, or that of the user."""

    def callback(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is None or ctx.resilient_parsing:
            return
        act(shell_of_user() if value == "auto" else value)
        ctx.exit()

    return click.option(
        name,
        type=click.Choice([*SHELLS, "auto"]),
        is_flag=False,
        flag_value="auto",
        is_eager=True,
        expose_value=False,
        callback=callback,
        metavar="[SHELL]",
        help=help_text,
    )


def show_completion(shell: str) -> None:
    """Write the script to stdout."""
    click.echo(script(shell))


def install_completion(shell: str) -> None:
    """Install, and say what to do next."""
    done = install(shell)
    if not done.changed:
        click.echo(f"{done.file} switches completion on already")
        return
    click.echo(f"{done.file} now switches completion on")
    again = "open a new shell" if shell == "fish" else f"open a new shell, or run: source {done.file}"
    click.echo(f"  next: {again}")


def _line(shell: str) -> str:
    return f'command -v {PROGRAM} >/dev/null && eval "$({VARIABLE}={shell}_source {PROGRAM})"'


def _file(shell: str) -> Path:
    home = Path.home()
    if shell == "bash":
        return home / ".bashrc"
    if shell == "zsh":
        return Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / f"{PROGRAM}.fish"


def _command() -> click.Command:
    from pipelines.cli import main

    return main


def _settings(ctx: click.Context, name: str) -> Path | None:
    """A place of the settings; None outside a checkout, where there is nothing to complete."""
    from pipelines.cli.context import Context

    given = ctx.find_root().params
    try:
        place: Path = getattr(Context(given.get("root"), given.get("home")).settings, name)
    except MlopsError:
        return None
    return place


def _items(names: list[str], incomplete: str) -> list["CompletionItem"]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
