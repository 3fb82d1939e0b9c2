"""docs/cli.md, made from the commands so that it cannot lie.

python -m pipelines.cli.reference --write      after a change of a command or of what it writes with --json
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli import main as mlops
from pipelines.cli.group import flatten
from pipelines.documents import write_atomically

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
PAGE_FILE = ROOT / "docs" / "cli.md"
HEAD = """\
# The command `mlops`

<!-- Made by `python -m pipelines.cli.reference --write` from the commands themselves; do not edit. -->

Every command takes `--help`. These options stand before the command:

"""
COMPLETION = """
## Completion in the shell

```bash
mlops --install-completion        # bash, zsh or fish, as SHELL says; or name one
```

appends one line to `~/.bashrc` or `~/.zshrc`, or writes fish's own file, and says what to do next. A second time
changes nothing. TAB then completes commands, options, use cases and the ids of runs. `--show-completion` writes the
script to stdout, for those who keep such files elsewhere.
"""
JSON = """
## What `--json` writes

One JSON document on stdout and nothing else, whatever happens; everything for people goes to stderr. `schema` is the
number of the document's shape. Within one number keys are only added: readers should ignore those that they do not
know. A key that changes its meaning or goes away raises the number.

Where the document cannot be made, stdout holds this instead, and the exit status is not 0:

```json
{"error": {"message": "what happened, and where", "hint": "what to do next, or null", "type": "RunNotFound"}}
```

`type` is the error's class; `message` and `hint` are for people and may change. A command line that is wrong has exit
status 2, and types such as `MissingParameter`, `BadParameter` or `NoSuchOption`.
"""


def documents() -> "dict[str, type[BaseModel]]":
    """What each command writes with --json."""
    from pipelines.cli import documents as shapes
    from pipelines.cli.status_document import StatusDocument
    from pipelines.predictions.labels import LabelReport
    from pipelines.release.lineage import Lineage
    from pipelines.retention.report import CleanReport
    from pipelines.runs.run import Run

    return {
        "clean": CleanReport,
        "check": shapes.CheckDocument,
        "labels import": LabelReport,
        "runs": shapes.RunsDocument,
        "show": Run,
        "status": StatusDocument,
        "store current": shapes.StoreDocument,
        "trace": Lineage,
    }


def reference_page() -> str:
    """The whole page."""
    parts = [HEAD, *_options(mlops), "\n## Commands\n"]
    for name, command in sorted(flatten(mlops).items()):
        parts += [f"\n### mlops {name}\n\n", *_command(name, command)]
    return "".join([*parts, COMPLETION, JSON, *_shapes()])


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"mlops {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\nmlops {name} {usage}\n```\n\n"
    paragraphs = (command.help or "").strip().split("\n\n")
    yield "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs) + "\n"
    rows = list(_options(command))
    if rows:
        yield "\n"
        yield from rows


def _options(command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name="mlops")
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    records = [found for one in options if (found := one.get_help_record(context))]
    if records:
        yield "| option | |\n|---|---|\n"
    for flags, text in records:
        yield f"| `{_cell(flags)}` | {_cell(text)} |\n"


def _shapes() -> Iterator[str]:
    from pydantic.json_schema import models_json_schema

    wanted = documents()
    models = [(model, "serialization") for model in dict.fromkeys(wanted.values())]
    names, schema = models_json_schema(models, ref_template="{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = schema["$defs"]
    of_command = {name: names[model, "serialization"]["$ref"] for name, model in wanted.items()}
    for name, definition in of_command.items():
        yield f"\n### mlops {name} --json\n\n"
        yield from _table(definitions[definition], top=True)
    yield "\n### Parts of these documents\n"
    for name in sorted(set(definitions) - set(of_command.values())):
        yield f"\n#### {name}\n\n"
        yield from _table(definitions[name], top=False)


def _table(schema: dict[str, Any], *, top: bool) -> Iterator[str]:
    if text := schema.get("description"):
        yield " ".join(text.split()) + "\n\n"
    yield "| key | type | |\n|---|---|---|\n"
    if top:
        yield "| `schema` | integer | The number of this shape: 1. |\n"
    for key, value in schema.get("properties", {}).items():
        if key != "schema":
            yield f"| `{key}` | {_type(value)} | {_cell(value.get('description', ''))} |\n"


def _type(schema: dict[str, Any]) -> str:
    """A type in a few words."""
    if name := schema.get("$ref"):
        return f"[{name}](#{'mlops-show---json' if name == 'Run' else name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{one}`" for one in choices)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict) and inner:
        return f"object of {_type(inner)}"
    words = {"date-time": "time", "path": "path"}
    return words.get(schema.get("format", ""), str(schema.get("type", "any")))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or say whether it is fresh."""
    parser = argparse.ArgumentParser(description="The reference page of the commands.")
    parser.add_argument("--write", action="store_true", help="write it; without it, only say whether it is fresh")
    text = reference_page()
    if parser.parse_args(arguments).write:
        write_atomically(PAGE_FILE, text)
    elif not PAGE_FILE.is_file() or PAGE_FILE.read_text(encoding="utf-8") != text:
        print("docs/cli.md is stale; run `python -m pipelines.cli.reference --write`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
