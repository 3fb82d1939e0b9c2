"""environments.yaml: what it may say, and what follows from it."""

import ast
import re
from pathlib import Path

import pytest

from pipelines.environments import (
    DEFAULTS,
    EnvironmentsInvalid,
    NoPromotion,
    TakesNoRuns,
    UnknownEnvironment,
    parse_environments,
    read_environments,
)
from pipelines.settings import Settings

ROOT = Path(__file__).parents[2]
HEAD = "apiVersion: mlops-blueprint/v1\nenvironments:\n"
CHAIN = """\
  - name: local
    embedded: false
  - name: dev
  - {name: staging, promoted_from: dev}
  - {name: eu, promoted_from: staging, releases: review}
  - {name: us, promoted_from: staging, releases: review}
"""
# Where the names may stand in code: the defaults, and a stack of Pulumi (held to environments.yaml below).
ALLOWED = {"pipelines/environments.py"}
NAMES = {"staging", "production"}


def environments(text: str = CHAIN):
    return parse_environments(HEAD + text)


def test_this_repository_has_the_default_environments():
    assert read_environments(ROOT) == DEFAULTS


def test_a_folder_without_the_file_has_the_defaults_and_one_with_it_its_own_at_once(tmp_path):
    assert read_environments(tmp_path) == DEFAULTS
    (tmp_path / "environments.yaml").write_text(HEAD + "  - name: dev\n")
    assert read_environments(tmp_path).names == ("dev",)
    (tmp_path / "environments.yaml").write_text(HEAD + "  - name: dev\n  - name: other\n")
    assert read_environments(tmp_path).names == ("dev", "other")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a list with at least one entry"),
        ("  - dev\n", "environments[0]: expected a mapping with name, promoted_from, releases, embedded"),
        ("  - {nmae: dev}\n", "environments[0]: nmae: no such key"),
        ("  - {name: Dev}\n", "name: expected small letters"),
        ("  - {name: no}\n", "name: expected small letters"),
        ("  - {name: ../x}\n", "name: expected small letters"),
        ("  - {name: base}\n", "name: 'base' is taken by something else"),
        ("  - {name: champion}\n", "is taken by something else"),
        ("  - {name: dev}\n  - {name: dev}\n", "environments[1]: name: 'dev' is there twice"),
        (
            "  - {name: dev, promoted_from: staging}\n  - {name: staging}\n",
            "environments before it, none (got ",
        ),
        ("  - {name: dev, promoted_from: dev}\n", "environments before it"),
        ("  - {name: dev, releases: hope}\n", "releases: expected commit or review (got 'hope')"),
        ("  - {name: dev, releases: review}\n", "review needs promoted_from"),
        ("  - {name: dev, embedded: maybe}\n", "embedded: expected true or false"),
        ("  - [\n", "not valid YAML"),
    ],
)
def test_what_cannot_be_is_told_with_its_entry_and_key(text, told):
    with pytest.raises(EnvironmentsInvalid, match=r"^environments\.yaml") as caught:
        environments(text)
    assert told in str(caught.value)


def test_another_version_of_the_file_is_refused():
    with pytest.raises(EnvironmentsInvalid, match="apiVersion: expected mlops-blueprint/v1"):
        parse_environments(HEAD.replace("/v1", "/v2") + CHAIN)


def test_runs_release_at_the_start_of_the_way_and_nowhere_else():
    known = environments()
    assert known.default.name == "dev", "local is for clusters alone"
    assert [known.trained_in(name) for name in ("dev", "staging", "us", "local")] == ["dev", "dev", "dev", "local"]
    assert known.require_runs("dev").alias == "champion"
    with pytest.raises(TakesNoRuns, match="us takes what staging has run"):
        known.require_runs("us")
    with pytest.raises(UnknownEnvironment, match="allowed: local, dev, staging, eu, us"):
        known.require_runs("production")


def test_a_promotion_is_found_by_what_is_said_and_never_guessed():
    known = environments()
    assert known.promotion(source="dev").name == "staging"
    assert known.promotion(target="us").promoted_from == "staging"
    assert DEFAULTS.promotion().name == "production"
    with pytest.raises(NoPromotion, match="staging → eu, staging → us"):
        known.promotion(source="staging")
    with pytest.raises(NoPromotion, match="nothing is promoted from us"):
        known.promotion(source="us")
    with pytest.raises(NoPromotion, match="nothing is promoted from dev to us"):
        known.promotion("dev", "us")


def test_proposals_of_one_use_case_for_several_environments_have_branches_of_their_own():
    known = environments()
    branches = [known.branch("promote", "flights", one.name) for one in known.promoted]
    assert branches == ["promote-staging/flights", "promote/flights", "promote-us/flights"]
    assert DEFAULTS.branch("promote", "flights", "production") == "promote/flights"


def test_the_environment_of_the_settings_is_one_of_the_checkout(tmp_path):
    (tmp_path / "environments.yaml").write_text(HEAD + CHAIN)
    assert Settings.load({}, root=tmp_path).environment == "dev"
    assert Settings.load({"MLOPS_ENVIRONMENT": "us"}, root=tmp_path).environment == "us"
    with pytest.raises(UnknownEnvironment, match="'production' is no environment"):
        Settings.load({"MLOPS_ENVIRONMENT": "production"}, root=tmp_path)


def test_no_name_of_an_environment_stands_in_code_but_among_the_defaults():
    found = []
    for path in sorted([*(ROOT / "pipelines").rglob("*.py"), *(ROOT / "bento").rglob("*.py")]):
        where = path.relative_to(ROOT).as_posix()
        if where in ALLOWED:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [
            f"{where}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES
        ]
    assert not found, "ask pipelines.environments instead"


def test_pulumi_makes_clusters_for_environments_of_this_repository_alone():
    spec = (ROOT / "pulumi" / "blueprint" / "spec.py").read_text(encoding="utf-8")
    names = re.search(r"^Environment = Literal\[(.*)\]$", spec, re.MULTILINE)[1]
    assert set(ast.literal_eval(f"[{names}]")) <= set(read_environments(ROOT).names)
