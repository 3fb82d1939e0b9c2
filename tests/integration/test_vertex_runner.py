"""A pipeline on Vertex AI, from the request to its outcome.

The fake runs no container: each look at the job lets the next step end, and what that step would have written is put
into a real MLflow, where the runner reads it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.console import Timeline, make_console
from pipelines.evaluation.gate import RuleResult, Verdict
from pipelines.pipeline.isolation import NotShared
from pipelines.runners import vertex
from pipelines.runners.launch import start
from pipelines.runners.runner import OnRecord, RunInProgress, run_to_end
from pipelines.runs.journal import Journal, Record
from pipelines.runs.remote import read_remote
from pipelines.runs.request import RunRequest
from pipelines.runs.shared_journal import share
from pipelines.runs.tracking import TrackingUnavailable, mlflow_client, publish
from pipelines.settings import Settings
from pipelines.vertex import errors
from tests.fake_vertex import NUMBER, FakeVertex
from tests.pipeline_cases import NAME, STEPS, USECASE
from tests.vertex_cases import CONFIG, PIPELINES, REGISTRY, World

pytestmark = pytest.mark.slow

VARIABLES = {
    "MLOPS_TRACKING_URI": "https://mlflow.example.com",
    "MLOPS_SNAPSHOTS": "gs://example-ml-vertex/snapshots",
    "MLOPS_REMOTE": "https://github.com/example/models",
    "MLOPS_IMAGES": REGISTRY,
    "MLOPS_BASE_IMAGE": f"{REGISTRY}/serving-base@sha256:{'b' * 64}",
}
ON_VERTEX = {**CONFIG, "pipelines": {**PIPELINES, "variables": VARIABLES}}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory) -> str:
    """One MLflow for all tests: setting its database up takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def fake() -> Iterator[FakeVertex]:
    with FakeVertex().serve() as running:
        yield running


@dataclass
class Stage:
    """Plays the steps: one look lets one begin, the next lets it end."""

    fake: FakeVertex
    settings: Settings
    request: RunRequest
    scratch: Path
    fails_in: str = ""
    says_why: bool = True
    rejects: bool = False
    job_error: str = ""

    def play(self, job: dict[str, Any]) -> None:
        if self.job_error:
            job |= {"state": "PIPELINE_STATE_FAILED", "error": {"code": 7, "message": self.job_error}}
            return
        tasks = job["jobDetail"]["taskDetails"]
        if not tasks:
            job["state"] = "PIPELINE_STATE_RUNNING"
            tasks.append({"taskName": NAME, "state": "RUNNING"})  # the pipeline itself is a task, too
        running = next((task for task in tasks[1:] if task["state"] == "RUNNING"), None)
        if running:
            self._end(running, job)
        elif len(tasks) <= len(STEPS):
            tasks.append(self._begun(STEPS[len(tasks) - 1]))
        else:
            job["state"] = "PIPELINE_STATE_SUCCEEDED"

    def _begun(self, step: str) -> dict[str, Any]:
        custom_job = f"projects/{NUMBER}/locations/europe-west4/customJobs/{STEPS.index(step) + 70}"
        detail = {"containerDetail": {"mainJob": custom_job}}
        now = self.fake.clock().isoformat().replace("+00:00", "Z")
        return {"taskName": step, "state": "RUNNING", "startTime": now, "executorDetail": detail}

    def _end(self, task: dict[str, Any], job: dict[str, Any]) -> None:
        step = task["taskName"]
        task["endTime"] = self.fake.clock().isoformat().replace("+00:00", "Z")
        if step == self.fails_in:
            if self.says_why:
                self._say(step, Record(step=step, event="failed", time=2.0, seconds=1.0, summary="roc_auc is NaN"))
            task |= {"state": "FAILED", "error": {"code": 9, "message": "The replica exited with status 1"}}
            job["state"] = "PIPELINE_STATE_FAILED"
            return
        task["state"] = "SUCCEEDED"
        self._say(step, Record(step=step, event="finished", time=2.0, seconds=1.0, **self._said(step)))
        if step == "gate" and self.rejects:
            job["state"] = "PIPELINE_STATE_SUCCEEDED"

    def _said(self, step: str) -> dict[str, Any]:
        if step == "gate":
            broken = RuleResult(
                rule="roc_auc at least 0.7",
                metric="roc_auc",
                value=0.6,
                passed=not self.rejects,
                reason="0.6 is below 0.7",
            )
            judged = Verdict(usecase=NAME, passed=not self.rejects, first_release=True, champion=None, rules=[broken])
            return {"result": judged.model_dump(mode="json"), "summary": "judged"}
        if step == "release":
            return {"tags": {"commit": "c" * 40}, "result": {"bento": f"{NAME}:3"}}
        return {"summary": f"{step} done"}

    def _say(self, step: str, record: Record) -> None:
        folder = self.scratch / step / self.request.run_id
        Journal(folder).append(Record(step=step, event="started", time=1.0))
        Journal(folder).append(record)
        tracking = self.settings.tracking_uri
        share(folder, step, tracking, publish(folder, NAME, tracking, self.scratch / "artifacts"))


@dataclass
class Case:
    world: World
    settings: Settings
    request: RunRequest
    stage: Stage
    told: list[Record]

    def run(self, on_record: OnRecord | None = None, **options):
        runner = vertex.VertexRunner(self.settings, api=self.world.api, poll=0.01)
        return run_to_end(runner, self.request, on_record or self.told.append, **options)


@pytest.fixture
def case(tmp_path, fake, tracking) -> Case:
    world = World.make(tmp_path / "checkout", fake)
    world.write_config(ON_VERTEX)
    settings = replace(world.lab.settings, tracking_uri=tracking)
    request = world.lab.request()
    stage = Stage(fake, settings, request, tmp_path)
    fake.on_look_at_job = stage.play
    return Case(world, settings, request, stage, [])


def test_a_run_is_followed_to_its_release(case, fake):
    found = case.run()

    assert (found.outcome, found.commit) == ("released", "c" * 40)
    assert list(found.steps) == list(STEPS)
    assert [each.step for each in case.told if each.event == "finished"] == list(STEPS)
    assert fake.changes == ["CreatePipelineJob"]
    assert case.request.run_id in fake.jobs


def test_what_is_submitted(case, fake):
    case.run()
    job = fake.jobs[case.request.run_id]

    assert job["serviceAccount"] == PIPELINES["service_account"]
    assert job["runtimeConfig"]["gcsOutputDirectory"] == PIPELINES["bucket"]
    assert job["runtimeConfig"]["parameterValues"]["request"]["run_id"] == case.request.run_id
    assert job["labels"]["usecase"] == NAME
    assert job["labels"]["environment"] == "staging"


def test_people_find_the_job_and_its_logs(case):
    found = case.run()
    log = (found.folder / "log.txt").read_text()
    remote = read_remote(found.folder)

    assert remote is not None
    assert remote.page.endswith(f"/pipelines/runs/{case.request.run_id}?project=example-ml")
    assert remote.page in log
    assert "job_id%3D%2272%22" in log  # the container of the third step, train


def test_a_rejected_model_is_no_failure(case):
    case.stage.rejects = True
    assert case.run().outcome == "rejected"


def test_a_step_that_fails_is_told_in_its_own_words_with_the_log(case):
    case.stage.fails_in = "train"
    found = case.run()

    assert (found.outcome, found.failed_step) == ("failed", "train")
    assert found.error.startswith("roc_auc is NaN\n  log: https://console.cloud.google.com/logs/query")
    assert list(found.steps) == ["snapshot", "validate"]


def test_a_container_that_dies_without_a_word_is_told_in_vertex_s_words(case):
    case.stage.fails_in, case.stage.says_why = "train", False
    found = case.run()
    assert found.error.startswith("The replica exited with status 1\n  log: https://console.cloud.google.com/logs")


def test_a_job_that_fails_before_any_step_is_told_too(case):
    case.stage.job_error = "The caller may not act as vertex@example-ml.iam.gserviceaccount.com"
    found = case.run()

    assert (found.outcome, found.failed_step) == ("failed", "snapshot")
    assert "may not act as" in found.error
    assert "/pipelines/runs/" in found.error


def test_ctrl_c_cancels_the_job(case, fake):
    def interrupt(record: Record) -> None:
        if record.step == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.run(interrupt)
    assert fake.jobs[case.request.run_id]["state"] == "PIPELINE_STATE_CANCELLED"
    assert fake.changes == ["CreatePipelineJob", "CancelPipelineJob"]


def test_ctrl_c_may_leave_the_job_and_a_second_call_follows_it(case, fake):
    def interrupt(record: Record) -> None:
        if record.step == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.run(interrupt, may_stop=lambda: False)

    found = case.run()
    assert found.outcome == "released"
    assert list(fake.jobs) == [case.request.run_id]
    assert sum(record.event == "finished" for record in Journal(found.folder).records()) == len(STEPS)


def test_a_run_that_was_cancelled_is_not_gone_on_with(case):
    def interrupt(_: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.run(interrupt)
    with pytest.raises(errors.RunAlreadyThere, match="start a new run"):
        case.run()


def test_one_run_of_a_use_case_at_a_time(case, fake):
    with pytest.raises(KeyboardInterrupt):
        case.run(_interrupt, may_stop=lambda: False)
    case.request = case.world.lab.request()
    with pytest.raises(RunInProgress, match="under way on Vertex AI"):
        case.run()
    assert len(fake.jobs) == 1


def _interrupt(_: Record) -> None:
    raise KeyboardInterrupt


def test_a_lost_answer_starts_no_second_job(case, fake):
    fake.lose_answers = 1
    assert case.run().outcome == "released"
    assert len(fake.jobs) == 1


def test_a_job_of_that_name_that_is_somebody_else_s_is_left_alone(case, fake):
    fake.on_look_at_job = lambda job: None
    fake.jobs[case.request.run_id] = {
        "name": f"{fake.parent}/pipelineJobs/{case.request.run_id}",
        "state": "PIPELINE_STATE_RUNNING",
    }
    with pytest.raises(errors.RunAlreadyThere, match="did not start"):
        case.run()


def test_a_stumble_while_following_ends_nothing(case, fake):
    play = fake.on_look_at_job

    def stumbling(job):
        fake.failures.append((503, {}, {}))
        play(job)

    fake.on_look_at_job = stumbling
    assert case.run().outcome == "released"


def test_an_outage_of_a_while_ends_nothing(case, fake):
    play, looks = fake.on_look_at_job, []

    def away(job):
        looks.append(job)
        if len(looks) == 3:
            fake.failures += [(503, {}, {})] * 6  # more than one look tries
        play(job)

    fake.on_look_at_job = away
    found = case.run()
    assert found.outcome == "released"
    assert "503" in (found.folder / "log.txt").read_text()


def test_an_outage_that_lasts_says_that_the_job_goes_on(case, fake, monkeypatch, caplog):
    monkeypatch.setattr(vertex, "AWAY_SECONDS", 0.0)
    fake.on_look_at_job = lambda job: fake.failures.extend([(503, {}, {})] * 100)
    runner = vertex.VertexRunner(case.settings, api=case.world.api, poll=0.01)
    with pytest.raises(errors.VertexUnreachable):
        start(case.settings, case.request, Timeline(make_console()), runner)
    assert f"--resume {case.request.run_id} --runner vertex` follows it" in caplog.text


def test_ctrl_c_when_vertex_is_away_says_that_the_job_goes_on(case, fake, caplog):
    def interrupt(record: Record) -> None:
        fake.failures.extend([(403, {}, {"message": "no right to cancel"})])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.run(interrupt)
    assert "it could not be stopped and goes on" in caplog.text


@pytest.mark.parametrize(
    ("part", "status", "told"),
    [
        ({}, 0, f"released {NAME}:3 to staging in commit ccccccccc"),
        ({"rejects": True}, 3, "rejected by its gate"),
        ({"fails_in": "train"}, 1, "train: roc_auc is NaN"),
    ],
    ids=["released", "rejected", "failed"],
)
def test_the_command_ends_as_any_run_does(case, fake, tracking, monkeypatch, part, status, told):
    for name, value in {**fake.environment(), "MLOPS_TRACKING_URI": tracking, "MLOPS_RUNNER": "vertex"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(vertex, "POLL_SECONDS", 0.01)
    stage = Stage(fake, case.settings, case.request, case.stage.scratch, **part)

    def play(job: dict[str, Any]) -> None:
        stage.request = case.request.model_copy(update={"run_id": job["name"].rpartition("/")[2]})
        stage.play(job)

    fake.on_look_at_job = play
    done = CliRunner().invoke(main, ["--root", str(case.world.root), "run", NAME])
    assert done.exit_code == status, done.output
    assert told in done.output
    assert "goes on with the failed step" not in done.output  # Vertex AI does not


def test_a_run_can_be_left_to_vertex_and_followed_later(case, fake, tracking, monkeypatch):
    for name, value in {**fake.environment(), "MLOPS_TRACKING_URI": tracking, "MLOPS_RUNNER": "vertex"}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, ["--root", str(case.world.root), "run", NAME, "--detach"])
    assert done.exit_code == 0, done.output
    (job,) = fake.jobs
    assert f"--resume {job} --runner vertex` follows it" in done.output
    case.request = case.stage.request = case.request.model_copy(update={"run_id": job})
    assert case.run(resume=True).outcome == "released"
    assert list(fake.jobs) == [job]


def test_a_quota_is_told(case, fake):
    fake.failures += [(429, {"Retry-After": "7200"}, {"message": "Quota exceeded for custom_model_training_cpus"})]
    with pytest.raises(errors.VertexQuota, match="custom_model_training_cpus"):
        case.run()


def test_records_that_mlflow_does_not_have_are_not_made_up(case, fake):
    case.stage._say = lambda step, record: None
    with pytest.raises(TrackingUnavailable, match="MLflow does not say what it came to"):
        case.run()


def test_stores_that_no_step_could_reach_are_refused_before_anything_is_asked(case, fake):
    case.world.write_config(
        {**ON_VERTEX, "pipelines": {**PIPELINES, "variables": {**VARIABLES, "MLOPS_REMOTE": "/srv/git"}}}
    )
    with pytest.raises(NotShared, match="MLOPS_REMOTE"):
        case.run()
    assert fake.requests == []


def test_an_environment_without_pipelines_on_vertex_says_so(case):
    case.world.write_config({key: value for key, value in CONFIG.items() if key != "pipelines"})
    with pytest.raises(errors.VertexNotConfigured, match="no `pipelines`"):
        case.run()


def test_an_image_that_the_environment_does_not_have(case):
    case.world.lab.write_usecase({**USECASE, "pipeline": {"image": "tensorflow"}})
    with pytest.raises(errors.PipelineNotForVertex, match="'tensorflow'"):
        case.run()


def test_mlflow_knows_how_the_run_ended(case, tracking):
    case.stage.fails_in, case.stage.says_why = "train", False
    case.run()
    client = mlflow_client(tracking)
    experiment = client.get_experiment_by_name(NAME)
    (known,) = client.search_runs([experiment.experiment_id], f"tags.`mlops.run` = '{case.request.run_id}'")
    assert known.info.status == "FAILED"
