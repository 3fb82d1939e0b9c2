"""usecase.yaml: what is let in, and what is said of what is not."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.usecase import UsecaseInvalid, UsecaseNotFound, load_usecase, usecase_names
from pipelines.usecase.api_version import API_VERSION
from pipelines.usecase.model import CategoryFeature, FileSource

FIXTURES = Path(__file__).parent / "fixtures" / "usecase"
VALID = sorted((FIXTURES / "valid").glob("*.yaml"))
INVALID = sorted((FIXTURES / "invalid").glob("*.yaml"))
FILE = "apps/flights/usecase.yaml"

MINIMAL = (FIXTURES / "valid" / "minimal.yaml").read_text()
EVERYTHING = (FIXTURES / "valid" / "everything.yaml").read_text()


def write(root, text, name="flights"):
    folder = root / "apps" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "usecase.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def problems_of(root, text):
    write(root, text)
    with pytest.raises(UsecaseInvalid) as caught:
        load_usecase(root, "flights")
    return caught.value.problems


def expected(path):
    """The problems that a broken file says of itself in comments: `# expect: line: key: message`."""
    lines = path.read_text().splitlines()
    found = [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]
    return found or ["1: the file is empty; `mlops new` makes one to start from"]


# --- good files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_good_files_are_read(path, tmp_path):
    write(tmp_path, path.read_text())
    assert load_usecase(tmp_path, "flights").name == "flights"


def test_every_value_arrives_as_it_is_meant(tmp_path):
    write(tmp_path, EVERYTHING)
    usecase = load_usecase(tmp_path, "flights")
    assert isinstance(usecase.data.source, FileSource)
    assert usecase.data.source.options["client_kwargs"] == {"endpoint_url": "http://seaweedfs:8333"}
    assert usecase.data.classes == [False, True]
    assert isinstance(usecase.data.features["origin"], CategoryFeature)
    assert usecase.data.features["origin"].one_of == ["EWR", "NO", "12:30"]
    assert usecase.data.columns == ["distance", "origin", "late", "departure", "flight"]
    assert usecase.training.params["rate"] == pytest.approx(0.001)
    assert usecase.training.params["early"] is True
    assert usecase.serving.replicas == (2, 8)
    assert usecase.monitoring.quality is not None
    assert usecase.monitoring.quality.labels_within == timedelta(days=3)
    assert usecase.reported_slices == ["origin", "flight"]


def test_what_is_written_back_is_read_as_the_same(tmp_path):
    write(tmp_path, EVERYTHING)
    usecase = load_usecase(tmp_path, "flights")
    assert type(usecase).model_validate_json(usecase.model_dump_json()) == usecase


@pytest.mark.parametrize(
    "change", [lambda t: t.replace(b"\n", b"\r\n"), lambda t: b"\xef\xbb\xbf" + t], ids=["crlf", "bom"]
)
def test_files_saved_on_windows_are_read(change, tmp_path):
    write(tmp_path, change(MINIMAL.encode()))
    assert load_usecase(tmp_path, "flights").task == "classification"


def test_the_repository_s_own_use_cases_are_valid():
    root = Path(__file__).parents[2]
    assert "flight-delays" in usecase_names(root)
    for name in usecase_names(root):
        for environment in (None, "local", "staging", "production"):
            assert load_usecase(root, name, environment).name == name


# --- bad files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_bad_files_are_told_by_line_and_key(path, tmp_path):
    assert problems_of(tmp_path, path.read_text()) == [f"{FILE}:{line}" for line in expected(path)]


def test_the_message_leads_to_the_reference(tmp_path):
    write(tmp_path, MINIMAL.replace("purpose:", "porpoise:"))
    with pytest.raises(UsecaseInvalid, match="did you mean purpose") as caught:
        load_usecase(tmp_path, "flights")
    assert caught.value.hint is not None
    assert "docs/usecase.md" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MINIMAL.encode("utf-16"), ":1: not UTF-8"),
        (MINIMAL.replace("late.", "sp\xe4t.").encode("latin-1"), ":4: not UTF-8"),
        (MINIMAL.replace("late.", "la\x01te."), ":4: not valid YAML: the character U+0001 is not allowed"),
        (MINIMAL + "more: " + "[" * 5000, "not valid YAML"),
        (MINIMAL + "more: " + "9" * 5000, "not valid YAML"),
        (MINIMAL + "more: &a {again: *a}\n", ":17: more: unknown key"),
        (b"\x00" * 100, "not valid YAML"),
    ],
    ids=["utf-16", "latin-1", "control character", "endless nesting", "endless number", "endless alias", "zeros"],
)
def test_ugly_files_are_told_too(text, problem, tmp_path):
    (told,) = problems_of(tmp_path, text)
    assert told.startswith(FILE)
    assert problem in told


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("owner:\n  team: ops\n    contact: me\n", 3, "indented deeper than the line before"),
        ("owner:\n    team: ops\n  contact: me\n", 3, "the indentation fits no line above"),
        ("gates:\n  - {a: 1}\n - {b: 2}\n", 3, "the indentation fits no line above"),
        ("gates:\n  # first\n  - metric: mae\n     at_most: 2\n", 4, "indented deeper than the line before"),
        ("owner:\n  team: ops\n  - contact: me\n", 3, "a list item among keys"),
        ("purpose: late: or not\n", 1, "a colon where no key can be"),
        ("name: x\npurpose\ntask: y\n", 2, "neither `key: value` nor `- item`"),
        ("metrics: [mae\ntask: y\n", 1, "the [ that opens here is never closed, or a comma is missing in it"),
        ("gates:\n  - {metric: mae\n", 2, "the { that opens here is never closed"),
        ("gate: {metric: mae at_most: 2}\n", 1, "a comma is missing in it"),
        ("purpose: 'late or not\ntask: y\n", 1, "the quote that opens here is never closed"),
        ("purpose: 'late' or not\n", 1, "put all of it in one pair of quotes"),
        ("contact: @ops\n", 1, "a text cannot begin with '@'; put the text in quotes"),
        ('url: "C:\\data"\n', 1, "\\d means nothing between double quotes"),
        ("url: {{ bucket }}\n", 1, "braces or brackets where a key should be"),
        ("metrics: [mae]]\n", 1, "a ] that closes nothing"),
    ],
)
def test_yaml_that_cannot_be_read_is_told_in_plain_words_with_the_line_to_look_at(text, line, says, tmp_path):
    (told,) = problems_of(tmp_path, text)
    assert told.startswith(f"{FILE}:{line}: not valid YAML: ")
    assert says in told
    assert "block" not in told


def test_a_feature_may_be_named_like_a_kind_or_a_key(tmp_path):
    text = MINIMAL.replace("{distance: {type: number}}", "{number: {type: number}, type: {type: number, mix: 1}}")
    (told,) = problems_of(tmp_path, text)
    assert "data.features.type.mix: unknown key for type: number (did you mean min?)" in told


# --- which use cases there are ------------------------------------------------------------------------------


def test_a_missing_use_case_is_told_with_those_there_are(tmp_path):
    write(tmp_path, MINIMAL)
    with pytest.raises(UsecaseNotFound, match=r"did you mean flights\?\); use cases here: flights"):
        load_usecase(tmp_path, "flight")


def test_a_file_with_the_other_ending_is_noticed(tmp_path):
    folder = write(tmp_path, MINIMAL)
    (folder / "usecase.yaml").rename(folder / "usecase.yml")
    with pytest.raises(UsecaseNotFound, match=r"usecase\.yml, which nothing reads; rename it usecase\.yaml"):
        load_usecase(tmp_path, "flights")


def test_a_name_leads_nowhere_outside_of_apps(tmp_path):
    write(tmp_path, MINIMAL)
    (tmp_path / "usecase.yaml").write_text(MINIMAL)
    with pytest.raises(UsecaseNotFound):
        load_usecase(tmp_path, "..")


def test_only_folders_with_a_usecase_yaml_count(tmp_path):
    write(tmp_path, MINIMAL)
    write(tmp_path, MINIMAL, ".half-made")
    (tmp_path / "apps" / "components").mkdir()
    assert usecase_names(tmp_path) == ["flights"]


# --- overrides of an environment ----------------------------------------------------------------------------


def overridden(root, text, environment="staging"):
    folder = write(root, EVERYTHING) / environment
    folder.mkdir(exist_ok=True)
    is_mapping = re.search(r"^\w+:", text, re.MULTILINE)  # at the end, so that no line moves
    (folder / "overrides.yaml").write_text(f"{text}apiVersion: {API_VERSION}\n" if is_mapping else text)
    return load_usecase(root, "flights", environment)


def override_problems(root, text):
    with pytest.raises(UsecaseInvalid) as caught:
        overridden(root, text)
    return caught.value.problems


def test_overrides_change_only_what_they_name_and_only_there(tmp_path):
    there = overridden(tmp_path, "serving: {replicas: [1, 1]}\ndata: {checks: {min_rows: 10}}\n")
    here = load_usecase(tmp_path, "flights")
    assert there.serving.replicas == (1, 1)
    assert there.serving.memory == here.serving.memory == "1Gi"
    assert (there.data.checks.min_rows, here.data.checks.min_rows) == (10, 1000)
    assert load_usecase(tmp_path, "flights", "production") == here


def test_lists_are_replaced_and_not_joined(tmp_path):
    gates = overridden(tmp_path, "evaluation: {gates: [{metric: roc_auc, at_least: 0.1}]}\n").evaluation.gates
    assert [gate.at_least for gate in gates] == [0.1]


def test_a_source_of_another_kind_replaces_the_whole_source(tmp_path):
    source = overridden(tmp_path, "data: {source: {type: python, load: model.py:load}}\n").data.source
    assert source.model_dump() == {"type": "python", "load": "model.py:load"}


def test_a_source_of_the_same_kind_is_merged(tmp_path):
    source = overridden(tmp_path, "data: {source: {url: data/sample.parquet}}\n").data.source
    assert isinstance(source, FileSource)
    assert (source.url, source.format) == ("data/sample.parquet", "parquet")


def test_params_named_like_a_kind_are_merged_all_the_same(tmp_path):
    params = overridden(tmp_path, "training: {params: {type: time, by: hand}}\n").training.params
    assert params["trees"] == 80
    assert params["by"] == "hand"


def test_new_columns_come_after_the_others_in_the_order_they_are_written(tmp_path):
    names = ["zulu", "yankee", "xray", "whisky", "victor"]
    text = "data: {features: {" + ", ".join(f"{name}: {{type: number}}" for name in names) + "}}\n"
    assert list(overridden(tmp_path, text).data.features) == ["distance", "origin", *names]


def test_null_takes_away_what_is_optional(tmp_path):
    usecase = overridden(tmp_path, "monitoring: {drift: null}\nretrain: {on: [quality]}\n")
    assert usecase.monitoring.drift is None
    assert usecase.monitoring.quality is not None


@pytest.mark.parametrize("text", ["", "# serving: {replicas: [1, 1]}\n"], ids=["empty", "only comments"])
def test_overrides_may_be_empty(text, tmp_path):
    assert overridden(tmp_path, text) == load_usecase(tmp_path, "flights")


def test_who_answers_for_it_is_the_same_everywhere(tmp_path):
    told = override_problems(tmp_path, "\nname: trains\nserving: {cpu: 1m}\nowner: {team: others}\n")
    assert told == [
        "apps/flights/staging/overrides.yaml:2: name: is the same in every environment; change it in usecase.yaml",
        "apps/flights/staging/overrides.yaml:4: owner: is the same in every environment; change it in usecase.yaml",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "serving:\n  replica: [1, 1]\n",
            ":2: serving.replica: unknown key (did you mean replicas?); allowed: replicas,",
        ),
        ("serving:\n  p99_ms: 0\n", ":2: serving.p99_ms: must be above 0.0, not 0"),
        ("\n\nmonitoring: {drift: null}\n", "/usecase.yaml:46: retrain.on[0]: drift needs monitoring.drift"),
        ("data:\n  source:\n    type: python\n", ":2: data.source.load: is required but missing"),
        ("evaluation:\n  gates:\n    - metric: mae\n      at_most: 1\n", ":3: evaluation.gates[0].metric: 'mae' is no"),
        (
            "data:\n  features:\n    tail: {}\n",
            ":3: data.features.tail.type: is required but missing; allowed: number,",
        ),
        ("data:\n  features:\n    late: {type: number}\n", "usecase.yaml:17: data.target: the target 'late' is also a"),
        ("serving: {cpu: 1}\nserving: {cpu: 1}\n", ":2: serving: the key stands twice"),
        ("- serving\n", ":1: expected keys and values"),
        ("serving:\n\tcpu: 1\n", ":2: not valid YAML: a tab"),
    ],
)
def test_what_is_wrong_in_overrides_is_told_by_their_own_file_and_line(text, problem, tmp_path):
    told = override_problems(tmp_path, text)
    assert len(told) == 1
    assert problem in told[0]
    assert told[0].startswith(
        "apps/flights/usecase.yaml" if "usecase.yaml" in problem else "apps/flights/staging/overrides.yaml"
    )
