"""The steps as plain functions: what a run does from data to commit, and how each way to fail is told."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.data import DatasetMissing
from pipelines.data.checks.report import DataRejected
from pipelines.data.snapshot import SnapshotCorrupted
from pipelines.git.errors import RemoteUnreachable
from pipelines.registry.mlflow import VersionTaken, aliases
from pipelines.release.releases import ReleaseWithdrawn, open_releases
from pipelines.runs.journal import Journal
from pipelines.runs.tracking import mlflow_client, publish
from pipelines.training.export import NotExportable
from pipelines.training.train import TrainerFailed
from tests.pipeline_cases import MODEL_PY, NAME, USECASE, Stepwise, git

pytestmark = pytest.mark.usefixtures("in_this_process")


def changed(**parts) -> dict:
    values = copy.deepcopy(USECASE)
    for path, value in parts.items():
        *parents, last = path.split("__")
        place = values
        for part in parents:
            place = place[part]
        place[last] = value
    return values


@pytest.mark.slow
def test_a_run_ends_in_a_commit_that_names_everything_it_came_from(lab):
    run = Stepwise(lab)
    run.until("release")

    release = open_releases(lab.settings).current(NAME, "staging")
    assert release.bento == f"{NAME}:1"
    assert release.data == run.data.version
    assert release.code == git(lab.root, "rev-parse", "HEAD")
    assert release.metrics["roc_auc"] > 0.7
    folder = lab.settings.runs / run.asked.run_id
    assert release.run == publish(folder, NAME, lab.settings.tracking_uri, lab.settings.home / "artifacts")
    assert aliases(lab.settings.tracking_uri, NAME) == {"challenger": "1", "champion": "1"}
    tracked = mlflow_client(lab.settings.tracking_uri).get_run(release.run).data
    assert {f"seconds/{step}" for step in ("snapshot", "validate", "train", "gate")} <= tracked.metrics.keys()
    assert tracked.metrics["roc_auc"] == pytest.approx(release.metrics["roc_auc"], abs=1e-4)
    assert tracked.params["C"] == "1.0"
    assert tracked.tags["data"] == run.data.sha256


@pytest.mark.slow
def test_the_card_of_a_release_names_version_bento_and_commit_here_and_in_mlflow(lab):
    run = Stepwise(lab).until("gate")
    card = run.folder / "evaluation" / "model-card.md"
    assert "not registered yet" in card.read_text()
    run.register()
    run.package()
    for _ in range(2):  # the second time there is nothing left to commit
        release = run.release()
        commit = git(lab.root, "-C", lab.settings.remote, "rev-parse", "main")
        for name, became in (
            ("Model", f"{NAME}/1"),
            ("Bento", f"{NAME}:1"),
            ("Release", f"commit {commit} in staging"),
        ):
            assert f"- **{name}**: {became}\n" in card.read_text()
            assert f"<strong>{name}</strong>: {became}" in card.with_suffix(".html").read_text()
    publish(lab.settings.runs / run.asked.run_id, NAME, lab.settings.tracking_uri, lab.settings.home / "artifacts")
    fetched = mlflow_client(lab.settings.tracking_uri).download_artifacts(release.run, "evaluation/model-card.md")
    assert Path(fetched).read_text() == card.read_text()


@pytest.mark.slow
def test_a_worse_candidate_is_rejected_and_the_release_stays(lab):
    Stepwise(lab).until("release")
    worse = Stepwise(lab, params={"C": 1e-4})
    assert worse.until("gate").verdict.passed is False
    assert "champion" in (lab.settings.runs / worse.asked.run_id / "by-hand" / "evaluation" / "verdict.md").read_text()
    assert open_releases(lab.settings).current(NAME, "staging").version == "1"


def test_the_same_code_data_and_seed_give_the_same_metrics(lab):
    first, second = Stepwise(lab).until("evaluate"), Stepwise(lab).until("evaluate")
    assert first.data == second.data
    assert first.evaluation == second.evaluation
    other = Stepwise(lab, params={"C": 0.01}).until("evaluate")
    assert other.evaluation.candidate.metrics != first.evaluation.candidate.metrics


def test_an_as_of_run_trains_on_less_and_says_so(lab):
    run = Stepwise(lab, as_of="2026-01-20")
    assert run.snapshot().rows < 600
    assert run.data.as_of.startswith("2026-01-20")


def test_data_that_breaks_a_promise_stops_the_run_and_names_column_check_and_rows(lab):
    lab.write_usecase(changed(data__features={**USECASE["data"]["features"], "size": {"type": "number", "max": 5}}))
    run = Stepwise(lab)
    run.snapshot()
    with pytest.raises(DataRejected, match=r"(?s)size.*at most 5"):
        run.validate()
    failed = Journal(lab.settings.runs / run.asked.run_id).records()[-1]
    assert (failed.step, failed.event) == ("validate", "failed")
    assert "size" in failed.summary


def test_a_missing_data_set_says_how_to_get_it(lab):
    lab.write_model(
        MODEL_PY.replace("def load():", "def load():\n    raise DatasetMissing('no pictures', hint='apt-get')")
    )
    with pytest.raises(DatasetMissing, match=r"(?s)no pictures.*apt-get"):
        Stepwise(lab).snapshot()


def test_a_snapshot_that_was_changed_is_not_trained_on(lab):
    run = Stepwise(lab)
    run.snapshot()
    (stored,) = (lab.settings.home / "snapshots").rglob("*.parquet")
    stored.write_bytes(stored.read_bytes()[:-100])
    with pytest.raises(SnapshotCorrupted, match=stored.name[:12]):
        run.validate()


@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        ("return 1 / 0", TrainerFailed, r"model.py:train raised ZeroDivisionError at model.py:\d+: division by zero"),
        ("train.columns['nope']", TrainerFailed, r"model.py:train raised KeyError at model.py:\d+: 'nope'"),
        ("import sys; sys.exit('enough')", TrainerFailed, r"raised SystemExit at model.py:\d+: enough"),
        ("return None", NotExportable, r"train\(\) returned None \(is a return missing\?\), which cannot"),
        ("return {'weights': [1]}", NotExportable, r"train\(\) returned dict, which cannot"),
    ],
)
def test_a_trainer_that_fails_is_named_with_its_line(lab, body, error, told):
    lab.write_model(MODEL_PY.replace("    from sklearn.compose", f"    {body}\n    from sklearn.compose"))
    run = Stepwise(lab).until("validate")
    with pytest.raises(error, match=told):
        run.train()


def test_a_model_whose_own_code_fails_after_training_is_named_with_its_line(lab):
    lab.write_model(
        MODEL_PY.replace("    return Pipeline(", "    fitted = Pipeline(")
        + "    fitted.predict_proba = lambda frame: frame['nope']\n    return fitted\n"
    )
    run = Stepwise(lab).until("validate")
    with pytest.raises(KeyError):
        run.train()
    failed = Journal(lab.settings.runs / run.asked.run_id).records()[-1]
    line = len((lab.root / "apps" / NAME / "model.py").read_text().splitlines()) - 1
    assert failed.summary == f"KeyError at model.py:{line}: 'nope'"


def test_a_model_that_answers_nan_is_not_a_model(lab):
    lab.write_model(
        MODEL_PY.replace("    return Pipeline(", "    fitted = Pipeline(")
        + "    fitted['model'].coef_[:] = np.nan\n    return fitted\n"
    )
    run = Stepwise(lab).until("validate")
    with pytest.raises(TrainerFailed, match="NaN or infinity"):
        run.train()


@pytest.mark.slow
def test_an_unreachable_origin_loses_nothing(lab):
    run = Stepwise(lab).until("package")
    origin = lab.settings.home / "origin.git"
    origin.rename(origin.with_name("away.git"))
    with pytest.raises(RemoteUnreachable, match=r"origin\.git"):
        run.release()
    origin.with_name("away.git").rename(origin)
    run.release()
    assert open_releases(lab.settings).current(NAME, "staging").version == "1"


# --- the same model again ----------------------------------------------------------------------------------


def subjects(lab) -> list[str]:
    return git(lab.root, "-C", lab.settings.remote, "log", "--format=%s", "main").splitlines()[:-1]


@pytest.mark.slow
def test_a_model_that_is_the_same_to_the_byte_gets_no_version_and_no_commit(lab):
    first = Stepwise(lab).until("release")
    again = Stepwise(lab, reason="nightly").until("release")
    assert (again.version, again.bento) == (first.version, first.bento)
    assert subjects(lab) == [f"release({NAME}): first release, 1 in staging"]
    assert aliases(lab.settings.tracking_uri, NAME)["challenger"] == "1"

    other = Stepwise(lab, params={"C": 0.9}).until("release")
    assert other.version.version == "2"
    assert subjects(lab)[0] == f"release({NAME}): 1 → 2 in staging"


@pytest.mark.slow
def test_a_registry_that_counts_from_one_again_passes_no_model_off_as_the_released_one(lab, monkeypatch):
    Stepwise(lab).until("release")
    monkeypatch.setenv("MLOPS_TRACKING_URI", f"sqlite:///{lab.settings.home / 'another.db'}")
    with pytest.raises(VersionTaken, match="MLflow calls this model tiny/1, but Git knows tiny/1 of run"):
        Stepwise(lab, params={"C": 0.9}).until("register")
    assert subjects(lab) == [f"release({NAME}): first release, 1 in staging"]


@pytest.mark.slow
def test_made_again_from_a_commit_the_same_model_is_a_new_version_that_may_go_to_production(lab):
    lab.write_model(MODEL_PY + "\n# not yet committed\n")
    Stepwise(lab).until("release")
    assert open_releases(lab.settings).current(NAME, "staging").code.endswith("+dirty")
    git(lab.root, "commit", "-q", "-a", "-m", "now it is")
    Stepwise(lab).until("release")
    released = open_releases(lab.settings).current(NAME, "staging")
    assert (released.version, released.code) == ("2", git(lab.root, "rev-parse", "HEAD"))
    assert open_releases(lab.settings).propose_promotion(NAME).release == released


@pytest.mark.slow
def test_a_model_that_was_taken_back_does_not_return_under_a_new_number(lab):
    Stepwise(lab).until("release")
    bad = Stepwise(lab, params={"C": 0.9}).until("release")
    releases = open_releases(lab.settings)
    releases.rollback(NAME, "staging", "bad")
    with pytest.raises(ReleaseWithdrawn, match="same to the byte as tiny:2, which was rolled back"):
        Stepwise(lab, params={"C": 0.9}).until("register")
    assert aliases(lab.settings.tracking_uri, NAME)["challenger"] == "2", "no version was made of it"

    forced = Stepwise(lab, params={"C": 0.9}, force=True).until("release")
    assert forced.bento == bad.bento, "the very one that was taken back"
    assert subjects(lab)[0] == f"release({NAME}): 1 → 2 in staging"


def test_what_answers_requests_decides_whether_two_models_are_the_same(lab, monkeypatch):
    from pipelines.packaging import bentos
    from pipelines.usecase import load_usecase

    run = Stepwise(lab).until("train")
    usecase = load_usecase(lab.root, NAME)
    same = bentos.content_of(usecase, run.trained / "model", lab.settings)
    (run.trained / "model" / "MLmodel").write_text("what MLflow puts there is not served")
    assert bentos.content_of(usecase, run.trained / "model", lab.settings) == same
    on_another_base = replace(lab.settings, images="registry.example.com/models", base_image="base:2")
    assert bentos.content_of(usecase, run.trained / "model", on_another_base) != same
    monkeypatch.setattr(bentos, "serving_requirements", lambda: ["onnxruntime==9"])
    assert bentos.content_of(usecase, run.trained / "model", lab.settings) != same
