"""Log lines: text or JSON, what they are about, and what they never show."""

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from bento import logs as server_logs
from bento.logs import LogVariables, about, fact
from bento.middleware import Edge
from bento.problems import problem
from bento.request_ids import RequestIds
from bento.variables import MOST_SECRETS, hide_secrets, remember_secret
from pipelines import logs
from pipelines.monitor.options import Options
from pipelines.settings import Settings
from pipelines.variables import VariableWrong

ROOT = Path(__file__).parents[2]
SECRET = "s3cret-t0ken"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\w+) ([\w.]+): (.*)")


@pytest.fixture
def written(monkeypatch):
    """Configure logs into a buffer: a function that gives the lines so far. The test's own handlers come back after."""
    handlers, level = list(logging.root.handlers), logging.root.level
    buffer = io.StringIO()

    def configure(**variables: str):
        server_logs.configure(LogVariables(**variables), buffer)
        return lambda: buffer.getvalue().splitlines()

    yield configure
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def parsed(lines):
    return [json.loads(line) for line in lines]


class TestLines:
    def test_text_has_time_level_logger_message_and_what_it_is_about(self, written):
        lines = written()
        with about(usecase="flights", run="r-1"):
            logging.getLogger("mlops.test").warning("the gate said %s", "no")
        level, logger, message = LINE.fullmatch(lines()[0]).groups()
        assert (level, logger, message) == ("WARNING", "mlops.test", "the gate said no [usecase=flights run=r-1]")

    def test_json_is_one_object_a_line_whatever_the_message(self, written):
        lines = written(format="json")
        with about(request_id="q-1"):
            logging.getLogger("t").info('two\nlines, a "quote" and ü')
        (line,) = parsed(lines())
        assert line.pop("time").endswith("Z")
        assert line == {"level": "info", "logger": "t", "message": 'two\nlines, a "quote" and ü', "request_id": "q-1"}

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_an_exception_keeps_its_traceback(self, written, form):
        lines = written(format=form)
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("t").exception("broke")
        text = "\n".join(lines())
        assert "Traceback" in text
        assert "ZeroDivisionError" in text
        if form == "json":
            assert parsed(lines())[0]["message"] == "broke"

    def test_below_the_level_nothing_is_written(self, written):
        lines = written(level="warning")
        logging.getLogger("t").info("chatter")
        logging.getLogger("t").warning("news")
        assert len(lines()) == 1

    def test_libraries_go_through_the_same_form_and_chatty_ones_are_quiet(self, written):
        own = logging.getLogger("uvicorn.error")
        own.addHandler(logging.StreamHandler(io.StringIO()))
        lines = written(format="json")
        own.warning("from uvicorn")
        logging.getLogger("httpx").info("HTTP Request: GET …")
        assert [line["logger"] for line in parsed(lines())] == ["uvicorn.error"]

    def test_facts_given_with_a_line_win_over_those_around_it(self, written):
        lines = written(format="json")
        with about(trigger="outer", usecase="flights"):
            logging.getLogger("t").info("x", extra={"trigger": "inner"})
        assert parsed(lines())[0] | {"time": ""} == {
            "time": "", "level": "info", "logger": "t", "message": "x", "trigger": "inner", "usecase": "flights"
        }  # fmt: skip

    def test_facts_end_with_their_block_also_after_an_error(self):
        def inside() -> None:
            with about(run="a"):
                with about(step="train", run=None):
                    assert (fact("run"), fact("step")) == ("a", "train")
                assert fact("step") is None
                raise ValueError(fact("run"))

        with pytest.raises(ValueError, match="a"):
            inside()
        assert fact("run") is None

    def test_another_thread_knows_nothing_of_them(self):
        seen: list[str | None] = []
        with about(run="a"):
            thread = threading.Thread(target=lambda: seen.append(fact("run")))
            thread.start()
            thread.join()
        assert seen == [None]

    def test_requests_that_are_answered_at_once_keep_their_own_facts(self):
        async def one(name: str) -> str | None:
            with about(request_id=name):
                await asyncio.sleep(0)
                return fact("request_id")

        async def many() -> list[str | None]:
            return await asyncio.gather(*(one(str(number)) for number in range(20)))

        assert asyncio.run(many()) == [str(number) for number in range(20)]


class TestSecrets:
    @pytest.mark.parametrize("form", ["text", "json"])
    def test_a_secret_that_was_read_is_in_no_line_wherever_it_stands(self, written, form, tmp_path):
        lines = written(format=form)
        Settings.load({"MLOPS_MONITOR_TOKEN": SECRET}, root=tmp_path)
        with about(request_id=f"id-{SECRET}"):
            logging.getLogger("t").info("token %s", SECRET)
            try:
                int(SECRET)
            except ValueError:
                logging.getLogger("t").exception("failed")
        text = "\n".join(lines())
        assert SECRET not in text
        assert text.count("***") >= 3

    def test_the_password_of_a_url_is_hidden_even_if_nothing_read_it(self, written):
        lines = written()
        logging.getLogger("t").info("cannot reach postgresql://mlops:hunter22@db:5432/predictions")
        assert "hunter22" not in lines()[0]
        assert "db:5432/predictions" in lines()[0]

    def test_the_password_within_a_secret_url_is_hidden_alone_too(self, tmp_path):
        Settings.load({"MLOPS_STORE": "postgresql://mlops:pa55phrase@db/x"}, root=tmp_path)
        assert hide_secrets("authentication failed for pa55phrase") == "authentication failed for ***"

    def test_renewed_tokens_push_the_oldest_out(self):
        for number in range(MOST_SECRETS + 1):
            remember_secret(f"renewed-{number:04d}")
        assert hide_secrets("renewed-0000") == "renewed-0000"
        assert hide_secrets(f"renewed-{MOST_SECRETS:04d}") == "***"

    def test_what_is_too_short_for_a_secret_hides_no_words(self):
        remember_secret("a")
        assert hide_secrets("a banana") == "a banana"


class TestCommands:
    def mlops(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pipelines.cli", *words]
        given = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **env}
        return subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, check=False)

    def test_a_typo_is_a_plain_sentence_for_people(self, tmp_path):
        done = self.mlops("status", MLOPS_HOME=str(tmp_path), MLOPS_REMOT="x")
        assert done.returncode == 0
        assert done.stderr.splitlines() == ["warning: nothing reads MLOPS_REMOT; did you mean MLOPS_REMOTE?"]

    def test_in_a_job_with_json_everything_that_is_printed_is_a_json_line(self, tmp_path):
        done = self.mlops("status", MLOPS_HOME=str(tmp_path), MLOPS_LOG_FORMAT="json", MLOPS_REMOT="x")
        lines = parsed([*done.stdout.splitlines(), *done.stderr.splitlines()])
        assert {line["level"] for line in lines} == {"info", "warning"}
        assert any("platform down" in line["message"] for line in lines)
        failed = self.mlops("show", "no-such-run", MLOPS_HOME=str(tmp_path), MLOPS_LOG_FORMAT="json")
        assert failed.returncode == 1
        assert parsed(failed.stderr.splitlines())[0]["level"] == "warning"

    def test_handlers_of_a_program_around_it_are_left_as_they_are(self, written, capsys):
        class Foreign(logging.StreamHandler):
            """As pytest's, or that of a program that calls a command."""

        foreign = Foreign(io.StringIO())
        logging.root.handlers.insert(0, foreign)
        logs.configure_command()
        logging.getLogger("t").warning("news")
        assert foreign in logging.root.handlers
        assert foreign.stream.getvalue() == "news\n"
        assert capsys.readouterr().err == "warning: news\n"

    def test_a_form_or_level_that_is_none_is_refused(self, tmp_path, monkeypatch):
        done = self.mlops("status", MLOPS_HOME=str(tmp_path), MLOPS_LOG_FORMAT="jsn")
        assert done.returncode == 1
        assert "MLOPS_LOG_FORMAT: expected 'text' or 'json' (got 'jsn')" in done.stderr
        monkeypatch.setenv("MLOPS_LOG_LEVEL", "loud")
        with pytest.raises(VariableWrong, match="MLOPS_LOG_LEVEL: expected 'debug', 'info', 'warning' or 'error'"):
            logs.configure()

    def test_options_and_settings_say_nothing_of_themselves_when_read(self, written, tmp_path):
        lines = written(level="debug")
        Settings.load({}, root=tmp_path)
        Options.load({})
        assert lines() == []


def answers(app, path="/x", **headers):
    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


async def failing(scope, receive, send):
    logging.getLogger("bento").error("the model failed")
    await problem(500, "it failed")(scope, receive, send)


@pytest.mark.parametrize("wrap", [Edge, RequestIds], ids=["model server", "monitor"])
class TestRequestIds:
    def test_the_caller_s_id_is_in_the_answer_the_problem_and_the_log(self, written, wrap):
        lines = written(format="json")
        answer = answers(wrap(failing), "/predict", **{"X-Request-ID": "abc-123"})
        assert answer.headers.get_list("x-request-id") == ["abc-123"]
        assert answer.json()["request_id"] == "abc-123"
        assert parsed(lines())[0]["request_id"] == "abc-123"

    @pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"b', "a\tb", "ü"])
    def test_an_id_that_could_break_a_line_is_replaced(self, wrap, sent):
        app = wrap(failing)
        given = answers(app, "/predict", **{"X-Request-ID": sent.encode("utf-8")}).headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{32}", given)

    def test_each_request_without_one_gets_its_own(self, wrap):
        app = wrap(failing)
        assert answers(app, "/predict").headers["x-request-id"] != answers(app, "/predict").headers["x-request-id"]


def test_no_program_that_runs_for_long_prints():
    """What a person asked for is printed by the command line, the demo and the generators; the rest is logged."""
    printing = re.compile(r"(?<![\w.])print\(")
    allowed = (
        "pipelines/cli/",
        "pipelines/demo/",
        "pipelines/usecase/schema.py",
        "pipelines/release/promotion_check.py",
    )
    found = [
        str(path.relative_to(ROOT))
        for folder in ("pipelines", "bento")
        for path in (ROOT / folder).rglob("*.py")
        if printing.search(path.read_text(encoding="utf-8"))
    ]
    assert [path for path in found if not path.startswith(allowed)] == []
