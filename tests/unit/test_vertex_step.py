"""What a step's container starts with on Vertex AI: secrets, a time limit, the run's name."""

import json
import subprocess
import sys

import pytest

from pipelines.vertex.errors import NoRunName, SecretUnavailable
from pipelines.vertex.pipeline_job import SCHEDULED
from pipelines.vertex.step import CANNOT_START, fetch_secret, main, name_the_run
from tests.fake_secrets import TOKEN, secret_manager

VERSION = "projects/1/secrets/git/versions/3"


@pytest.fixture
def secrets(monkeypatch):
    with secret_manager({VERSION: "hunter2ä"}) as address:
        monkeypatch.setenv("MLOPS_VERTEX_SECRETS_API", address)
        monkeypatch.setenv("MLOPS_VERTEX_TOKEN", TOKEN)
        yield address


def executor_input(run_id: str) -> str:
    return json.dumps({"inputs": {"parameterValues": {"request": {"usecase": "tiny", "run_id": run_id}}}})


def started(*arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and environment that would take this process's place."""
    found = []
    assert main(arguments, lambda command, environment: found.append((command, environment))) == 0
    return found[0]


def test_the_command_gets_the_secret_and_nobody_else(secrets, monkeypatch):
    monkeypatch.delenv("MLOPS_GIT_TOKEN", raising=False)
    command, environment = started("--limit", "60", "--secret", f"MLOPS_GIT_TOKEN={VERSION}", "--", "python", "-V")
    assert environment["MLOPS_GIT_TOKEN"] == "hunter2ä"
    assert command == ["timeout", "--kill-after=30", "60", "python", "-V"]
    assert "hunter2" not in " ".join(command)


def test_a_secret_that_may_not_be_read_keeps_the_step_from_starting(secrets, capsys):
    other = "projects/1/secrets/other/versions/1"
    assert main(["--limit", "60", "--secret", f"X={other}", "--", "true"], pytest.fail) == CANNOT_START
    said = capsys.readouterr().err
    assert f"403 for {other}" in said
    assert "roles/secretmanager.secretAccessor" in said


def test_a_secret_manager_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("MLOPS_VERTEX_SECRETS_API", "http://127.0.0.1:9")
    monkeypatch.setenv("MLOPS_VERTEX_TOKEN", "x")
    with pytest.raises(SecretUnavailable, match="did not give"):
        fetch_secret(VERSION)


def test_a_scheduled_run_gets_the_job_s_name():
    command = ["sh", "--executor_input", executor_input(SCHEDULED), "--function_to_execute", "train"]
    named = name_the_run(command, "tiny-20261121030000")
    assert json.loads(named[2])["inputs"]["parameterValues"]["request"]["run_id"] == "tiny-20261121030000"
    assert [named[0], named[1], *named[3:]] == [command[0], command[1], *command[3:]]


def test_a_run_that_has_a_name_keeps_it():
    command = ["sh", "--executor_input", executor_input("tiny-1")]
    assert name_the_run(command, "another") == command


@pytest.mark.parametrize(
    ("command", "run"),
    [
        (["--executor_input", executor_input(SCHEDULED)], "{{$.pipeline_job_name}}"),
        (["true"], "tiny-1"),
        (["--executor_input"], "tiny-1"),
        (["--executor_input", "{{$}}"], "tiny-1"),
        (["--executor_input", '{"inputs": {}}'], "tiny-1"),
    ],
)
def test_a_run_that_cannot_be_named_is_an_error(command, run):
    with pytest.raises(NoRunName):
        name_the_run(command, run)


def test_it_takes_the_place_of_its_process_and_ends_as_the_command_does(secrets):
    """The real thing, started as a container starts it."""
    program = "import os, sys; print(os.environ['TOKEN']); sys.exit(7)"
    own = [sys.executable, "-m", "pipelines.vertex.step", "--limit", "60", "--secret", f"TOKEN={VERSION}", "--"]
    done = subprocess.run(
        [*own, sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (7, "hunter2ä\n")


def test_a_step_that_takes_too_long_is_stopped():
    own = [sys.executable, "-m", "pipelines.vertex.step", "--limit", "1", "--", "sleep", "60"]
    assert subprocess.run(own, timeout=30, check=False).returncode == 124
