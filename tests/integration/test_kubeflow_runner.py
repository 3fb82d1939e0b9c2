"""Runs on Kubeflow: started by the pipeline's name, followed, stopped, gone on with; and how each trouble is told."""

import threading
import time

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.pipeline.compiling.objects import pipeline, pipeline_version
from pipelines.runners.kubeflow import KubeflowRunner
from pipelines.runners.kubeflow_api import (
    KubeflowAccess,
    KubeflowApi,
    KubeflowAway,
    KubeflowError,
    KubeflowLoginWanted,
    KubeflowNotSet,
    PipelineNotDelivered,
    QuotaExceeded,
    RunUnknown,
    VersionUnknown,
)
from pipelines.runners.runner import RunInProgress, run_to_end
from pipelines.runs.journal import Journal, Record
from pipelines.runs.run import read_run
from pipelines.runs.shared_journal import share
from pipelines.runs.tracking import TrackingUnavailable, mlflow_client, publish
from pipelines.usecase import load_usecase
from tests.fake_kubeflow import fake_kubeflow
from tests.kubeflow_cases import IMAGE, STEPS, compile_pipeline
from tests.pipeline_cases import NAME

POLL = 0.05
VERDICT = {"usecase": NAME, "passed": False, "why": "roc_auc 0.5 is below 0.7", "first_release": True, "rules": []}


class World:
    """A checkout, a fake of Kubeflow with its pipeline delivered, and a script for what runs do."""

    def __init__(self, lab, fake, monkeypatch):
        self.lab, self.fake, self.settings = lab, fake, lab.settings
        self.usecase = load_usecase(lab.root, NAME, "staging")
        self.compiled = compile_pipeline(self.usecase, IMAGE)
        self.heard = []
        monkeypatch.setenv("MLOPS_KUBEFLOW_URL", fake.url)
        self.api = KubeflowApi(KubeflowAccess(fake.url))

    def deliver(self):
        self.fake.deliver([pipeline(self.usecase, self.compiled), pipeline_version(self.usecase, self.compiled)])
        return self

    def run(self, **asked):
        may_stop = asked.pop("may_stop", lambda: True)
        self.asked = self.lab.request(**asked)
        return run_to_end(self.runner(), self.asked, self.heard.append, may_stop=may_stop)

    def runner(self, settings=None):
        return KubeflowRunner(settings or self.settings, poll=POLL)

    def resume(self, run_id, settings=None):
        runner = self.runner(settings)
        return run_to_end(runner, runner.find(run_id), self.heard.append, resume=True)

    def tell(self, run, step, event="finished", **said):
        """What a step's own container would put into MLflow."""
        folder = self.lab.root.parent / "pods" / step / run.request["run_id"]
        journal = Journal(folder)
        journal.append(Record(step=step, event="started", time=time.time()))
        journal.append(Record(step=step, event=event, time=time.time(), seconds=0.5, **said))
        mlflow_run = publish(folder, NAME, self.settings.tracking_uri, self.settings.home / "artifacts")
        share(folder, step, self.settings.tracking_uri, mlflow_run)

    def released(self, run):
        for step in STEPS:
            run.begin(step)
            tags = {"commit": "c" * 40} if step == "release" else {}
            result = {"release": {"bento": f"{NAME}:1"}, "gate": {**VERDICT, "passed": True}}.get(step)
            self.tell(run, step, summary=f"{step} is done", tags=tags, result=result)
            run.end(step, log=f"the log of {step}")
        run.finish("SUCCEEDED")


@pytest.fixture
def world(lab, monkeypatch):
    made = []

    def script(run):
        made[0].script(run)

    with fake_kubeflow(script) as fake:
        made.append(World(lab, fake, monkeypatch))
        made[0].script = made[0].released
        yield made[0]


def test_a_run_is_followed_to_its_release_as_if_it_had_been_here(world):
    world.deliver()
    done = world.run()

    assert done.outcome == "released"
    assert done.commit == "c" * 40
    assert list(done.steps) == STEPS
    assert [(record.step, record.summary) for record in world.heard if record.event == "finished"] == [
        (step, f"{step} is done") for step in STEPS
    ]
    assert read_run(done.folder) == done
    log = (done.folder / "log.txt").read_text()
    assert "=== train\nthe log of train\n" in log
    (started,) = world.fake.runs.values()
    assert started.run.display_name == world.asked.run_id
    assert started.run.plugins_input == {"mlflow": {"experiment_name": NAME}}
    assert started.request["environment"] == "staging"


def test_a_rejected_run_ends_at_its_gate(world):
    def script(run):
        world.tell(run, "gate", summary="rejected: 1 of 2 rules failed", result=VERDICT, tags={"gate": "rejected"})
        run.end("gate")
        run.finish("SUCCEEDED")

    world.script = script
    world.deliver()
    done = world.run()
    assert done.outcome == "rejected"
    assert done.results["gate"]["why"] == VERDICT["why"]


def test_a_failed_step_is_told_in_its_own_words_and_gone_on_with(world):
    def script(run):
        world.tell(run, "snapshot", "failed", summary="the warehouse is away")
        run.end("snapshot", "FAILED", error="exit status 1", log="Traceback …")
        run.finish("FAILED")

    world.script = script
    world.deliver()
    done = world.run()
    assert (done.outcome, done.failed_step, done.error) == ("failed", "snapshot", "the warehouse is away")
    client = mlflow_client(world.settings.tracking_uri)
    (tracked,) = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    assert tracked.info.status == "FAILED"

    world.script = world.released
    again = world.resume(done.request.run_id)
    assert again.outcome == "released"
    assert [run.retried for run in world.fake.runs.values()] == [1]


def test_a_container_that_died_without_a_word_is_told_by_what_kubeflow_knows(world):
    def script(run):
        run.end("train", "FAILED", error="OOMKilled")
        run.finish("FAILED")

    world.script = script
    world.deliver()
    done = world.run()
    assert (done.failed_step, done.error) == ("train", "OOMKilled")


def test_without_the_steps_own_words_nothing_is_claimed_and_they_can_be_asked_for_later(world):
    world.script = lambda run: [*(run.end(step) for step in STEPS), run.finish("SUCCEEDED")]
    world.deliver()
    with pytest.raises(TrackingUnavailable, match="MLflow does not say what it came to"):
        world.run()
    (begun,) = world.fake.runs.values()
    world.released(begun)
    assert world.resume(world.asked.run_id).outcome == "released"


def test_a_run_that_never_got_a_pod_says_why(world):
    world.script = lambda run: run.finish("FAILED", error='pods "x" is forbidden: exceeded quota: compute')
    world.deliver()
    done = world.run()
    assert (done.outcome, done.failed_step) == ("failed", "snapshot")
    assert "exceeded quota: compute" in done.error


@pytest.mark.parametrize("stops", [True, False])
def test_on_interrupt_the_run_is_stopped_there_if_that_is_wanted(world, stops):
    interrupted = threading.Event()

    def script(run):
        run.begin("train")
        interrupted.wait(20)

    def hear(_record):
        raise KeyboardInterrupt

    world.script = script
    world.deliver()
    asked = world.lab.request()
    with pytest.raises(KeyboardInterrupt):
        run_to_end(world.runner(), asked, hear, may_stop=lambda: stops)
    (begun,) = world.fake.runs.values()
    interrupted.set()
    assert begun.terminated.is_set() is stops
    assert read_run(world.settings.runs / asked.run_id).outcome == ("interrupted" if stops else "running")


def test_another_machine_can_follow_a_run(world, tmp_path):
    world.deliver()
    finished = world.run()
    elsewhere = world.settings.__class__.load({}, root=world.lab.root, home=tmp_path / "elsewhere")
    elsewhere = elsewhere.__class__(**{**vars(elsewhere), "tracking_uri": world.settings.tracking_uri})
    assert world.runner(elsewhere).find(finished.request.run_id) == finished.request
    assert world.resume(finished.request.run_id, elsewhere).outcome == "released"


def test_one_run_of_a_use_case_at_a_time(world):
    hold = threading.Event()
    world.script = lambda _run: hold.wait(20)
    world.deliver()
    first = world.lab.request()
    world.runner().start(first)
    with pytest.raises(RunInProgress, match=first.run_id):
        world.runner().start(world.lab.request())
    hold.set()


def test_what_git_asks_for_is_run_also_after_a_revert(world):
    world.deliver()
    first = world.compiled.version
    newer = compile_pipeline(world.usecase, "registry.example.com/mlops/pipeline:2")
    world.fake.deliver([pipeline(world.usecase, newer), pipeline_version(world.usecase, newer)])
    assert world.api.version(NAME).name == newer.version != first
    world.fake.deliver([pipeline(world.usecase, world.compiled)])
    assert world.api.version(NAME).name == first
    assert world.api.version(NAME, newer.version).name == newer.version
    with pytest.raises(VersionUnknown, match=f"no version {NAME}-0000"):
        world.api.version(NAME, f"{NAME}-0000")


def test_what_flux_has_not_delivered_cannot_be_run(world):
    with pytest.raises(PipelineNotDelivered, match=f"has no pipeline {NAME}"):
        world.run()
    world.fake.deliver([pipeline(world.usecase, world.compiled)])
    with pytest.raises(PipelineNotDelivered, match="has no version"):
        world.run()


def test_each_trouble_with_the_server_has_a_name(world, monkeypatch):
    world.deliver()
    for status, kind, words in (
        (401, KubeflowLoginWanted, "it wants a token"),
        (403, KubeflowLoginWanted, "it wants a token"),
        (429, QuotaExceeded, "at its limit"),
        (503, KubeflowAway, "not ready"),
        (500, KubeflowError, "answers 500: something broke"),
    ):
        world.fake.answers.append((status, "something broke"))
        with pytest.raises(kind, match=words):
            world.api.version(NAME)
    with pytest.raises(RunUnknown, match="has no run"):
        world.api.run("nobody")
    with pytest.raises(RunUnknown):
        world.runner().find(f"{NAME}-20260101-000000-0000")
    with pytest.raises(KubeflowAway, match="does not answer"):
        KubeflowApi(KubeflowAccess("http://127.0.0.1:9")).version(NAME)
    monkeypatch.delenv("MLOPS_KUBEFLOW_URL")
    with pytest.raises(KubeflowNotSet, match="MLOPS_KUBEFLOW_URL"):
        KubeflowRunner(world.settings).start(world.lab.request())


def test_a_token_is_read_anew_and_never_shown(world, tmp_path):
    world.deliver()
    world.fake.token = "first"
    file = tmp_path / "token"
    file.write_text("first\n")
    access = KubeflowAccess(world.fake.url, token_file=file)
    api = KubeflowApi(access)
    assert api.version(NAME).name == world.compiled.version
    world.fake.token = "second"
    with pytest.raises(KubeflowLoginWanted, match="the token does not allow it") as refused:
        api.version(NAME)
    assert "first" not in str(refused.value)
    file.write_text("second")
    assert api.version(NAME).name == world.compiled.version
    assert "secret" not in repr(KubeflowAccess(world.fake.url, token="secret"))


def test_a_server_that_restarts_is_waited_for(world):
    def script(run):
        world.fake.answers += [(503, "starting")] * 3
        world.released(run)

    world.script = script
    world.deliver()
    assert world.run().outcome == "released"


def test_the_command_line_starts_follows_and_leaves_runs(world, monkeypatch):
    monkeypatch.setenv("MLOPS_ROOT", str(world.lab.root))
    monkeypatch.setenv("MLOPS_HOME", str(world.settings.home))

    def mlops(*words):
        done = CliRunner().invoke(main, words)
        return done.exit_code, done.output

    world.deliver()
    status, told = mlops("run", NAME, "--runner", "kubeflow")
    assert status == 0, told
    assert f"released {NAME}:1 to staging in commit ccccccccc" in told
    status, told = mlops("run", NAME, "--runner", "kubeflow", "--detach")
    assert status == 0, told
    assert f"started {world.compiled.version}" in told
    run_id = told.split("--resume ")[1].split()[0]
    assert mlops("run", NAME, "--runner", "kubeflow", "--resume", run_id)[0] == 0
    assert mlops("run", NAME, "--detach")[0] == 2
