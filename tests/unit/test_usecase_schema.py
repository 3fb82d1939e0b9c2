"""The JSON Schema and the reference page: made from the model, and as strict as a schema can be."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from pipelines.usecase import yaml12
from pipelines.usecase.json_schema import json_schema
from pipelines.usecase.reference import reference_page
from pipelines.usecase.schema import PAGE_FILE, SCHEMA_FILE, main, schema_text

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures" / "usecase"
SILENT = "# the JSON Schema cannot say it"


def readable(folder):
    """The fixtures that are YAML at all, with their values."""
    for path in sorted((FIXTURES / folder).glob("*.yaml")):
        try:
            yield pytest.param(path.read_text(), yaml12.read(path.read_text())[0], id=path.stem)
        except yaml.YAMLError:
            continue


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize(("text", "values"), list(readable("valid")))
def test_an_editor_lets_good_files_pass(text, values, validator):
    assert [error.message for error in validator.iter_errors(values)] == []


@pytest.mark.parametrize(("text", "values"), list(readable("invalid")))
def test_an_editor_marks_bad_files_unless_they_say_it_cannot(text, values, validator):
    is_marked = not validator.is_valid(values)
    assert is_marked != (SILENT in text)


@pytest.mark.parametrize("path", sorted(ROOT.glob("apps/*/usecase.yaml")), ids=lambda path: path.parent.name)
def test_the_use_cases_of_the_repository_lead_editors_to_the_schema(path, validator):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("$schema=")[2]).resolve() == SCHEMA_FILE
    assert validator.is_valid(yaml12.read(path.read_text())[0])


def sections():
    schema = json_schema()
    return {"UseCase": schema, **schema["$defs"]}


@pytest.mark.parametrize("name", sections())
def test_every_section_and_key_is_explained(name):
    section = sections()[name]
    assert section["description"]
    for key, part in section["properties"].items():
        assert part["description"].endswith((".", "?")), key
        assert part.get("title") or part.get("$ref") or part.get("anyOf"), key


@pytest.mark.parametrize("name", sections())
def test_every_value_has_an_example_that_the_schema_allows(name):
    schema = json_schema()
    for key, part in sections()[name]["properties"].items():
        holds_a_section = "$ref" in str(part) and "items" not in part and "additionalProperties" not in part
        assert holds_a_section or "const" in part or part.get("examples"), key
        for example in part.get("examples", []):
            jsonschema.validate(example, {"$defs": schema["$defs"], **part})


def test_defaults_are_written_as_a_person_would_write_them():
    serving = json_schema()["$defs"]["Serving"]["properties"]
    jsonschema.validate(serving["timeout"]["default"], serving["timeout"])
    assert serving["timeout"]["default"] == "10s"


# --- the page -----------------------------------------------------------------------------------------------


def test_the_page_has_every_key_in_the_section_that_messages_name():
    page = reference_page(json_schema())
    for name, section in sections().items():
        for key, part in section["properties"].items():
            assert f"| `{key}` |" in page, f"{name}.{key}"
            assert part["description"].replace("|", "\\|") in page, f"{name}.{key}"
    for title in (
        "data.source, type: sql",
        "data.features.NAME, type: tensor",
        "evaluation.gates[], type: limit",
        "evaluation.gates[], type: slices",
        "monitoring.drift",
    ):
        assert f"\n## {title}\n" in page


def test_every_link_on_the_page_leads_to_a_heading():
    page = PAGE_FILE.read_text()
    slug = str.maketrans({".": "", ",": "", ":": "", "[": "", "]": "", " ": "-"})
    headings = {line[3:].lower().translate(slug) for line in page.splitlines() if line.startswith("## ")}
    links = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert links <= headings
    assert len(links) > 20


def test_schema_and_page_are_fresh():
    assert SCHEMA_FILE.read_text() == schema_text()
    assert main([]) == 0


def test_a_stale_page_is_told_and_written_anew(monkeypatch, tmp_path, capsys):
    page, schema = tmp_path / "docs" / "usecase.md", tmp_path / "usecase.schema.json"
    monkeypatch.setattr("pipelines.usecase.schema.ROOT", tmp_path)
    monkeypatch.setattr("pipelines.usecase.schema.PAGE_FILE", page)
    monkeypatch.setattr("pipelines.usecase.schema.SCHEMA_FILE", schema)
    assert main([]) == 1
    assert "docs/usecase.md is stale; run `python -m pipelines.usecase.schema --write`" in capsys.readouterr().err
    assert main(["--write"]) == 0
    assert main([]) == 0
    page.write_text(page.read_text().replace("default", "defualt"))
    assert main([]) == 1
