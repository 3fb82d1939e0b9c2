"""Runners behind one protocol: found by name, asked for what they are able to do."""

import ast
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from pipelines.cli.variables import RunVariables
from pipelines.runners import start
from pipelines.runners.local import LocalRunner, NotStartedHere
from pipelines.runners.runner import RUNNERS, Handle, Runner, RunnerUnknown, open_runner, run_to_end
from pipelines.runs.request import RunRequest, new_run_id
from pipelines.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path) -> Settings:
    (tmp_path / "apps").mkdir()
    return Settings.load({}, root=tmp_path, home=tmp_path / "home")


def request() -> RunRequest:
    return RunRequest(usecase="tiny", run_id=new_run_id("tiny"), environment="staging")


@pytest.mark.parametrize("name", RUNNERS)
def test_a_runner_is_found_by_its_name_without_asking_anybody(settings, name):
    runner: Runner = open_runner(name, settings)
    assert runner.name == name
    assert runner.capabilities.title
    assert runner.capabilities.detaches is not runner.capabilities.on_this_machine


def test_an_unknown_runner_lists_those_that_there_are(settings):
    with pytest.raises(RunnerUnknown, match="no runner 'airflow'") as caught:
        open_runner("airflow", settings)
    assert "local, kubeflow, vertex" in caught.value.hint


def test_the_variable_names_the_same_runners():
    assert get_args(get_type_hints(RunVariables)["runner"]) == tuple(RUNNERS)


def test_nobody_asks_a_runner_for_its_name():
    """A branch by name is a runner that cannot be added without editing other rooms."""
    for path in (ROOT / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and "runner" in ast.unparse(node.left):
                compared = {part.value for part in node.comparators if isinstance(part, ast.Constant)}
                assert not compared & set(RUNNERS), f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


class Interrupted:
    """A runner whose run is interrupted while it is followed."""

    def __init__(self, detaches: bool) -> None:
        self.capabilities = LocalRunner.capabilities.__class__("somewhere", not detaches, detaches, True)
        self.stopped = False

    def start(self, asked):
        return Handle(asked, Path())

    def follow(self, _handle, _on_record):
        raise KeyboardInterrupt

    def stop(self, _handle):
        self.stopped = True


@pytest.mark.parametrize(
    ("detaches", "wanted", "stopped"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_ctrl_c_leaves_a_run_only_where_it_goes_on_by_itself(detaches, wanted, stopped):
    runner = Interrupted(detaches)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(runner, request(), print, may_stop=lambda: wanted)
    assert runner.stopped is stopped


def test_a_run_here_is_followed_by_whoever_started_it(settings):
    asked = request()
    with pytest.raises(NotStartedHere, match=asked.run_id):
        LocalRunner(settings).follow(Handle(asked, settings.runs / asked.run_id), print)


def test_a_request_in_a_file_for_a_use_case_that_is_not_there_fails_with_a_sentence(settings, monkeypatch, capsys):
    monkeypatch.setenv("MLOPS_ROOT", str(settings.root))
    monkeypatch.setenv("MLOPS_HOME", str(settings.home))
    file = settings.root / "request.json"
    request().write(file)
    assert start.main([str(file)]) == start.BROKEN
    assert "tiny" in capsys.readouterr().err
