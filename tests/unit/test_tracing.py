"""Traces: off without an endpoint, and joined from a request to its rollout to its run where there is one."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bento.app import FACTS, STANDBY
from bento.logs import fact
from bento.middleware import Edge
from bento.problems import problem
from bento.tracing import SpanIds, TracingVariables, rollout_ids, run_ids, start_tracing
from pipelines.embedded.reconciler import Reconciler
from pipelines.embedded.state import ServingTarget
from pipelines.release.release import Release
from pipelines.release.releases import open_releases
from pipelines.runs.request import RunRequest
from pipelines.settings import Settings
from pipelines.tracing import describe_step, record_run, tracing_step
from tests.otlp_receiver import receiving
from tests.pipeline_cases import git
from tests.serving import serving
from tests.tiny_models import write_bento

ROOT = Path(__file__).parents[2]
SERVER, INTERNAL = 2, 1
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
RELEASE = {"bento": "flights:7", "model": "flights/7", "run": "ml1", "environment": "staging", "commit": "c0ffee"}
REQUEST = RunRequest(run_id="flights-20260101-000000-abcd", usecase="flights", environment="staging", code="c1")


@pytest.fixture
def collector(monkeypatch):
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def hexed(ids: SpanIds) -> tuple[str, str]:
    return f"{ids.trace:032x}", f"{ids.span:016x}"


def ask(edge: Edge, path: str = "/predict", method: str = "POST", **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://model") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


async def model(scope, receive, send):
    """Knows what the model's app knows; fails where it is asked to."""
    if dict(scope["headers"]).get(b"fail") == b"raise":
        raise RuntimeError("the model broke")
    scope.get(FACTS, {}).update(rows=3, release=RELEASE)
    status = 500 if b"fail" in dict(scope["headers"]) else 200
    answer = problem(status, f"trace {fact('trace_id')}")
    await answer(scope, receive, send)


@pytest.fixture
def edge(collector):
    tracing = start_tracing("flights", {"service.version": "7"})
    assert tracing is not None
    yield Edge(model, tracing=tracing)
    tracing.close()


class TestRequests:
    def test_a_prediction_is_a_span_of_the_caller_s_trace_that_says_what_it_was(self, collector, edge):
        answer = ask(edge, traceparent=CALLER, **{"X-Request-ID": "q-1"})
        span = collector.one("POST /predict")
        assert (span.trace, span.parent) == (CALLER.split("-")[1], CALLER.split("-")[2])
        assert span.kind == SERVER
        assert span.attributes == {
            "http.request.method": "POST",
            "http.route": "/predict",
            "http.response.status_code": 200,
            "mlops.request_id": "q-1",
            "mlops.rows": 3,
            "mlops.usecase": "flights",
            "mlops.bento": "flights:7",
            "mlops.model": "flights/7",
            "mlops.run": "ml1",
            "mlops.environment": "staging",
            "mlops.commit": "c0ffee",
        }
        assert span.links == [hexed(rollout_ids("flights", "staging", "c0ffee"))]
        assert (span.resource["service.name"], span.resource["service.version"]) == ("flights", "7")
        assert answer.json()["detail"] == f"trace {span.trace}", "log lines of the request name its trace"
        assert not span.failed

    def test_without_a_caller_s_trace_each_request_begins_its_own(self, collector, edge):
        ask(edge)
        ask(edge, traceparent="nonsense")
        first, second = collector.named("POST /predict", 2)
        assert first.trace != second.trace
        assert (first.parent, second.parent) == ("", "")

    def test_a_caller_that_keeps_nothing_is_heeded(self, collector, edge):
        ask(edge, traceparent=CALLER.removesuffix("1") + "0")
        ask(edge, **{"X-Request-ID": "kept"})
        assert collector.one("POST /predict").attributes["mlops.request_id"] == "kept"

    def test_a_failure_marks_the_span_and_an_exception_is_an_event_of_it(self, collector, edge):
        assert ask(edge, fail="answer").status_code == 500
        with pytest.raises(RuntimeError, match="broke"):
            ask(edge, fail="raise")
        answered, raised = collector.named("POST /predict", 2)
        assert answered.failed
        assert answered.events == []
        assert raised.failed
        assert raised.events == ["exception"]
        assert raised.attributes["http.response.status_code"] == 500

    def test_probes_and_checks_in_standby_are_no_requests(self, collector, edge):
        for path in ("/readyz", "/metrics", "/signature"):
            ask(edge, path, "GET")
        edge.standby = True
        ask(edge)
        edge.standby = False
        ask(edge, **{"X-Request-ID": "last"})
        assert collector.one("POST /predict").attributes["mlops.request_id"] == "last"
        assert {span.name for span in collector.spans} == {"POST /predict"}
        assert STANDBY


class TestRuns:
    def test_steps_are_below_their_run_wherever_each_of_them_runs(self, collector):
        with tracing_step(REQUEST, "train"):
            pass
        with tracing_step(REQUEST, "release") as span:
            describe_step(span, {"commit": "c0ffee", "empty": ""})
        record_run(REQUEST, "released", 1000.0, 1060.5)
        trace, root = hexed(run_ids(REQUEST.run_id))
        run, train, release = collector.one("run flights"), collector.one("step train"), collector.one("step release")
        assert {run.trace, train.trace, release.trace} == {trace}
        assert (run.span, run.parent, train.parent, release.parent) == (root, "", root, root)
        assert run.seconds == (1000.0, 1060.5)
        assert run.attributes["mlops.outcome"] == "released"
        assert release.attributes["mlops.commit"] == "c0ffee"
        assert "mlops.empty" not in release.attributes
        assert train.attributes["mlops.run"] == REQUEST.run_id
        assert train.resource["service.name"] == "mlops-pipeline"

    def test_a_step_that_fails_is_marked_and_so_is_its_run(self, collector):
        with pytest.raises(ValueError, match="no data"), tracing_step(REQUEST, "snapshot"):
            raise ValueError("no data")
        record_run(REQUEST, "failed", 1.0, 2.0)
        assert collector.one("step snapshot").failed
        assert collector.one("run flights").failed

    def test_two_runs_have_two_traces_and_one_run_always_the_same(self):
        assert run_ids("a") == run_ids("a") != run_ids("b")
        assert run_ids("a") != rollout_ids("a", "staging", "c")
        assert all(number > 0 for ids in (run_ids("a"), run_ids("b")) for number in ids)


class TestRollouts:
    @pytest.fixture
    def released(self, tmp_path):
        """A repository with one release of flights, committed by the run."""
        checkout = tmp_path / "checkout"
        (checkout / "apps").mkdir(parents=True)
        git(checkout, "init", "-q", "-b", "main")
        git(checkout, "commit", "-q", "--allow-empty", "-m", "start")
        git(tmp_path, "clone", "-q", "--bare", str(checkout), "origin.git")
        settings = Settings.load({"MLOPS_REMOTE": str(tmp_path / "origin.git")}, root=checkout, home=tmp_path / "home")
        release = Release(
            bento="flights:7",
            image=f"bentos/flights@sha256:{'0' * 64}",
            model="flights/7",
            run="r" * 32,
            data="d" * 12,
            code="c" * 40,
        )
        commit = open_releases(settings).bump("flights", "staging", release, "a test", run=REQUEST.run_id)
        return settings, release, commit

    def test_a_rollout_links_to_the_run_whose_commit_it_brings(self, collector, released):
        settings, release, commit = released
        tracing = start_tracing("mlops-reconciler")
        reconciler = Reconciler(settings, tracing)
        reconciler.releases.repository.fetch()
        target = ServingTarget(usecase="flights", environment="staging")
        with reconciler._tracing_rollout(target, release, commit) as span:
            span.set_attribute("mlops.outcome", "live")
        reconciler.failures = {target: None}
        with reconciler._tracing_rollout(target, release, commit):
            pass
        tracing.close()
        first, second = collector.named("rollout flights.staging", 2)
        trace, own = hexed(rollout_ids("flights", "staging", commit))
        assert (first.trace, first.span) == (trace, own)
        assert (second.trace, second.parent) == (trace, own), "a further attempt is below the first"
        assert first.links == [hexed(run_ids(REQUEST.run_id))]
        assert first.attributes["mlops.commit"] == commit
        assert first.attributes["mlops.outcome"] == "live"


class TestOff:
    def test_without_an_endpoint_nothing_of_it_is_imported(self):
        program = (
            "import sys\nfrom pipelines.tracing import record_run, start_tracing, tracing_step\n"
            "assert start_tracing('x') is None\n"
            "with tracing_step(None, 'train') as span: assert span is None\n"
            "record_run(None, 'failed', 0, 1)\n"
            "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env={}, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("env", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_SDK_DISABLED": "true"}])
    def test_it_is_off_where_nothing_or_an_empty_text_is_named_or_it_is_switched_off(self, monkeypatch, env):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        if "OTEL_SDK_DISABLED" not in env:
            monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        assert start_tracing("x") is None

    def test_packages_that_are_missing_are_named_and_nothing_else_happens(self, monkeypatch, caplog):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
        with caplog.at_level(logging.WARNING):
            assert start_tracing("x") is None
        assert "the extra `tracing` has what they take" in caplog.text

    def test_a_collector_that_is_away_fails_no_request(self, monkeypatch):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        tracing = start_tracing("flights")
        assert ask(Edge(model, tracing=tracing)).status_code == 200
        tracing.close()


class TestSettings:
    def test_the_login_goes_to_the_collector_and_is_not_shown(self, collector, monkeypatch):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret-t0ken")
        record_run(REQUEST, "released", 1.0, 2.0)
        collector.one("run flights")
        assert collector.headers[0]["authorization"] == "Bearer s3cret-t0ken"
        assert "s3cret" not in repr(TracingVariables.load())

    def test_a_service_s_name_may_be_set_from_outside(self, collector, monkeypatch):
        monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=ml")
        record_run(REQUEST, "released", 1.0, 2.0)
        span = collector.one("run flights")
        assert (span.resource["service.name"], span.resource["team"]) == ("ours", "ml")


def test_a_real_server_sends_the_spans_of_its_requests(collector, tmp_path):
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "MLOPS_ENVIRONMENT": "staging",
        "MLOPS_RELEASE_COMMIT": "c0ffee",
        "MLOPS_LOG_FORMAT": "json",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",  # so that what comes, comes when it leaves
    }
    instances = [{"distance": 1400, "origin": "EWR", "carrier": "UA"}] * 2
    with serving(write_bento(tmp_path / "bento", version="7"), tmp_path / "run", env=env) as server:
        headers = {"traceparent": CALLER, "X-Request-ID": "q-7"}
        answer = httpx.post(f"{server.url}/predict", json={"instances": instances}, headers=headers, timeout=30)
        wrong = httpx.post(f"{server.url}/predict", json={"instances": [{}]}, headers=headers, timeout=30)
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0
    assert (answer.status_code, wrong.status_code) == (200, 400)
    assert answer.headers.get_list("x-request-id") == ["q-7"]
    assert wrong.json()["request_id"] == "q-7"
    good, bad = sorted(
        collector.named("POST /predict", 2), key=lambda span: span.attributes["http.response.status_code"]
    )
    assert {good.trace, bad.trace} == {CALLER.split("-")[1]}
    assert (good.attributes["mlops.rows"], good.attributes["mlops.bento"]) == (2, "tiny-table:7")
    assert good.links == [hexed(rollout_ids("tiny-table", "staging", "c0ffee"))]
    for line in server.log.read_text().splitlines():
        assert json.loads(line)["logger"]
