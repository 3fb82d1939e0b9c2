"""`mlops new`: a folder that runs at once, and is never written over anything."""

import json

import jsonschema
import pytest
import yaml

from pipelines.gitops.usecase_check import check_usecase
from pipelines.usecase import load_usecase, schema
from pipelines.usecase.new import AlreadyThere, BadName, UnknownTemplate, new_usecase
from tests.pipeline_cases import Stepwise, git

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.mark.parametrize("template", ["tabular", "image"])
def test_a_new_use_case_passes_its_own_gate_at_once(lab, template):
    folder = new_usecase(lab.root, "my-first-model", template)
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {"README.md", "model.py", "usecase.yaml"}
    assert check_usecase(lab.root, "my-first-model") == []

    run = Stepwise(lab, usecase="my-first-model").until("gate")
    assert run.checked.passed
    assert run.verdict.passed, run.verdict.conclusion


@pytest.mark.parametrize("template", ["tabular", "image"])
def test_its_file_fits_the_schema_that_editors_use(lab, template):
    folder = new_usecase(lab.root, "my-first-model", template)
    jsonschema.validate(yaml.safe_load((folder / "usecase.yaml").read_text()), schema.json_schema())
    first_line = (folder / "usecase.yaml").read_text().splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=../../pipelines/usecase/usecase.schema.json"


def test_nothing_else_in_the_checkout_changes(lab):
    new_usecase(lab.root, "my-first-model", "tabular")
    assert git(lab.root, "status", "--porcelain", "--", "apps") == "?? apps/my-first-model/"
    assert load_usecase(lab.root, "tiny").name == "tiny"


@pytest.mark.parametrize("name", ["My-Model", "my_model", "1st", "", "a--b", "a" * 41, "../up", "a/b"])
def test_a_name_that_is_no_name_is_refused(lab, name):
    with pytest.raises(BadName, match="lower-case words"):
        new_usecase(lab.root, name, "tabular")


def test_an_existing_folder_is_never_touched(lab):
    before = (lab.root / "apps" / "tiny" / "model.py").read_text()
    with pytest.raises(AlreadyThere, match="apps/tiny"):
        new_usecase(lab.root, "tiny", "tabular")
    assert (lab.root / "apps" / "tiny" / "model.py").read_text() == before


def test_an_unknown_template_suggests_one(lab):
    with pytest.raises(UnknownTemplate, match=r"did you mean tabular\?"):
        new_usecase(lab.root, "my-first-model", "tabula")


def test_the_schema_and_the_reference_page_are_fresh():
    assert schema.main([]) == 0
    assert json.loads(schema.SCHEMA_FILE.read_text())["title"] == "usecase.yaml"
