"""Going on with a run: only as it was asked, with the code it began with, and only if something is left to do."""

import json

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.git.repository import Repository
from pipelines.release.operations import require_known
from pipelines.release.releases import Releases
from pipelines.runners.launch import NotResumable, RunIdUnusable, resume_request, usable_run_id
from pipelines.runners.local import LocalRunner
from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import new_run_id
from pipelines.runs.run import REQUEST_FILE, RunNotFound
from pipelines.usecase import UsecaseNotFound
from tests.integration.test_releases import release
from tests.pipeline_cases import NAME, git


def begun(lab, *records: Record, **asked):
    """A run that came as far as its journal says."""
    request = lab.request(**asked)
    folder = lab.settings.runs / request.run_id
    folder.mkdir(parents=True)
    request.write(folder / REQUEST_FILE)
    for record in records:
        Journal(folder).append(record)
    return request


def finished(step: str, **words) -> Record:
    return Record(step=step, event="finished", time=1.0, seconds=1.0, **words)


FAILED = Record(step="train", event="failed", time=2.0, seconds=1.0, summary="disk full")


def test_a_failed_run_goes_on_as_it_was_asked(lab):
    request = begun(lab, finished("snapshot"), FAILED, params={"C": 0.5}, seed=7, reason="nightly")
    assert resume_request(lab.settings, request.run_id, NAME, request.code, LocalRunner(lab.settings)) == request


def test_an_interrupted_run_goes_on(lab):
    request = begun(lab, finished("snapshot"))
    assert resume_request(lab.settings, request.run_id, NAME, request.code, LocalRunner(lab.settings)) == request


def test_code_that_changed_since_makes_it_a_new_run(lab):
    request = begun(lab, FAILED)
    (lab.root / "apps" / NAME / "model.py").write_text("changed")
    with pytest.raises(NotResumable, match=r"the code has changed since .*\+dirty") as caught:
        resume_request(lab.settings, request.run_id, NAME, lab.request().code, LocalRunner(lab.settings))
    assert f"`mlops run {NAME}`" in caught.value.hint


def test_a_run_of_another_use_case_is_named(lab):
    request = begun(lab, FAILED)
    with pytest.raises(NotResumable, match=f"is a run of {NAME}, not of flights") as caught:
        resume_request(lab.settings, request.run_id, "flights", request.code, LocalRunner(lab.settings))
    assert f"mlops run {NAME} --resume {request.run_id}" in caught.value.hint


@pytest.mark.parametrize(("commit", "outcome"), [("c" * 40, "released"), ("", "unchanged")])
def test_a_finished_run_has_nothing_to_resume(lab, commit, outcome):
    request = begun(lab, finished("release", tags={"commit": commit}))
    with pytest.raises(NotResumable, match=rf"finished \({outcome}\); there is nothing to resume"):
        resume_request(lab.settings, request.run_id, NAME, request.code, LocalRunner(lab.settings))


def test_a_rejected_run_would_come_to_the_same_verdict(lab):
    request = begun(lab, finished("gate", result={"passed": False}))
    with pytest.raises(NotResumable, match="would come to the same verdict") as caught:
        resume_request(lab.settings, request.run_id, NAME, request.code, LocalRunner(lab.settings))
    assert f"mlops show {request.run_id}" in caught.value.hint


def test_a_run_that_never_was_is_not_found(lab):
    with pytest.raises(RunNotFound, match="tiny-20260101-000000-aaaa"):
        resume_request(lab.settings, "tiny-20260101-000000-aaaa", NAME, "c" * 40, LocalRunner(lab.settings))


@pytest.mark.parametrize(
    "options",
    [
        ["--param", "C=2"],
        ["--as-of", "2026-01-10"],
        ["--seed", "3"],
        ["--reason", "another"],
        ["--environment", "local"],
        ["--replace-champion"],
        ["--force"],
        ["--run-id", "tiny-20260101-000000-aaaa"],
    ],
    ids=lambda options: options[0],
)
def test_it_is_not_asked_anew(lab, options):
    request = begun(lab, FAILED)
    result = CliRunner().invoke(main, ["--root", str(lab.root), "run", NAME, "--resume", request.run_id, *options])
    assert result.exit_code == 2, result.output
    assert options[0] in result.stderr
    records = (lab.settings.runs / request.run_id / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in records] == ["failed"], "nothing ran"


def test_the_caller_may_make_the_run_s_id(lab):
    wanted = new_run_id(NAME)
    assert usable_run_id(lab.settings, NAME, wanted) == wanted
    assert usable_run_id(lab.settings, NAME, None).startswith(f"{NAME}-")


@pytest.mark.parametrize("wanted", ["../../etc", "flights-20260101-000000-aaaa", "tiny", ""])
def test_an_id_that_is_none_of_the_use_case_s_is_refused(lab, wanted):
    with pytest.raises(RunIdUnusable, match="is no id for a run of tiny") as caught:
        usable_run_id(lab.settings, NAME, wanted)
    assert "tiny-" in caught.value.hint


def test_an_id_is_used_once(lab):
    request = begun(lab, FAILED)
    with pytest.raises(RunIdUnusable, match=f"there is a run {request.run_id}"):
        usable_run_id(lab.settings, NAME, request.run_id)


# --- names -------------------------------------------------------------------------------------------------


@pytest.fixture
def mlops(lab):
    return lambda *arguments: CliRunner().invoke(main, ["--root", str(lab.root), *arguments])


@pytest.mark.parametrize("verb", ["rollback", "promote", "trace"])
def test_an_unknown_use_case_lists_the_known_ones(lab, mlops, verb):
    repository = Repository(lab.settings.remote, "main", lab.settings.home / "cache" / "test.git")
    Releases(repository).bump("flights", "staging", release(1), "released from another checkout")
    result = mlops(verb, "tinny")
    assert result.exit_code == 1
    assert "'tinny'" in result.stderr
    assert "flights, tiny" in result.stderr


def test_a_use_case_that_only_the_repository_knows_can_still_be_rolled_back(lab, mlops):
    repository = Repository(lab.settings.remote, "main", lab.settings.home / "cache" / "test.git")
    for number in (1, 2):
        Releases(repository).bump("flights", "staging", release(number), "x")
    require_known(lab.settings, "flights")
    with pytest.raises(UsecaseNotFound, match=r"no use case 'flihgts' \(did you mean flights\?\)"):
        require_known(lab.settings, "flihgts")
    assert mlops("rollback", "flights", "--no-wait").exit_code == 0
    assert git(lab.root, "-C", lab.settings.remote, "log", "-1", "--format=%s", "main").startswith("rollback(flights)")
