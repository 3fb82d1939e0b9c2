"""`mlops` as a person meets it: what it says when things are right, and above all when they are not."""

import copy
import json
import os
import stat

import pytest
import yaml
from click.testing import CliRunner, Result
from filelock import FileLock

from pipelines.cli import VERBS, main
from pipelines.cli.following import await_rollout
from pipelines.console import Timeline, make_console
from pipelines.release.release import Release
from pipelines.release.releases import open_releases
from pipelines.retraining.dispatcher import utc_now
from pipelines.runs.journal import Journal, Record
from pipelines.runs.run import lock_path
from tests.pipeline_cases import MODEL_PY, NAME, USECASE

RELEASE = Release(
    bento="tiny:1", image=f"bentos/tiny@sha256:{'0' * 64}", model="tiny/1", run="r" * 32, data="d" * 12, code="c" * 40
)


@pytest.fixture
def mlops(lab, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--root", str(lab.root), *arguments])

    return call


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(mlops, verb):
    result = mlops(verb, "--help")
    assert result.exit_code == 0
    assert VERBS[verb].help.rstrip(".") in result.output.replace("\n  ", " ")


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_summary_fits_on_its_line(verb):
    listed = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout.split("Commands:")[1]
    (summary,) = [line.split(None, 1)[1] for line in listed.splitlines() if line.startswith(f"  {verb} ")]
    assert not summary.endswith("...")
    assert len(summary) <= 66


def test_help_works_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["run", "--help"]).exit_code == 0
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert "no apps/ folder" in result.stderr
    assert "hint:" in result.stderr


def test_new_says_what_comes_next_in_its_order(lab, mlops):
    said = mlops("new", "my-first", "--template", "tabular").stdout
    assert (lab.root / "apps" / "my-first" / "usecase.yaml").is_file()
    assert said.index("mlops up") < said.index("mlops run my-first") < said.index("docs/add-a-use-case.md")


def test_a_valid_checkout_is_said_to_be(mlops):
    result = mlops("check")
    assert result.exit_code == 0
    assert "1 use case valid: tiny" in result.stdout
    assert "not looked at: the data and its columns" in result.stdout


def test_a_typo_is_told_with_file_line_key_and_what_is_allowed(lab, mlops):
    values = copy.deepcopy(USECASE)
    values["evaluation"]["gates"][0]["at_leest"] = values["evaluation"]["gates"][0].pop("at_least")
    lab.write_usecase(values)
    for arguments in (["check"], ["run", NAME]):
        result = mlops(*arguments)
        assert result.exit_code == 1
        assert "apps/tiny/usecase.yaml:" in result.stderr
        assert "at_leest" in result.stderr
        assert "at_least" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_function_that_is_not_there_is_found_by_check(lab, mlops):
    lab.write_model(MODEL_PY.replace("def train(", "def trian("))
    result = mlops("check", NAME)
    assert result.exit_code == 1
    assert "train" in result.stderr
    assert "trian" in result.stderr


def test_an_unknown_use_case_suggests_one(mlops):
    result = mlops("run", "tinny")
    assert result.exit_code == 1
    assert "did you mean tiny?" in result.stderr


def test_an_unknown_parameter_lists_those_there_are(mlops):
    result = mlops("run", NAME, "--param", "trees=3")
    assert result.exit_code == 1
    assert "'trees' is no training parameter of tiny; it has: C" in result.stderr
    assert result.stdout == "", "no run is announced that does not begin"
    assert mlops("run", NAME, "--param", "nonsense").exit_code == 2


def test_a_date_for_data_that_has_no_time_is_refused(lab, mlops):
    values = copy.deepcopy(USECASE)
    del values["data"]["time"]
    values["data"]["split"] = {"by": "random", "test": 0.3, "validation": 0.1}
    lab.write_usecase(values)
    result = mlops("run", NAME, "--as-of", "2026-01-10")
    assert result.exit_code == 1
    assert "no data.time" in result.stderr
    assert result.stdout == ""


def test_a_second_run_beside_one_that_is_under_way_is_refused(lab, mlops):
    lab.settings.runs.mkdir(parents=True)
    with FileLock(lock_path(lab.settings.runs, NAME)):
        result = mlops("run", NAME)
    assert result.exit_code == 1
    assert "a run of tiny is under way" in result.stderr
    assert result.stdout == ""
    assert not list(lab.settings.runs.glob("tiny-*"))


def test_an_interrupted_run_shows_how_far_it_came_and_how_to_go_on(lab, mlops):
    request = lab.request()
    folder = lab.settings.runs / request.run_id
    request.write(folder / "request.json")
    shown = mlops("show", request.run_id).stdout
    assert shown.startswith("interrupted before the first step, 0 s\n")
    assert "no step began" in shown
    for second, (step, event) in enumerate(
        [("snapshot", "started"), ("snapshot", "finished"), ("validate", "started")]
    ):
        Journal(folder).append(
            Record(step=step, event=event, time=second, seconds=1.0 if event == "finished" else None)
        )
    shown = mlops("show", request.run_id).stdout
    assert shown.startswith("interrupted in step validate, 2 s\n")
    assert f"`mlops run tiny --resume {request.run_id}`" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["snapshot", "1.0", "finished"] in rows
    assert ["validate", "-", "interrupted"] in rows


def test_production_is_only_reached_by_promotion(mlops):
    result = mlops("run", NAME, "--environment", "production")
    assert result.exit_code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_written_to_is_named_as_a_user(lab, mlops):
    lab.root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    result = mlops("run", NAME)
    lab.root.chmod(stat.S_IRWXU)
    assert result.exit_code == 1
    assert "cannot be written to" in result.stderr


def test_a_state_folder_that_cannot_exist_is_named(lab, mlops):
    (lab.root / "file").write_text("")
    result = mlops("--home", str(lab.root / "file" / "state"), "run", NAME)
    assert result.exit_code == 1
    assert "cannot be written to" in result.stderr
    assert "--home" in result.stderr


def test_a_folder_outside_git_says_what_to_do(tmp_path, lab, mlops):
    import shutil

    shutil.rmtree(lab.root / ".git")
    shutil.rmtree(lab.root / ".mlops")
    result = mlops("run", NAME)
    assert result.exit_code == 1
    assert "not a Git checkout" in result.stderr
    assert "git init" in result.stderr


def test_with_nothing_released_each_verb_says_so(mlops):
    for arguments, words in (
        (["rollback", NAME], "no release"),
        (["promote", NAME], "no release"),
        (["trace", NAME], "no release"),
        (["show", "tiny-20260101-000000-aaaa"], "no run"),
    ):
        result = mlops(*arguments)
        assert result.exit_code == 1, arguments
        assert words in result.stderr, result.stderr


def test_status_says_what_asked_for_runs_and_what_became_of_it(lab, mlops):
    from tests.trigger_cases import dispatcher, drift, open_table

    table = open_table(lab.settings.home / "monitor.db")
    asked = dispatcher(table, clock=utc_now).request(drift())
    shown = mlops("status").stdout
    assert "what asked for runs by itself" in shown
    assert "drift: temperature psi 3.10 > 0.2" in shown
    assert json.loads(mlops("status", "--json").stdout)["requests"][0]["id"] == asked.id


def test_status_without_a_platform(mlops):
    result = mlops("status")
    assert result.exit_code == 0
    assert "platform down" in result.stdout
    told = json.loads(mlops("status", "--json").stdout)
    platform = {**told["platform"], "running": False, "models": []}
    assert told == {"schema": 1, "platform": platform, "runs": [], "unreadable": [], "requests": []}
    assert "nothing runs" in mlops("down").stdout


def test_status_lists_what_is_released_while_the_platform_is_down(lab, mlops, monkeypatch):
    commit = open_releases(lab.settings).bump(NAME, "staging", RELEASE, "a test")
    said = mlops("status").stdout
    assert "platform down (`mlops up` serves what is released)" in said
    row = next(line for line in said.splitlines() if line.startswith(NAME))
    assert row.split() == [NAME, "staging", "tiny:1", "down", commit[:9], "-", "-"]
    monkeypatch.setenv("MLOPS_REMOTE", str(lab.root / "nowhere.git"))
    away = mlops("status")
    assert away.exit_code == 0
    assert "problem " in away.stdout
    assert "nowhere.git" in away.stdout


def test_nobody_waits_for_an_environment_that_this_machine_does_not_serve(lab, capsys):
    await_rollout(lab.settings, Timeline(make_console()), NAME, "local", "0" * 40)
    assert "local is served by a cluster" in capsys.readouterr().out


@pytest.mark.slow
def test_data_that_does_not_fit_is_told_once_and_in_full(lab, mlops):
    values = copy.deepcopy(USECASE)
    values["data"]["features"]["colour"] = {"type": "category"}
    lab.write_usecase(values)
    result = mlops("run", NAME)
    assert result.exit_code == 1
    assert result.output.count("the source has no column 'colour'; columns there: size, kind, big, when") == 1
    assert "✗ snapshot" in result.stdout
    assert "failed in step snapshot" in result.stdout
    assert "--resume tiny-20" in result.stderr


@pytest.mark.slow
def test_a_run_from_the_command_line_shows_steps_and_what_to_do_next(mlops):
    result = mlops("run", NAME)
    assert result.exit_code == 0, result.stderr
    for step in ("snapshot", "train", "gate", "release"):
        assert f"✓ {step}" in result.stdout
    assert "released tiny:1 to staging in commit" in result.stdout
    assert "`mlops up`" in result.stdout

    again = mlops("run", NAME, "--reason", "nightly")
    assert again.exit_code == 0, again.stderr
    assert "the same to the byte as tiny:1, no new version" in again.stdout
    assert "unchanged: staging already has this release" in again.stdout

    rejected = mlops("run", NAME, "--param", "C=1e-4")
    assert rejected.exit_code == 3
    assert "rejected by its gate: brier " in rejected.stdout
    assert "worse (higher) than tiny/1's" in rejected.stdout
    run_id = next(word for word in rejected.stdout.split() if word.startswith("tiny-20"))
    shown = mlops("show", run_id)
    assert "brier" in shown.stdout
    assert "model-card.html" in shown.stdout

    bento = json.loads(mlops("trace", "tiny:1", "--json").stdout)["versions"][0]["release"]
    assert yaml.safe_load(mlops("trace", "tiny/1", "--json").stdout)["versions"][0]["release"] == bento
