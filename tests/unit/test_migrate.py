"""`mlops migrate` and `apiVersion`: files that people wrote for another version."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cli import main
from pipelines.usecase import UsecaseInvalid, load_usecase, yaml12
from pipelines.usecase import migrate as migrating
from pipelines.usecase.api_version import API_VERSION
from pipelines.usecase.document import YamlDocument
from pipelines.usecase.migrate import NotOurFile, migrate
from pipelines.vertex.config import load_config
from pipelines.vertex.errors import VertexConfigInvalid

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "compat" / "0.1.0"
LINE = f"apiVersion: {API_VERSION}\n"


@pytest.fixture
def checkout(tmp_path):
    """A checkout as 0.1.0 left it."""
    folder = tmp_path / "apps" / "flight-delays"
    (folder / "local").mkdir(parents=True)
    (tmp_path / "vertex").mkdir()
    shutil.copy(OLD / "usecase.yaml", folder)
    shutil.copy(OLD / "overrides.yaml", folder / "local")
    shutil.copy(OLD / "vertex.yaml", tmp_path / "vertex" / "staging.yaml")
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def files(checkout):
    return {path.relative_to(checkout).as_posix(): path.read_text() for path in sorted(checkout.rglob("*.yaml"))}


def mlops(checkout, *words):
    return CliRunner().invoke(main, ["--root", str(checkout), "migrate", *words])


def test_a_file_of_0_1_0_is_refused_with_the_command_that_mends_it(checkout):
    with pytest.raises(UsecaseInvalid) as caught:
        load_usecase(checkout, "flight-delays")
    assert caught.value.problems == [
        f"apps/flight-delays/usecase.yaml:1: apiVersion: is missing; write `apiVersion: {API_VERSION}` "
        "or let `mlops migrate` add it"
    ]
    with pytest.raises(VertexConfigInvalid, match=r"vertex/staging\.yaml:1: apiVersion: is missing"):
        load_config(checkout, "staging")


def test_migrated_files_are_the_old_ones_with_one_line_more_and_can_be_read(checkout):
    before = files(checkout)
    done = mlops(checkout)
    assert done.exit_code == 0, done.output
    assert "3 files: 3 changed" in done.output
    assert f"apps/flight-delays/usecase.yaml: changed: apiVersion: {API_VERSION}" in done.output
    for path, text in files(checkout).items():
        assert text.replace(LINE, "", 1) == before[path], path
    assert load_usecase(checkout, "flight-delays", "local").serving.cpu == "100m"
    assert load_config(checkout, "staging").region == "europe-west4"


def test_the_line_that_editors_read_stays_the_first(checkout):
    migrate(checkout)
    lines = (checkout / "apps" / "flight-delays" / "usecase.yaml").read_text().splitlines()
    assert lines[0].startswith("# yaml-language-server")
    assert lines[1] == LINE.strip()


def test_a_second_time_changes_nothing(checkout):
    migrate(checkout)
    before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*.yaml")}
    assert [one.changes for one in migrate(checkout)] == [[], [], []]
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*.yaml")} == before
    assert mlops(checkout, "--check").exit_code == 0


def test_check_writes_nothing_and_fails_where_something_would_change(checkout):
    before = files(checkout)
    done = mlops(checkout, "--check")
    assert done.exit_code == 1
    assert "apps/flight-delays/local/overrides.yaml: would change" in done.output
    assert files(checkout) == before


def test_a_broken_file_is_named_and_the_others_are_migrated(checkout):
    broken = checkout / "apps" / "flight-delays" / "usecase.yaml"
    broken.write_text("name: flight-delays\npurpose: 'late\n")
    done = mlops(checkout)
    assert done.exit_code == 1
    assert "apps/flight-delays/usecase.yaml:2: not valid YAML: the quote that opens here is never closed" in done.output
    assert (checkout / "vertex" / "staging.yaml").read_text().count(LINE) == 1
    assert broken.read_text() == "name: flight-delays\npurpose: 'late\n"


def test_a_file_of_a_later_version_is_named_and_left_alone(checkout):
    path = checkout / "vertex" / "staging.yaml"
    path.write_text("project: x\napiVersion: mlops-blueprint/v9\n")
    [one] = migrate(checkout, [path])
    assert one.problem is not None
    assert one.problem.startswith("vertex/staging.yaml:2: apiVersion: expected mlops-blueprint/v1 or an earlier one")
    assert path.read_text() == "project: x\napiVersion: mlops-blueprint/v9\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mlops-blueprint/v2", "written for v2, this program reads v1; upgrade this program"),
        ("v1", "expected mlops-blueprint/v1 (got 'v1')"),
        ("mlops-blueprint/v0", "expected mlops-blueprint/v1 (got 'mlops-blueprint/v0')"),
        ("1", "expected mlops-blueprint/v1 (got 1)"),
    ],
)
def test_another_version_is_one_problem_whatever_else_the_file_says(checkout, line, said):
    path = checkout / "apps" / "flight-delays" / "usecase.yaml"
    path.write_text(f"nmae: flight-delays\napiVersion: {line}\n")
    with pytest.raises(UsecaseInvalid) as caught:
        load_usecase(checkout, "flight-delays")
    assert caught.value.problems == [f"apps/flight-delays/usecase.yaml:2: apiVersion: {said}"]


def test_overrides_need_their_version_where_they_override_something(checkout):
    migrate(checkout, [checkout / "apps" / "flight-delays" / "usecase.yaml"])
    with pytest.raises(UsecaseInvalid, match=r"local/overrides\.yaml:\d: apiVersion: is missing"):
        load_usecase(checkout, "flight-delays", "local")


def test_paths_choose_what_is_migrated(checkout):
    assert [one.path.name for one in migrate(checkout, [checkout / "apps"])] == ["overrides.yaml", "usecase.yaml"]
    assert LINE not in (checkout / "vertex" / "staging.yaml").read_text()


def test_a_path_without_such_a_file_is_an_error(checkout):
    with pytest.raises(NotOurFile, match="does not exist"):
        migrate(checkout, [checkout / "app"])
    with pytest.raises(NotOurFile, match="no file that has an apiVersion"):
        migrate(checkout, [checkout / "pyproject.toml"])


def test_a_link_stays_a_link(checkout):
    path = checkout / "vertex" / "staging.yaml"
    kept = path.rename(checkout / "elsewhere.yaml")
    path.symlink_to(kept)
    migrate(checkout, [path])
    assert path.is_symlink()
    assert kept.read_text().count(LINE) == 1


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_needs_no_version(checkout, text):
    path = checkout / "apps" / "flight-delays" / "local" / "overrides.yaml"
    path.write_text(text)
    [one] = migrate(checkout, [path])
    assert (one.changes, one.problem, path.read_text()) == ([], None, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\r\ntask: y\r\n", "apiVersion: mlops-blueprint/v1\r\nname: x\r\ntask: y\r\n"),
        ("---\n# c\nname: x\n", "---\n# c\napiVersion: mlops-blueprint/v1\nname: x\n"),
        ("{name: x, task: 'y'}\n", "{apiVersion: mlops-blueprint/v1, name: x, task: 'y'}\n"),
        ("name: x", "apiVersion: mlops-blueprint/v1\nname: x"),
        ("'name': |\n  apiVersion: no\n", "apiVersion: mlops-blueprint/v1\n'name': |\n  apiVersion: no\n"),
    ],
)
def test_ugly_files_get_their_line_too(tmp_path, text, expected):
    path = tmp_path / "vertex" / "x.yaml"
    path.parent.mkdir()
    path.write_bytes(text.encode())
    [one] = migrate(tmp_path, [path])
    assert one.problem is None
    assert path.read_bytes().decode() == expected


# --- the next version -----------------------------------------------------------------------------------------


OF_V1 = """\
# Who answers for it
apiVersion: mlops-blueprint/v1   # first
name: "x"   # quoted

owner: {team: a,  contact: 'b'}
sources:
  - one   # the first
  # a note
  - 'two'
"""


def test_the_next_migration_is_one_function_and_keeps_comments_quotes_and_order(tmp_path, monkeypatch):
    def rename_owner(kind, values):
        place = list(values).index("owner")
        values.insert(place, "owned_by", values.pop("owner"))
        return [f"{kind}: owner is owned_by"]

    monkeypatch.setattr(migrating, "NUMBER", 2)
    monkeypatch.setattr(migrating, "API_VERSION", "mlops-blueprint/v2")
    monkeypatch.setattr(migrating, "MIGRATIONS", {0: migrating.MIGRATIONS[0], 1: rename_owner})
    path = tmp_path / "vertex" / "x.yaml"
    path.parent.mkdir()
    path.write_text(OF_V1)
    [one] = migrate(tmp_path, [path])
    assert one.changes == ["apiVersion: mlops-blueprint/v2", "vertex: owner is owned_by"]
    assert path.read_text() == OF_V1.replace("/v1 ", "/v2 ").replace("owner:", "owned_by:").replace("a,  c", "a, c")


# --- one loader -----------------------------------------------------------------------------------------------

FIXTURES = sorted((Path(__file__).parent / "fixtures").rglob("*.yaml"))
PARTS = st.sampled_from(
    [
        *(
            "a",
            "b: ",
            "- ",
            "? ",
            ": ",
            "\n",
            "\n  ",
            "\n    ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "'",
            '"',
            " # c\n",
            "|\n",
            ">-\n",
        ),
        *(
            "&a ",
            "*a",
            "!t ",
            "!",
            "!!str ",
            "<<: ",
            "---\n",
            "...\n",
            "12",
            "1e3",
            "0x1F",
            "0o7",
            "010",
            "on",
            "~",
            ".inf",
        ),
        *("2013-01-01", "12:30", "=", "é", "\u2028", "\ufeff", "\t", "\r\n", "\x00", "key: value\n", "k: [a, b]\n"),
    ]
)


def told(read, text):
    """Values and the lines of all that is no empty text; or that it is none."""
    import yaml

    try:
        values, node = read(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return type(error).__name__, str(error)
    return repr(values), list(_places(node, set()))


def _places(node, seen):
    import yaml

    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if node.value != "":
        yield node.tag, node.start_mark.line, node.start_mark.column
    for part in node.value if isinstance(node, yaml.CollectionNode) else []:
        for one in part if isinstance(part, tuple) else (part,):
            yield from _places(one, seen)


def in_python(text):
    return yaml12._read(yaml12.PythonLoader, text)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_libyaml_and_python_read_the_same(path):
    text = path.read_text()
    assert told(yaml12.read, text) == told(in_python, text)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=9).map("".join))
def test_libyaml_and_python_read_the_same_of_anything(text):
    assert told(yaml12.read, text) == told(in_python, text)


@pytest.mark.parametrize("text", ["[" * 40_000, "[" * 40_000 + "]" * 40_000, "- " * 30_000 + "a"])
def test_nesting_without_end_is_an_error_and_no_crash(text):
    name, _ = told(yaml12.read, text)
    assert name == "RecursionError"


def test_values_are_those_of_yaml_1_2():
    values, _ = yaml12.read("{a: on, b: 010, c: 1e3, d: 2013-01-01, e: 12:30, f: 0o17, g: =, h: True}")
    assert values == {"a": "on", "b": 10, "c": 1000.0, "d": "2013-01-01", "e": "12:30", "f": 15, "g": "=", "h": True}


def test_a_stream_is_read_document_by_document():
    assert yaml12.read_all("a: 1\n---\nb: on\n") == [{"a": 1}, {"b": "on"}]


def test_what_is_migrated_is_read_as_before_but_for_the_version(checkout):
    path = checkout / "apps" / "flight-delays" / "usecase.yaml"
    before = YamlDocument.read(path, checkout).values
    migrate(checkout)
    assert YamlDocument.read(path, checkout).values == {"apiVersion": API_VERSION, **before}
