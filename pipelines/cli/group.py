"""A group of commands that imports a command's module only when that command is asked for.

Importing every command, and with it pydantic, rich and what they need, would cost `mlops --help` and each press of TAB
more than their own work. So names and helps are listed here once more; a test compares them with the commands.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit, NoSuchCommand

from pipelines.cli import json_output
from pipelines.errors import MlopsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

INTERRUPTED = 130


@dataclass(frozen=True)
class Verb:
    """Where a command is defined, `module:attribute`, and the first paragraph of its help."""

    place: str
    help: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - tests load every verb
        return command


class LazyGroup(click.Group):
    """Commands by name, loaded when needed. Errors are one message with a hint, or with --json an object."""

    def __init__(self, *args: Any, verbs: Mapping[str, Verb] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = dict(verbs or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return self.verbs[cmd_name].load() if cmd_name in self.verbs else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the command that was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.verbs, ctx=ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        """Commands by their listed helps, then this group's own options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=verb.help) for name, verb in self.verbs.items() if name.startswith(incomplete)
        ]
        return [*sorted(found, key=lambda item: str(item.value)), *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The listed helps, as click would shorten those of the commands."""
        names = sorted(self.verbs)
        limit = formatter.width - 6 - max(map(len, names))
        rows = [(name, click.Command(name, help=self.verbs[name].help).get_short_help_str(limit)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Run the command; with --json, stdout holds one JSON document whatever happens."""
        given = list(sys.argv[1:] if args is None else args)
        if "--json" not in given:
            return super().main(given, *more, **extra)
        json_output.wanted.set(True)
        try:
            return super().main(given, *more, **extra)
        finally:
            json_output.wanted.set(False)

    def invoke(self, ctx: click.Context) -> Any:
        """Every error that a person can cause becomes a message or an object, never a traceback."""
        as_json = json_output.wanted.get()
        try:
            return super().invoke(ctx)
        except MlopsError as error:
            _fail(error, as_json)
            sys.exit(1)
        except KeyboardInterrupt:
            if as_json:
                json_output.print_error("stopped", None, "Interrupted")
            click.echo("stopped", err=True)
            sys.exit(INTERRUPTED)
        except (Exit, click.Abort):
            raise
        except click.ClickException as error:
            if as_json:
                json_output.print_error(error.format_message(), None, type(error).__name__)
            raise
        except Exception as error:
            if as_json:
                json_output.print_error(str(error) or type(error).__name__, None, type(error).__name__)
            raise


def _fail(error: MlopsError, as_json: bool) -> None:
    if as_json:
        json_output.print_error(error.message, error.hint, type(error).__name__)
        return
    from pipelines.console import fail

    fail(error)


def flatten(group: LazyGroup) -> dict[str, click.Command]:
    """Every command under its full name, such as `vertex reconcile`; imports all of them."""
    found: dict[str, click.Command] = {}
    for name, verb in group.verbs.items():
        command = verb.load()
        if isinstance(command, click.Group):
            found |= {f"{name} {sub}": command.commands[sub] for sub in sorted(command.commands)}
        else:
            found[name] = command
    return found
