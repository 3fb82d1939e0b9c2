"""`mlops vertex reconcile` as people and CI call it: endpoints, schedules, exit status."""

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from tests.fake_vertex import FakeVertex
from tests.pipeline_cases import NAME, USECASE, git
from tests.vertex_cases import CONFIG, PIPELINES, World

pytestmark = pytest.mark.slow

VARIABLES = {
    "MLOPS_TRACKING_URI": "https://mlflow.example.com",
    "MLOPS_SNAPSHOTS": "gs://example-ml-vertex/snapshots",
    "MLOPS_REMOTE": "https://github.com/example/models",
    "MLOPS_IMAGES": "europe-west4-docker.pkg.dev/example-ml/models",
    "MLOPS_BASE_IMAGE": f"europe-west4-docker.pkg.dev/example-ml/models/base@sha256:{'b' * 64}",
}
SCHEDULED = {**CONFIG, "pipelines": {**PIPELINES, "variables": VARIABLES, "scheduled": [NAME]}}


@pytest.fixture
def fake():
    with FakeVertex(looks=1).serve() as running:
        yield running


@pytest.fixture
def world(tmp_path, fake, monkeypatch):
    for name, value in fake.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipelines.vertex.api.FIRST_PAUSE", 0.01)
    made = World.make(tmp_path / "checkout", fake)
    fake.clock = lambda: datetime.now(UTC)  # the command has no other
    return made


def call(world: World, *words: str):
    return CliRunner().invoke(main, ["--root", str(world.root), "vertex", "reconcile", *words])


def schedule(world: World, cron: str | None, **more) -> None:
    world.lab.write_usecase({**USECASE, "retrain": {"schedule": cron, **more}})


def test_a_check_says_what_is_to_be_done_and_does_nothing(world, fake):
    world.release(1)
    done = call(world, "--check")

    assert done.exit_code == 4, done.output
    assert "plan 1. create the endpoint" in done.output
    assert fake.changes == []


def test_vertex_is_made_what_git_says(world, fake):
    world.release(1)
    done = call(world)

    assert done.exit_code == 0, done.output
    assert f"changed: {NAME}:1 is served" in done.output
    assert world.serving == {f"{NAME}:1": 100}
    again = call(world, "--check")
    assert again.exit_code == 0, again.output


def test_a_canary_that_is_not_waited_for_is_not_yet(world):
    world.release(1)
    call(world)
    world.release(2)
    done = call(world, "--no-wait")

    assert done.exit_code == 4, done.output
    assert world.serving == {f"{NAME}:1": 90, f"{NAME}:2": 10}


def test_what_is_taken_off_the_list_is_undeployed(world, fake):
    world.release(1)
    call(world)
    world.write_config({**CONFIG, "endpoints": {"usecases": []}})
    done = call(world)

    assert done.exit_code == 0, done.output
    assert fake.endpoints[f"{NAME}-staging"]["deployedModels"] == []


def test_one_that_fails_is_an_exit_status(world, fake):
    world.release(1)
    fake.fail_operations += [None, None, {"code": 8, "message": "out of stock"}]
    done = call(world)
    assert done.exit_code == 1
    assert "out of stock" in done.output


def test_a_name_that_is_not_listed(world):
    done = call(world, "other")
    assert done.exit_code == 1
    assert "other is not served by Vertex AI in staging" in done.output


def test_an_environment_that_is_not_on_vertex(world):
    done = call(world, "--environment", "production")
    assert done.exit_code == 1
    assert "vertex/production.yaml does not exist" in done.output


# --- schedules -------------------------------------------------------------------------------------------------


@pytest.fixture
def scheduled(world):
    world.write_config(SCHEDULED)
    schedule(world, "0 3 * * 1")
    return world


def test_a_schedule_is_made_once(scheduled, fake):
    assert call(scheduled).exit_code == 0
    (made,) = fake.schedules.values()

    assert made["displayName"].startswith(f"mlops: {NAME} in staging [")
    assert made["cron"] == "0 3 * * 1"
    assert (made["maxConcurrentRunCount"], made["maxConcurrentActiveRunCount"]) == ("1", "1")
    request = made["createPipelineJobRequest"]["pipelineJob"]["runtimeConfig"]["parameterValues"]["request"]
    assert (request["usecase"], request["reason"]) == (NAME, "schedule")
    call(scheduled)
    assert fake.changes == ["CreateSchedule"]


def test_a_schedule_follows_usecase_yaml(scheduled, fake):
    call(scheduled)
    schedule(scheduled, "0 4 * * *")
    done = call(scheduled, "--check")
    assert done.exit_code == 4
    assert "plan: update the schedule" in done.output

    call(scheduled)
    assert [each["cron"] for each in fake.schedules.values()] == ["0 4 * * *"]
    assert call(scheduled, "--check").exit_code == 0


def test_another_image_is_another_content_of_the_schedule(scheduled, fake):
    call(scheduled)
    newer = {"default": PIPELINES["images"]["default"].replace("e" * 64, "f" * 64)}
    scheduled.write_config({**SCHEDULED, "pipelines": {**SCHEDULED["pipelines"], "images": newer}})
    call(scheduled)
    assert fake.changes == ["CreateSchedule", "UpdateSchedule"]
    assert "f" * 64 in str(fake.schedules)


@pytest.mark.parametrize("how", ["null", "suspended", "unlisted"])
def test_a_schedule_that_git_no_longer_has_is_deleted(scheduled, fake, how):
    call(scheduled)
    if how == "unlisted":
        scheduled.write_config({**SCHEDULED, "pipelines": {**SCHEDULED["pipelines"], "scheduled": []}})
    else:
        schedule(
            scheduled, None if how == "null" else "0 3 * * 1", **({"suspended": True} if how == "suspended" else {})
        )
    done = call(scheduled)
    assert done.exit_code == 0, done.output
    assert fake.schedules == {}


def test_a_schedule_that_somebody_paused_is_resumed(scheduled, fake):
    call(scheduled)
    next(iter(fake.schedules.values()))["state"] = "PAUSED"
    call(scheduled)
    assert [each["state"] for each in fake.schedules.values()] == ["ACTIVE"]


def test_a_second_schedule_of_a_lost_answer_is_deleted_and_others_are_left_alone(scheduled, fake):
    call(scheduled)
    (made,) = fake.schedules.values()
    for number, title in (("7", made["displayName"]), ("8", "somebody's own"), ("9", f"mlops: {NAME} in production")):
        fake.schedules[number] = {**made, "name": f"{fake.parent}/schedules/{number}", "displayName": title}
    call(scheduled)
    left = sorted(each["displayName"] for each in fake.schedules.values())
    assert left == [f"mlops: {NAME} in production", made["displayName"], "somebody's own"]


def test_with_names_schedules_are_not_touched(scheduled, fake):
    scheduled.release(1)
    schedule(scheduled, "0 3 * * 1")
    git(scheduled.root, "commit", "-qam", "schedule")
    assert call(scheduled, NAME).exit_code == 0
    assert fake.schedules == {}
