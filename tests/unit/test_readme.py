"""What the README and the guides promise exists: commands, options, targets, files."""

import re
import shlex
from pathlib import Path

import click
import pytest

from pipelines.cli import main

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / folder / "README.md" for folder in ("apps", "clusters", "infrastructure")]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")),
    *FOLDERS,
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMAND = re.compile(r"^(?:\$ )?(mlops [^#|`]*)", re.MULTILINE)
INLINE = re.compile(r"`(mlops [^`]+)`")
TARGET = re.compile(r"\bmake ([a-z][a-z0-9-]*)\b(?=[^\n]*(?:#|`|$))")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#]+)")


def code_blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL))


def commands(page: Path) -> list[str]:
    return [*COMMAND.findall(code_blocks(page)), *INLINE.findall(page.read_text())]


def test_every_command_and_option_exists():
    checked = 0
    faults = []
    for page in PAGES:
        for text in commands(page):
            words = shlex.split(text.replace("·", " ").replace("…", ""))
            faults += [f"{name_of(page)}: `{text.strip()}`: {fault}" for fault in unknown_words(words)]
            checked += 1
    assert not faults, "\n".join(faults)
    assert checked > 100, "the pattern finds the commands no more"


def unknown_words(words: list[str]) -> list[str]:
    """The verb and the options that `mlops` does not have."""
    context = click.Context(main)
    command: click.Command = main
    options = {option for parameter in main.params for option in parameter.opts} | {"--help"}
    for word in (word for word in words[1:] if word not in ("[NAME", "]")):
        option = word.strip("[]").split("=")[0]
        if option.startswith("-"):
            if option.startswith("--") and option not in options:
                return [f"no option {option}"]
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return [f"there is no `mlops {word}`"] if command is main else []
            command = found
            options |= {o for parameter in found.params for o in (*parameter.opts, *parameter.secondary_opts)}
    return []


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {}
    for page in PAGES:
        inline = " ".join(re.findall(r"`([^`]*)`", page.read_text()))
        named |= {target: name_of(page) for target in TARGET.findall(code_blocks(page) + "\n" + inline)}
    assert not {f"{page}: there is no `make {target}`" for target, page in named.items() if target not in targets}
    assert {"demo", "test", "cluster"} <= set(named), "the pattern finds the targets no more"


def test_every_link_leads_somewhere():
    links = [(page, target) for page in PAGES for target in LINK.findall(page.read_text())]
    assert not [f"{name_of(page)}: {target}" for page, target in links if not (page.parent / target).exists()]
    assert len(links) > 50, "the pattern finds the links no more"


def test_every_command_is_in_the_readme_and_helps():
    readme = (ROOT / "README.md").read_text()
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command
        assert command.help, f"`mlops {name}` has no help"
        assert re.search(rf"(mlops|·) `?{name}\b", readme), f"README.md does not mention `mlops {name}`"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_tree_in_the_readme_is_there():
    tree = re.search(r"```\n(apps/.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert tree
    for line in tree.group(1).splitlines():
        folder = line.split("<")[0].split(" ")[0]
        assert (ROOT / folder).exists(), f"README.md shows {folder}, which does not exist"


@pytest.mark.parametrize("page", FOLDERS, ids=lambda page: page.parent.name)
def test_the_tree_in_a_folder_s_readme_is_there(page):
    tree = re.search(r"```\n(.*?)```", page.read_text(), re.DOTALL)
    assert tree
    above: list[str] = []
    for line in tree.group(1).splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name]
        for each in braces("".join(above)):
            assert (page.parent / each).exists(), f"{page.parent.name}/README.md shows {each}, which does not exist"


def braces(path: str) -> list[str]:
    """`{local,staging}/` is two folders."""
    found = re.search(r"\{([^}]*)\}", path)
    return [path.replace(found[0], each) for each in found[1].split(",")] if found else [path]


@pytest.mark.parametrize("page", FOLDERS, ids=lambda page: page.parent.name)
def test_snippets_of_yaml_are_from_a_file(page):
    files = [normalised(path.read_text()) for path in ROOT.glob("[aci]*/**/*.yaml")]
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        assert any(normalised(block) in text for text in files), f"no file has this:\n{block}"


def normalised(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
