"""The plans of all stacks as files, so that a pull request shows what it would change, without credentials."""

from collections.abc import Iterator
from pathlib import Path

from blueprint import plan
from blueprint.rehearsal import FOLDER, rehearse

SNAPSHOTS = FOLDER / "tests" / "snapshots"
# Flux as an example has it: what Git says of Flux has reviews of its own.
TREE = FOLDER / "tests" / "tree"
ENDINGS = {"tree": "txt", "json": "json"}


def stacks() -> list[str]:
    """Every stack that has a file."""
    return sorted(path.name.split(".")[1] for path in FOLDER.glob("Pulumi.*.yaml"))


def snapshots(stack: str) -> Iterator[tuple[Path, str]]:
    """The files of one stack and what should be in them."""
    rehearsal = rehearse(stack, root=TREE)
    for name, ending in ENDINGS.items():
        yield SNAPSHOTS / f"{stack}.{ending}", plan.FORMATS[name](rehearsal)


def main() -> None:
    """Rewrite them all, and say which changed."""
    SNAPSHOTS.mkdir(exist_ok=True)
    for stack in stacks():
        for path, text in snapshots(stack):
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                print(f"rewritten: {path.relative_to(FOLDER.parent)}")


if __name__ == "__main__":
    main()
