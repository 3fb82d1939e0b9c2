"""What earlier versions wrote is read, and what this one writes can be read by the one before.

tests/compat/<version>/ holds what that version wrote, by the kind's name. docs/compatibility.md says how it grows.
"""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

import bento.documents
import bento.errors
import pipelines.documents
from bento.documents import Document
from bento.instances import parse_json
from bento.predictor import Predictor
from bento.recording import segments
from bento.recording.segments import SegmentHeader, read_segment
from bento.signature import Signature
from pipelines.embedded.golden import _outputs
from pipelines.embedded.state import rollouts
from pipelines.evaluation.gate import Verdict
from pipelines.git.repository import Repository
from pipelines.release.release import Release
from pipelines.release.releases import Releases
from pipelines.runs.run import read_run
from pipelines.usecase import load_usecase
from pipelines.usecase.migrate import migrate
from pipelines.vertex.config import load_config
from tests.compat.read import kinds, read, samples, unreadable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VERSIONS = sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name[0].isdigit())
LATEST = VERSIONS[-1]
FIRST_TOLERANT = (0, 2, 0)  # readers before it refused keys that they did not know
TOO_NEW = (bento.errors.SchemaTooNew, pipelines.documents.SchemaTooNew)

KINDS = kinds()
FOUND = [
    (version, name, path) for version in VERSIONS for name in sorted(KINDS) for path in samples(HERE / version, name)
]
EACH = pytest.mark.parametrize(("version", "name", "path"), FOUND, ids=[f"{v}-{p.name}" for v, _, p in FOUND])
JSON_OF_LATEST = [(name, path) for version, name, path in FOUND if version == LATEST and path.suffix == ".json"]
EACH_JSON = pytest.mark.parametrize(("name", "path"), JSON_OF_LATEST, ids=[path.name for _, path in JSON_OF_LATEST])


# --- every kind is kept ---------------------------------------------------------------------------------------


def test_every_kind_has_a_number_and_no_number_is_left_over():
    assert sorted(KINDS) == sorted([*bento.documents.SCHEMAS, *pipelines.documents.SCHEMAS])


def test_every_kind_has_an_artefact_of_the_latest_version():
    without = [name for name in KINDS if not samples(HERE / LATEST, name)]
    assert without == [], f"put what the program writes into tests/compat/{LATEST}/: docs/compatibility.md says how"


def test_a_document_without_a_kind_or_a_number_cannot_be_declared():
    with pytest.raises(TypeError, match="needs a KIND; what is never written or sent is a Value"):

        class Nameless(pipelines.documents.Document):
            x: int

    with pytest.raises(TypeError, match="SCHEMAS has no number for the kind 'novelty'"):

        class Unnumbered(pipelines.documents.Document):
            KIND = "novelty"

    with pytest.raises(TypeError, match="UPGRADES must lead from each earlier number to 3"):

        class Stranded(Document):
            SCHEMAS = {"stranded": 3}
            KIND = "stranded"
            UPGRADES = {1: lambda values: values}


# --- what was written is read ---------------------------------------------------------------------------------


@EACH
def test_nothing_that_was_written_is_lost(version, name, path):
    documents = read(KINDS[name], path)
    for document, written in zip(documents, written_in(path), strict=True):
        assert lost(written, document.model_dump(mode="json")) == []


@EACH
def test_what_is_written_carries_its_number_since_0_2_0(version, name, path):
    numbers = [written.get("schema") for written in written_in(path)]
    if path.suffix != ".yaml":
        assert set(numbers) == ({None} if version == "0.1.0" else {1})


def written_in(path):
    """What the bytes say, by no reader of ours."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".bin":
        data = path.read_bytes()[len(segments.MAGIC) :]
        size, _ = segments.FRAME.unpack_from(data)
        return [json.loads(data[segments.FRAME.size : segments.FRAME.size + size])]
    if path.suffix == ".yaml":
        lines = path.read_text().partition("\ndata:\n")[2].splitlines()
        pairs = dict(line.strip().split(": ", 1) for line in lines if not line.strip().startswith("metrics"))
        return [{key: value.strip('"') for key, value in pairs.items()}]
    return [json.loads(path.read_bytes())]


def lost(written, got, path=""):
    """What was written and did not arrive; keys that are new since then have their defaults."""
    if isinstance(written, dict) and isinstance(got, dict):
        keys = [key for key in written if key != "schema"]
        return [one for key in keys for one in lost(written[key], got.get(key, "nothing"), f"{path}.{key}")]
    if isinstance(written, list) and isinstance(got, list) and len(written) == len(got):
        return [one for index, part in enumerate(written) for one in lost(part, got[index], f"{path}[{index}]")]
    return [] if written == got else [f"{path}: {written!r} became {got!r}"]


@pytest.fixture(params=VERSIONS)
def kept(request):
    """The artefacts of one version."""
    return HERE / request.param


def test_a_run_tells_how_it_ended(kept, tmp_path):
    for name, file in (
        ("run-request", "request.json"),
        ("run-record", "journal.jsonl"),
        ("published", "published.json"),
    ):
        shutil.copy(samples(kept, name)[0], tmp_path / file)
    run = read_run(tmp_path)
    assert (run.outcome, run.request.usecase, list(run.steps)[-1]) == ("released", "tiny", "release")
    assert Verdict.from_values(run.results["gate"]).passed


def test_a_release_is_found_in_the_history_with_its_commit(kept, tmp_path):
    origin = tmp_path / "origin.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], check=True)
    with (kept / "history.fast-export").open("rb") as stream:
        subprocess.run(["git", "fast-import", "--quiet"], cwd=origin, stdin=stream, check=True)
    releases = Releases(Repository(str(origin), "main", tmp_path / "cache"))
    [deployment] = releases.history("tiny", "staging")
    release = Release.from_yaml((kept / "release.yaml").read_text(), "release.yaml")
    assert (deployment.release, release.bento) == (release, "tiny:1")
    assert releases.find("tiny", "staging", "tiny/1") == release


def test_a_packed_model_answers_its_golden_sample(kept):
    predictor = Predictor.load(kept / "model")
    golden = json.loads((kept / "model" / "golden.json").read_text())
    body = json.dumps({"instances": golden["instances"]}).encode()
    answered = json.loads(predictor.answer(parse_json(body, predictor.signature)))
    got = [_outputs(prediction) for prediction in answered["predictions"]]
    assert got == [pytest.approx(row, abs=golden["tolerance"]) for row in golden["outputs"]]
    assert answered["release"]["bento"] == "tiny:1"


def test_recorded_predictions_are_whole(kept):
    segment = read_segment((kept / "segment.bin").read_bytes())
    assert (segment.header.bento, segment.damaged, segment.torn) == ("tiny:1", 0, False)
    [exchange] = segment.exchanges
    assert json.loads(bytes(exchange.request))["keys"] == ["order-1", "order-2"]
    assert len(json.loads(bytes(exchange.answer))["predictions"]) == exchange.predictions == 2


def test_rollouts_are_remembered(kept, tmp_path):
    shutil.copy(kept / "rollout.jsonl", tmp_path / "rollouts.jsonl")
    assert [(record.bento, record.outcome) for record in rollouts(tmp_path)][:1] == [("tiny:1", "live")]


def test_what_people_wrote_is_read_once_it_is_migrated(kept, tmp_path):
    folder = tmp_path / "apps" / "flight-delays"
    (folder / "local").mkdir(parents=True)
    (tmp_path / "vertex").mkdir()
    for name, place in (
        ("usecase.yaml", folder),
        ("overrides.yaml", folder / "local"),
        ("vertex.yaml", tmp_path / "vertex" / "staging.yaml"),
    ):
        shutil.copy(kept / name, place)
    assert [one.problem for one in migrate(tmp_path)] == [None, None, None]
    assert load_usecase(tmp_path, "flight-delays", "local").serving.replicas == (1, 2)
    assert load_config(tmp_path, "staging").endpoints.usecases == ["flight-delays"]


# --- what later versions write is read ------------------------------------------------------------------------


@EACH_JSON
def test_keys_of_a_later_version_are_ignored_at_every_level(name, path):
    document = KINDS[name].read(path)
    assert KINDS[name].parse(json.dumps(with_strangers(document))) == document
    assert KINDS[name].from_values(with_strangers(document)) == document


@EACH_JSON
def test_a_later_shape_is_refused_with_the_file_both_numbers_and_what_to_do(name, path, tmp_path):
    later = tmp_path / path.name
    later.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(TOO_NEW) as caught:
        KINDS[name].read(later)
    assert f"{later}: a {name} document of schema 2, written by a newer version; this one reads schema 1" in str(
        caught.value
    )


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "1", None, [1], {}])
def test_a_number_that_is_none_is_no_document(number):
    values = json.loads((HERE / LATEST / "trigger.json").read_text()) | {"schema": number}
    with pytest.raises(ValidationError, match="schema is a whole number from 1"):
        KINDS["trigger"].from_values(values)


def test_kubeflow_may_hand_the_number_on_as_a_float():
    values = json.loads((HERE / LATEST / "run-request.json").read_text())
    assert KINDS["run-request"].from_values(values | {"schema": 1.0}) == KINDS["run-request"].from_values(values)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_writers_are_strict(name):
    [document, *_] = read(KINDS[name], samples(HERE / LATEST, name)[0])
    values = {field: getattr(document, field) for field in type(document).model_fields}
    assert KINDS[name](**values) == document
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        KINDS[name](**values, from_the_future=1)


def with_strangers(value):
    """As JSON, with a key more wherever the shape is ours."""
    if isinstance(value, BaseModel):
        known = {name: with_strangers(getattr(value, name)) for name in type(value).model_fields}
        return {"from_the_future": {"nested": [1]}, **known}
    if isinstance(value, dict):
        return {key: with_strangers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [with_strangers(part) for part in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


# --- the next shape -------------------------------------------------------------------------------------------


class Second(Document):
    """A kind that has had another shape: `celsius` was `temperature`, in whole degrees."""

    SCHEMAS = {"thermometer": 3}
    KIND = "thermometer"
    UPGRADES = {
        1: lambda values: {"celsius": values.pop("temperature"), **values},
        2: lambda values: {**values, "celsius": values["celsius"] / 1},
    }

    celsius: float


class Holder(Document):
    """A kind that holds another."""

    SCHEMAS = {"holder": 1}
    KIND = "holder"

    inner: Second


def test_earlier_shapes_are_upgraded_step_by_step():
    assert Second.parse('{"temperature": 3}') == Second(celsius=3.0)
    assert Second.parse('{"schema": 2, "celsius": 3}') == Second(celsius=3.0)
    assert Second(celsius=3.0).to_json() == '{"schema":3,"celsius":3.0}'


def test_a_document_inside_another_has_a_number_of_its_own():
    assert Holder(inner=Second(celsius=3.0)).to_values() == {"schema": 1, "inner": {"schema": 3, "celsius": 3.0}}
    assert Holder.parse('{"inner": {"temperature": 3}}').inner == Second(celsius=3.0)
    with pytest.raises(bento.errors.SchemaTooNew, match="a thermometer document of schema 4"):
        Holder.parse('{"schema": 1, "inner": {"schema": 4}}')


def test_a_signature_inside_a_segments_header_is_upgraded_by_its_own_number():
    header = read_segment((HERE / LATEST / "segment.bin").read_bytes()).header
    values = header.to_values()
    assert values["signature"]["schema"] == Signature.SCHEMAS["signature"]
    with pytest.raises(bento.errors.SchemaTooNew, match="a signature document of schema 9"):
        SegmentHeader.from_values({**values, "signature": {**values["signature"], "schema": 9}})


# --- the version before reads what is written today -----------------------------------------------------------


def written_today(folder):
    """Every kind as this tree's writers write it, from what the latest version's artefacts hold."""
    shutil.copytree(HERE / LATEST, folder)
    for name, kind in KINDS.items():
        for path in samples(folder, name):
            documents = read(kind, path)
            if path.suffix == ".json":
                documents[0].write(path)
            elif path.suffix == ".jsonl":
                path.write_text("".join(f"{document.to_json(exclude_defaults=True)}\n" for document in documents))
            elif path.suffix == ".bin":
                path.write_bytes(segments.begin(documents[0]))
            elif path.suffix == ".yaml":
                path.write_text(documents[0].to_yaml())
    return folder


def read_by(tree, folder):
    """How the readers of another tree fare."""
    return subprocess.run(
        [sys.executable, "-m", "tests.compat.read", folder],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def released_before():
    """The tag of the last release that has tolerant readers; None where there is none."""
    listed = subprocess.run(["git", "tag", "--list", "v*", "--merged"], cwd=ROOT, capture_output=True, text=True)  # noqa: PLW1510
    tags = {
        tuple(map(int, tag[1:].split("."))): tag for tag in listed.stdout.split() if tag[1:].replace(".", "").isdigit()
    }
    tolerant = [number for number in tags if number >= FIRST_TOLERANT]
    return tags[max(tolerant)] if tolerant else None


def test_what_is_written_today_is_read_by_the_last_release(tmp_path):
    tag = released_before()
    if tag is None:
        pytest.skip("no tag v0.2.0 or later here: readers of earlier versions refused what they did not know")
    tree = tmp_path / "tree"
    tree.mkdir()
    archive = subprocess.run(["git", "archive", tag], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x"], cwd=tree, input=archive, check=True)
    done = read_by(tree, written_today(tmp_path / "today"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_written_today_is_read_by_a_process_of_its_own(tmp_path):
    done = read_by(ROOT, written_today(tmp_path / "today"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_cannot_be_read_is_named(tmp_path):
    folder = written_today(tmp_path / "today")
    (folder / "trigger.json").write_text('{"schema": 7}')
    [problem] = unreadable(folder)
    assert problem.startswith(f"trigger.json: SchemaTooNew: {folder}/trigger.json: a trigger document of schema 7")
