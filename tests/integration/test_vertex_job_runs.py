"""What is submitted to Vertex AI does run: the job's own commands, each in a process with a home of its own.

The fake keeps the job; a stand-in for the backend runs the steps of what was submitted, with secrets from a stand-in
for Secret Manager and real servers for MLflow, the bucket, Git and images. The runner follows it as it would follow
Google.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.release.releases import open_releases
from pipelines.runners.runner import run_to_end
from pipelines.runners.vertex import VertexRunner, job_body
from pipelines.runs.request import RunRequest
from pipelines.runs.shared_journal import SharedJournal
from pipelines.vertex.api import VertexApi
from pipelines.vertex.config import load_config
from pipelines.vertex.pipeline_job import JOB_NAME, SCHEDULED
from tests.fake_secrets import TOKEN as GOOGLE_TOKEN
from tests.fake_secrets import secret_manager
from tests.fake_vertex import FakeVertex
from tests.image_cases import push_base
from tests.kfp_backend import Backend, Processes, Task
from tests.pipeline_cases import NAME, STEPS, Lab, run_here
from tests.stores import TOKEN, Stores, git_server, stores
from tests.vertex_cases import CONFIG, PIPELINES, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECRETS = {
    "MLOPS_GIT_TOKEN": "projects/example-ml/secrets/git/versions/1",
    "AWS_SECRET_ACCESS_KEY": "projects/example-ml/secrets/bucket/versions/latest",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Stores]:
    with stores(tmp_path_factory.mktemp("stores")) as running:
        yield running


@dataclass
class Google:
    """Runs what the fake was given, in the background, and tells the job how it goes."""

    world: World
    place: Processes
    done: dict[str, Task] = field(default_factory=dict)
    thread: threading.Thread | None = None

    def look(self, job: dict[str, Any]) -> None:
        if self.thread is None:
            job["state"] = "PIPELINE_STATE_RUNNING"
            self.thread = threading.Thread(target=self._run, args=(job,))
            self.thread.start()

    def _run(self, job: dict[str, Any]) -> None:
        name = job["name"].rpartition("/")[2]
        tasks = job["jobDetail"]["taskDetails"]

        def told(step: str, task: Task | None) -> None:
            if task is None:
                tasks.append({"taskName": step, "state": "RUNNING", "startTime": _now()})
                return
            tasks[-1] |= {"endTime": _now(), "state": "FAILED" if task.status else "SUCCEEDED"}

        request = job["runtimeConfig"]["parameterValues"]["request"]
        self.done = Backend(job["pipelineSpec"], {}, self.place).run(name, request, told)
        failed = any(task.status for task in self.done.values())
        job["state"] = "PIPELINE_STATE_FAILED" if failed else "PIPELINE_STATE_SUCCEEDED"


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@pytest.fixture
def google(tmp_path, shared) -> Iterator[Google]:
    with contextlib.ExitStack() as stack:
        fake = stack.enter_context(FakeVertex().serve())
        world = World.make(tmp_path / "checkout", fake)
        remote = stack.enter_context(git_server(Path(world.lab.settings.remote)))
        kept = {
            SECRETS["MLOPS_GIT_TOKEN"]: TOKEN,
            SECRETS["AWS_SECRET_ACCESS_KEY"]: shared.keys["AWS_SECRET_ACCESS_KEY"],
        }
        secrets = stack.enter_context(secret_manager(kept))
        plain = {key: value for key, value in shared.keys.items() if key != "AWS_SECRET_ACCESS_KEY"}
        base = push_base(shared.registry.host)
        pipelines = {
            **PIPELINES,
            "variables": {**shared.settings(remote, base), **plain},
            "secrets": SECRETS,
            "scheduled": [NAME],
        }
        world.write_config({**CONFIG, "pipelines": pipelines})
        here = {"MLOPS_VERTEX_SECRETS_API": secrets, "MLOPS_VERTEX_TOKEN": GOOGLE_TOKEN}
        found = Google(world, Processes(tmp_path / "bucket", world.root, {}, more=here))
        fake.on_look_at_job = found.look
        yield found


def test_a_job_on_vertex_releases_what_an_embedded_run_does(google, tmp_path):
    world = google.world
    embedded = Lab(tmp_path / "embedded" / "checkout")
    here = run_here(embedded, embedded.request(seed=7))
    api = VertexApi(world.fake.project, world.fake.region, world.fake.address, lambda: world.fake.token, 0.2)
    told = []
    there = run_to_end(VertexRunner(world.lab.settings, api=api, poll=0.5), world.lab.request(seed=7), told.append)

    assert there.outcome == "released", google.done[list(google.done)[-1]].log
    assert [record.step for record in told if record.event == "finished"] == list(STEPS)
    assert there.results["gate"] == here.results["gate"]
    assert there.results["evaluate"] == here.results["evaluate"]
    released, own = (open_releases(lab.settings).current(NAME, "staging") for lab in (world.lab, embedded))
    assert (released.bento, released.model, released.data) == (own.bento, own.model, own.data)
    assert released.metrics == own.metrics
    assert (there.folder / "evaluation" / "verdict.md").is_file()
    text = json.dumps(world.fake.jobs)
    assert TOKEN not in text
    assert "testsecret22" not in text


def test_a_scheduled_job_names_its_run_itself(google, shared):
    """Only the first step: Vertex AI's part, which is to put the job's name into the command, is played here."""
    world = google.world
    request = RunRequest(usecase=NAME, run_id=SCHEDULED, environment="staging", reason="schedule")
    body = job_body(world.lab.settings, request, load_config(world.root, "staging"))
    spec = json.loads(json.dumps(body["pipelineSpec"]).replace(JOB_NAME, f"{NAME}-20261121030000"))
    backend = Backend(spec, {}, google.place)

    def stop(_step: str, _task: Task | None) -> None:
        backend.stopped = True

    done = backend.run("job", body["runtimeConfig"]["parameterValues"]["request"], stop)
    assert done["snapshot"].status == 0, done["snapshot"].log
    assert SharedJournal(shared.tracking_uri, NAME, f"{NAME}-20261121030000").records_of("snapshot")
