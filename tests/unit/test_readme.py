"""What the README and the guides promise exists: commands, options, targets, files."""

import re
import shlex
from pathlib import Path

import click
import pytest

from pipelines.cli import main

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / folder / "README.md" for folder in ("apps", "clusters", "infrastructure")]
PAGES = [ROOT / "README.md", *FOLDERS, *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^(?:\$ )?(mlops [^#|`]*)", re.MULTILINE)
INLINE = re.compile(r"`(mlops [^`]+)`")
TARGET = re.compile(r"\bmake ([a-z][a-z0-9-]*)\b(?=[^\n]*(?:#|`|$))")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#]+)")


def code_blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL))


def commands(page: Path) -> list[str]:
    return [*COMMAND.findall(code_blocks(page)), *INLINE.findall(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_exists(page):
    for text in commands(page):
        words = [word for word in shlex.split(text.replace("·", " ").replace("…", "")) if word not in ("[NAME", "]")]
        verb = next((word for word in words[1:] if not word.startswith("-")), None)
        if verb is None:
            continue
        assert verb in main.commands, f"{page.name}: `{text.strip()}`: there is no `mlops {verb}`"
        known = {
            option
            for parameter in main.commands[verb].params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        known |= {option for parameter in main.params for option in parameter.opts} | {"--help"}
        for word in words:
            option = word.strip("[]").split("=")[0]
            if option.startswith("--"):
                assert option in known, f"{page.name}: `{text.strip()}`: no option {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    inline = " ".join(re.findall(r"`([^`]*)`", page.read_text()))
    for target in TARGET.findall(code_blocks(page) + "\n" + inline):
        assert target in targets, f"{page.name}: there is no `make {target}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target} does not exist"


def test_every_command_is_in_the_readme_and_helps():
    readme = (ROOT / "README.md").read_text()
    for name, command in main.commands.items():
        assert isinstance(command, click.Command)
        assert command.help, f"`mlops {name}` has no help"
        assert re.search(rf"(mlops|·) `?{name}\b", readme), f"README.md does not mention `mlops {name}`"


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
