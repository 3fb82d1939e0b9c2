"""The command line as a program: what it imports, what it lists, what it writes for other programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipelines.cli import VERBS, main, reference
from pipelines.cli.completion import SHELLS, VARIABLE, install
from pipelines.cli.group import flatten
from pipelines.runs.index import close_run, open_run, open_runs
from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import RunRequest
from pipelines.runs.run import PID_FILE, REQUEST_FILE
from pipelines.settings import Settings

HEAVY = {"bentoml", "evidently", "fsspec", "httpx", "kfp", "mlflow", "numpy", "pandas", "pyarrow", "sqlalchemy"}
HEAVY_TO_LIST = HEAVY | {"pydantic", "rich", "yaml"}
RUNS = ("tiny-20260101-000000-aaaa", "tiny-20260102-000000-bbbb", "other-20260103-000000-cccc")


@pytest.fixture
def checkout(tmp_path) -> Path:
    (tmp_path / "apps" / "tiny").mkdir(parents=True)
    (tmp_path / "apps" / "tiny" / "usecase.yaml").write_text("name: tiny\n")
    (tmp_path / "pyproject.toml").touch()
    for run_id in RUNS:
        request = RunRequest(usecase=run_id.rsplit("-", 3)[0], run_id=run_id, environment="staging", reason="nightly")
        folder = open_run(tmp_path / ".mlops" / "runs", request)
        (folder / PID_FILE).unlink()
        Journal(folder).append(Record(step="train", event="started", time=1.0))
        Journal(folder).append(Record(step="train", event="failed", time=3.5, seconds=2.5, summary="no memory"))
    for markers in open_runs(tmp_path / ".mlops" / "runs").values():
        close_run(markers)
    return tmp_path


def mlops(checkout: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(checkout), *arguments])


def completed(checkout: Path, words: str) -> list[str]:
    """What TAB offers for the last word of a command line, in bash."""
    given = words.split(" ")
    environment = {**os.environ, VARIABLE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(given) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli import main; main(prog_name='mlops')"],
        env=environment,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split(",", 1)[1] for line in done.stdout.splitlines() if line]


def imported_by(checkout: Path, *arguments: str) -> set[str]:
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(' '.join({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "--root", str(checkout), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


class TestImports:
    @pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
    def test_listing_commands_imports_none_of_them(self, checkout, arguments):
        assert imported_by(checkout, *arguments) & HEAVY_TO_LIST == set()

    @pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["runs"], ["show", RUNS[0]]])
    def test_what_is_asked_often_imports_no_library_that_it_does_not_need(self, checkout, arguments):
        assert imported_by(checkout, *arguments) & HEAVY == set()

    def test_variables_of_other_parts_import_nothing_more(self, checkout, monkeypatch):
        monkeypatch.setenv("MLOPS_RUNNER", "kubeflow")
        monkeypatch.setenv("MLOPS_SOMETHING_OF_A_TEAM", "1")
        assert imported_by(checkout, "status") & HEAVY == set()

    def test_requests_in_a_sqlite_file_are_read_without_sqlalchemy(self, checkout):
        from tests.trigger_cases import SetClock, dispatcher, drift, open_table

        table = open_table(checkout / ".mlops" / "monitor.db")
        asked = dispatcher(table, SetClock()).request(drift())
        shown = json.loads(mlops(checkout, "status", "--json").stdout)["requests"]
        assert shown == [json.loads(table.newest()[0].model_dump_json())]
        assert shown[0]["id"] == asked.id
        assert "sqlalchemy" not in imported_by(checkout, "status")


class TestCommands:
    @pytest.mark.parametrize("name", sorted(VERBS))
    def test_the_listed_help_is_the_command_s_own(self, name):
        command = VERBS[name].load()
        assert command.name == name
        assert VERBS[name].help == " ".join((command.help or "").strip().split("\n\n")[0].split())

    def test_the_list_is_what_click_would_write(self):
        eager = click.Group("mlops", commands={name: verb.load() for name, verb in VERBS.items()})
        shown, wanted = (CliRunner().invoke(group, ["--help"], terminal_width=80).stdout for group in (main, eager))
        assert shown.split("Commands:")[1] == wanted.split("Commands:")[1]

    def test_an_unknown_command_names_the_one_that_was_meant(self):
        result = CliRunner().invoke(main, ["statsu"])
        assert result.exit_code == 2
        assert "status" in result.stderr

    def test_the_page_of_commands_is_fresh(self):
        assert reference.main([]) == 0

    def test_a_stale_page_says_what_writes_it(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(reference, "PAGE_FILE", tmp_path / "docs" / "cli.md")
        assert reference.main([]) == 1
        assert "python -m pipelines.cli.reference --write" in capsys.readouterr().err
        assert reference.main(["--write"]) == 0
        assert reference.main([]) == 0

    def test_every_command_with_json_has_its_shape_on_the_page(self):
        with_json = {
            name for name, command in flatten(main).items() if any(p.name == "as_json" for p in command.params)
        }
        assert with_json == set(reference.documents())


class TestJson:
    @pytest.mark.parametrize("arguments", [["status"], ["runs"], ["show", RUNS[0]], ["check"]])
    def test_stdout_is_one_document_of_the_shape_on_the_page(self, checkout, arguments):
        result = mlops(checkout, *arguments, "--json")
        document = json.loads(result.stdout)
        assert next(iter(document)) == "schema"
        assert document.pop("schema") == 1
        reference.documents()[arguments[0]].model_validate(document)

    def test_the_last_runs_with_their_outcome_seconds_and_reason(self, checkout):
        (checkout / ".mlops" / "runs" / RUNS[0] / REQUEST_FILE).write_text("{")
        document = json.loads(mlops(checkout, "runs", "tiny", "--json").stdout)
        (run,) = document["runs"]
        told = {name: run[name] for name in ("run_id", "outcome", "seconds", "reason", "step", "error")}
        assert told == {
            "run_id": RUNS[1],
            "outcome": "failed",
            "seconds": 2.5,
            "reason": "nightly",
            "step": "train",
            "error": "no memory",
        }
        assert [one["run_id"] for one in document["unreadable"]] == [RUNS[0]]

    def test_the_last_runs_for_people(self, checkout):
        assert [line.split()[:2] for line in mlops(checkout, "runs", "--limit", "1").stdout.splitlines()[2:]] == [
            [RUNS[2], "failed"]
        ]
        assert "no run of nothing" in mlops(checkout, "runs", "nothing").stdout

    def test_an_invalid_checkout_is_a_document_and_an_exit_status(self, checkout):
        result = mlops(checkout, "check", "--json")
        document = json.loads(result.stdout)
        assert (result.exit_code, document["valid"]) == (1, False)
        assert "apps/tiny/usecase.yaml" in document["problems"][0]

    @pytest.mark.parametrize(
        ("arguments", "status", "kind", "words"),
        [
            (["show", "nothing", "--json"], 1, "RunNotFound", "nothing is no run"),
            (["show", "--json"], 2, "MissingParameter", "RUN_ID"),
            (["runs", "--limit", "0", "--json"], 2, "BadParameter", "--limit"),
            (["runs", "--lmit", "0", "--json"], 2, "NoSuchOption", "--lmit"),
            (["--root", "/nonexistent", "check", "nothing", "--json"], 1, None, ""),
        ],
    )
    def test_an_error_is_an_object_on_stdout_and_a_status(self, checkout, arguments, status, kind, words):
        result = mlops(checkout, *arguments)
        document = json.loads(result.stdout)
        assert result.exit_code == status
        if kind:
            assert document["error"]["type"] == kind
            assert words in document["error"]["message"]

    def test_a_fault_of_the_program_is_an_object_too(self, checkout, monkeypatch):
        monkeypatch.setattr(Settings, "load", lambda **_: 1 / 0)
        result = mlops(checkout, "status", "--json")
        assert json.loads(result.stdout)["error"] == {
            "message": "division by zero",
            "hint": None,
            "type": "ZeroDivisionError",
        }
        assert isinstance(result.exception, ZeroDivisionError)

    def test_an_error_for_people_leaves_stdout_empty(self, checkout):
        result = mlops(checkout, "show", "nothing")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "nothing is no run" in result.stderr


class TestCompletion:
    def test_tab_completes_commands_use_cases_and_runs(self, checkout):
        assert completed(checkout, "mlops sta") == ["status"]
        assert completed(checkout, "mlops run t") == ["tiny"]
        assert completed(checkout, "mlops show tiny") == [RUNS[1], RUNS[0]]
        assert completed(checkout, "mlops show --js") == ["--json"]

    def test_outside_a_checkout_there_is_nothing_to_complete(self, tmp_path):
        assert completed(tmp_path, "mlops run t") == []

    @pytest.mark.parametrize("shell", SHELLS)
    def test_it_is_switched_on_once_and_leaves_what_was_there(self, tmp_path, monkeypatch, shell):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
        for name in ("ZDOTDIR", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)
        file = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/completions/mlops.fish"}[shell]
        if shell != "fish":
            (tmp_path / file).write_text("alias l=ls")
        first, second = (CliRunner().invoke(main, ["--install-completion"]) for _ in range(2))
        text = (tmp_path / file).read_text()
        assert f"{tmp_path / file} now switches completion on" in first.stdout
        assert "next: open a new shell" in first.stdout
        assert "already" in second.stdout
        assert text.count(VARIABLE) == 1 if shell != "fish" else VARIABLE in text
        assert shell == "fish" or text.startswith("alias l=ls\n")
        assert not install(shell).changed

    def test_the_line_in_bashrc_gives_bash_its_completion(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        install("bash")
        folder = Path(sys.executable).parent
        done = subprocess.run(
            ["bash", "--norc", "-c", f"PATH={folder}:$PATH; source {tmp_path}/.bashrc; complete -p mlops"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "_mlops_completion" in done.stdout

    def test_a_shell_that_it_is_not_made_for_is_named(self, monkeypatch):
        monkeypatch.setenv("SHELL", "/bin/tcsh")
        result = CliRunner().invoke(main, ["--install-completion"])
        assert result.exit_code == 1
        assert "SHELL says tcsh" in str(result.stderr or result.exception)
