"""Vertex AI follows Git: what a reconcile does to a fake that holds every request to the API's message types."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.vertex import errors
from pipelines.vertex.reconcile import strays, work_out
from tests.fake_vertex import FakeVertex
from tests.pipeline_cases import NAME, git
from tests.vertex_cases import CONFIG, REGISTRY, World, released

ENDPOINT = f"{NAME}-staging"


@pytest.fixture
def fake():
    with FakeVertex().serve() as running:
        yield running


@pytest.fixture
def world(tmp_path, fake):
    return World.make(tmp_path / "checkout", fake)


class Killed(BaseException):
    """As SIGKILL would: nothing of the run goes on."""


def killed_at(world: World, change: str) -> None:
    """Reconcile, and die right after asking for this change."""
    seen = len(world.fake.requests)

    def die(seconds: float) -> None:
        if change in world.fake.requests[seen:]:
            raise Killed
        world.clock.now = world.clock.now.__class__.fromtimestamp(
            world.clock.now.timestamp() + seconds, world.clock.now.tzinfo
        )

    api = world.api
    api.sleep = die
    from pipelines.vertex.reconcile import reconcile

    with pytest.raises(Killed):
        reconcile(api, world.target, world.said.append, clock=world.clock)


# --- the way of a release -------------------------------------------------------------------------------------


def test_the_first_release_gets_an_endpoint_and_all_traffic(world, fake):
    commit = world.release(1)

    assert world.reconcile() == "changed"
    assert fake.changes == ["CreateEndpoint", "UploadModel", "DeployModel", "UpdateEndpoint"]
    assert world.serving == {f"{NAME}:1": 100}
    assert world.plan == [
        "create the endpoint",
        f"upload {REGISTRY}/{NAME}@sha256:{1:064x}",
        "deploy it on 1 to 2 e2-highcpu-2, 100 % of the traffic",
        f"label the endpoint with {NAME}_1",
    ]
    assert fake.endpoints[ENDPOINT]["labels"] == {
        "managed_by": "mlops-blueprint",
        "usecase": NAME,
        "environment": "staging",
        "bento": f"{NAME}_1",
        "image_digest": f"{1:064x}"[:63],
        "release_commit": commit,
    }


def test_a_version_is_the_image_by_digest_with_the_routes_of_the_server(world, fake):
    world.release(1)
    world.reconcile()

    (version,) = fake.models[ENDPOINT]
    assert version["containerSpec"] == {
        "imageUri": released(1).image,
        "ports": [{"containerPort": 3000}],
        "predictRoute": "/predict",
        "healthRoute": "/readyz",
        "env": [{"name": "MLOPS_ENVIRONMENT", "value": "staging"}, {"name": "MLOPS_LOG_FORMAT", "value": "json"}],
    }
    assert f"sha256-{1:064x}" in version["versionAliases"]


def test_a_second_reconcile_has_nothing_to_do(world, fake):
    world.release(1)
    world.reconcile()
    fake.requests.clear()

    assert world.reconcile() == "unchanged"
    assert fake.changes == []
    assert world.said == []


def test_a_new_version_is_a_canary_first_and_then_alone(world, fake):
    world.release(1)
    world.reconcile()
    world.release(2)
    fake.requests.clear()

    assert world.reconcile(wait=False) == "holding"
    assert world.serving == {f"{NAME}:1": 90, f"{NAME}:2": 10}

    assert world.reconcile() == "changed"
    assert world.serving == {f"{NAME}:2": 100}
    assert max(world.clock.slept) > 500
    assert fake.changes == ["UploadModel", "DeployModel", "UpdateEndpoint", "UndeployModel", "UpdateEndpoint"]


def test_a_canary_that_was_held_by_an_earlier_run_is_not_held_again(world):
    world.release(1)
    world.reconcile()
    world.release(2)
    world.reconcile(wait=False)
    world.clock.sleep(3600)
    world.clock.slept.clear()

    assert world.reconcile() == "changed"
    assert max(world.clock.slept, default=0) < 60
    assert world.serving == {f"{NAME}:2": 100}


def test_a_rollback_of_a_canary_takes_all_traffic_back_at_once(world, fake):
    world.release(1)
    world.reconcile()
    world.release(2)
    world.reconcile(wait=False)
    commit = world.roll_back()
    fake.requests.clear()

    assert world.reconcile() == "changed"
    assert fake.changes == ["UpdateEndpoint", "UndeployModel", "UpdateEndpoint"]
    assert world.serving == {f"{NAME}:1": 100}
    assert fake.endpoints[ENDPOINT]["labels"]["release_commit"] == commit


def test_a_later_rollback_deploys_the_old_image_again_without_an_upload_or_a_canary(world, fake):
    world.release(1)
    world.reconcile()
    world.release(2)
    world.reconcile()
    world.roll_back()
    fake.requests.clear()

    assert world.reconcile() == "changed"
    assert fake.changes == ["DeployModel", "UndeployModel", "UpdateEndpoint"]
    assert world.serving == {f"{NAME}:1": 100}
    assert len(fake.models[ENDPOINT]) == 2


def test_a_release_in_the_middle_of_a_canary_takes_the_canary_s_place(world):
    world.release(1)
    world.reconcile()
    world.release(2)
    world.reconcile(wait=False)
    world.release(3)

    assert world.reconcile(wait=False) == "holding"
    assert world.serving == {f"{NAME}:1": 90, f"{NAME}:3": 10}


def test_the_same_release_by_another_commit_is_a_label_and_no_deployment(world, fake):
    world.release(1)
    world.reconcile()
    path = f"apps/{NAME}/staging/release.yaml"
    text = (world.root / path).read_text().replace("roc_auc=0.9000", "roc_auc=0.9100")
    (world.root / path).write_text(text)
    git(world.root, "commit", "-qam", "a metric, corrected")
    fake.requests.clear()

    world.reconcile()
    assert fake.changes == ["UpdateEndpoint"]


def test_replicas_follow_usecase_yaml_without_a_deployment(world, fake):
    world.release(1)
    world.reconcile()
    overlay = world.root / "apps" / NAME / "staging" / "overrides.yaml"
    overlay.write_text("apiVersion: mlops-blueprint/v1\nserving: {replicas: [2, 8]}\n")
    fake.requests.clear()

    world.reconcile()
    resources = fake.endpoints[ENDPOINT]["deployedModels"][0]["dedicatedResources"]
    assert (resources["minReplicaCount"], resources["maxReplicaCount"]) == (2, 8)
    assert "DeployModel" not in fake.changes


def test_another_machine_is_another_deployment_of_the_same_version(world, fake):
    world.release(1)
    world.reconcile()
    overlay = world.root / "apps" / NAME / "staging" / "overrides.yaml"
    overlay.write_text('apiVersion: mlops-blueprint/v1\nserving: {memory: "12Gi"}\n')
    fake.requests.clear()

    world.reconcile()
    (deployed,) = fake.endpoints[ENDPOINT]["deployedModels"]
    assert deployed["dedicatedResources"]["machineSpec"]["machineType"] == "e2-highmem-2"
    assert "UploadModel" not in fake.changes


def test_a_release_that_is_deleted_is_undeployed_and_the_endpoint_stays(world, fake):
    world.release(1)
    world.reconcile()
    git(world.root, "rm", "-q", f"apps/{NAME}/staging/release.yaml")
    git(world.root, "commit", "-qm", "stop")

    assert world.reconcile() == "changed"
    assert fake.endpoints[ENDPOINT]["deployedModels"] == []
    assert "bento" not in fake.endpoints[ENDPOINT]["labels"]
    assert world.reconcile() == "unchanged"


def test_a_release_that_is_deleted_in_the_middle_of_a_canary(world, fake):
    world.release(1)
    world.reconcile()
    world.release(2)
    world.reconcile(wait=False)
    git(world.root, "rm", "-q", f"apps/{NAME}/staging/release.yaml")
    git(world.root, "commit", "-qm", "stop")

    world.reconcile()
    assert fake.endpoints[ENDPOINT]["deployedModels"] == []


def test_an_endpoint_that_is_no_longer_listed_is_found_among_many(world, fake):
    world.release(1)
    world.reconcile()
    for number in range(5):
        labels = {"managed_by": "somebody", "environment": "staging", "usecase": NAME}
        fake.endpoints[f"other-{number}"] = {
            "displayName": "x",
            "name": f"{fake.parent}/endpoints/o{number}",
            "labels": labels,
        }

    assert [each.usecase for each in strays(world.api, "staging", [])] == [NAME]
    assert strays(world.api, "staging", [NAME]) == []
    assert strays(world.api, "production", []) == []


def test_what_somebody_deployed_by_hand_beside_it_goes(world, fake):
    world.release(1)
    world.reconcile()
    endpoint = fake.endpoints[ENDPOINT]
    endpoint["deployedModels"].append(
        {"id": "77", "model": "projects/1/locations/x/models/strange", "modelVersionId": "1"}
    )
    endpoint["trafficSplit"] = {"77": 50, endpoint["deployedModels"][0]["id"]: 50}

    world.reconcile()
    assert world.serving == {f"{NAME}:1": 100}


def test_a_check_changes_nothing(world, fake):
    world.release(1)
    assert len(work_out(world.api, world.target, world.clock)) == 4
    assert fake.changes == []


def test_keys_and_accounts_are_passed_on(world, fake):
    key = "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"
    account = "serving@example-ml.iam.gserviceaccount.com"
    world.write_config({**CONFIG, "key": key, "endpoints": {"usecases": [NAME], "service_account": account}})
    world.release(1)
    world.reconcile()

    assert fake.endpoints[ENDPOINT]["encryptionSpec"] == {"kmsKeyName": key}
    assert fake.models[ENDPOINT][0]["encryptionSpec"] == {"kmsKeyName": key}
    assert fake.endpoints[ENDPOINT]["deployedModels"][0]["serviceAccount"] == account


def test_another_account_is_another_deployment(world, fake):
    world.release(1)
    world.reconcile()
    account = "serving@example-ml.iam.gserviceaccount.com"
    world.write_config({**CONFIG, "endpoints": {**CONFIG["endpoints"], "service_account": account}})

    world.reconcile()
    assert [each["serviceAccount"] for each in fake.endpoints[ENDPOINT]["deployedModels"]] == [account]
    assert world.reconcile() == "unchanged"


def test_another_key_is_told_and_not_left_out(world):
    world.release(1)
    world.reconcile()
    world.write_config({**CONFIG, "key": "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"})
    with pytest.raises(errors.KeyIsFixed, match="keeps the key it was made with"):
        world.reconcile()


# --- killed and gone on with ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["CreateEndpoint", "UploadModel", "DeployModel"])
def test_a_run_that_is_killed_is_gone_on_with_and_nothing_is_done_twice(world, fake, change):
    world.release(1)
    killed_at(world, change)

    world.reconcile()
    assert fake.changes == ["CreateEndpoint", "UploadModel", "DeployModel", "UpdateEndpoint"]
    assert world.serving == {f"{NAME}:1": 100}
    assert any("an earlier run had begun" in line for line in world.said)


@pytest.mark.parametrize("change", ["UploadModel", "DeployModel", "UndeployModel"])
def test_a_rollout_that_is_killed_is_gone_on_with(world, fake, change):
    world.release(1)
    world.reconcile()
    world.release(2)
    killed_at(world, change)

    world.reconcile()
    assert fake.changes.count("UploadModel") == 2
    assert fake.changes.count("DeployModel") == 2
    assert world.serving == {f"{NAME}:2": 100}


@pytest.mark.parametrize("lost", range(4))
def test_a_lost_answer_is_followed_by_a_look_and_not_by_a_second_deployment(world, fake, lost):
    """The n-th change happens, and nobody hears of it."""
    world.release(1)
    count = iter(range(100))
    answer = fake.answer

    def counting(method, *rest):
        if method != "GET" and next(count) == lost:
            fake.lose_answers = 1
        return answer(method, *rest)

    fake.answer = counting
    world.reconcile()
    assert fake.changes == ["CreateEndpoint", "UploadModel", "DeployModel", "UpdateEndpoint"]
    assert any("looking again" in line for line in world.said)


# --- what goes wrong --------------------------------------------------------------------------------------------


def refusal(code: int, message: str = "no", headers: dict | None = None, **more) -> tuple:
    return code, headers or {}, {"message": message, **more}


@pytest.mark.parametrize(
    ("failure", "kind", "told"),
    [
        (refusal(401, status="UNAUTHENTICATED"), errors.VertexLoginRefused, "log in again"),
        (refusal(403, status="PERMISSION_DENIED"), errors.VertexNotAllowed, "roles/aiplatform.user"),
        (
            refusal(403, details=[{"reason": "SERVICE_DISABLED"}]),
            errors.VertexNotAllowed,
            "gcloud services enable aiplatform.googleapis.com",
        ),
        (
            refusal(
                403,
                details=[
                    {"reason": "IAM_PERMISSION_DENIED", "metadata": {"permission": "aiplatform.endpoints.get"}},
                ],
            ),
            errors.VertexNotAllowed,
            "aiplatform.endpoints.get",
        ),
        (refusal(400, "bad field", status="INVALID_ARGUMENT"), errors.VertexRefused, "bad field"),
        (refusal(429, headers={"Retry-After": "3600"}), errors.VertexQuota, "higher quota"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(world, fake, failure, kind, told):
    world.release(1)
    fake.failures.append(failure)
    with pytest.raises(kind) as refused:
        world.reconcile()
    assert told in str(refused.value)
    assert fake.changes in ([], ["Refused401"], ["Refused403"], ["Refused400"], ["Refused429"])


def test_a_project_that_is_not_there(world, fake):
    fake.failures.append(refusal(404, "Project example-ml is not found", status="NOT_FOUND"))
    with pytest.raises(errors.VertexNotFound, match="project, region and name"):
        strays(world.api, "staging", [])


def test_conflicts_without_an_end_are_told(world, fake):
    world.release(1)
    answer = fake.answer

    def conflicting(method, *rest):
        if method == "POST":
            return 409, {}, {"error": {"code": 409, "message": "concurrent change", "status": "ABORTED"}}
        return answer(method, *rest)

    fake.answer = conflicting
    with pytest.raises(errors.VertexConflict, match="concurrent change"):
        world.reconcile()
    assert sum("looking again" in line for line in world.said) == 3


def test_an_address_that_is_a_web_page(world):
    class Page(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        api = world.api
        api.address = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(errors.VertexUnreachable, match="answered with no JSON"):
            strays(api, "staging", [])
        server.shutdown()


def test_a_login_that_is_none_is_refused(world, fake):
    world.release(1)
    fake.token = "ya29.other"
    api = world.api
    api.token = lambda: "ya29.expired"
    with pytest.raises(errors.VertexLoginRefused):
        work_out(api, world.target, world.clock)


def test_a_quota_that_says_when_is_waited_for(world, fake):
    world.release(1)
    fake.failures.append(refusal(429, headers={"Retry-After": "7"}))
    assert world.reconcile() == "changed"
    assert 7.0 in world.clock.slept


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_look_is_tried_again_when_the_api_stumbles(world, fake, status):
    world.release(1)
    fake.failures += [refusal(status), refusal(status)]
    assert world.reconcile() == "changed"


def test_an_outage_ends_with_an_error(world, fake):
    world.release(1)
    fake.failures += [refusal(503)] * 10
    with pytest.raises(errors.VertexUnreachable, match="503"):
        world.reconcile()


def test_nobody_answers(world, fake):
    world.release(1)
    api = world.api
    api.address = "http://127.0.0.1:9"
    with pytest.raises(errors.VertexUnreachable, match="does not answer"):
        work_out(api, world.target, world.clock)


def test_a_deployment_that_fails_leaves_the_old_version_serving(world, fake):
    world.release(1)
    world.reconcile()
    world.release(2)
    fake.fail_operations += [None, {"code": 9, "message": "Model server never became ready"}]
    with pytest.raises(errors.OperationFailed, match="Model server never became ready"):
        world.reconcile()
    assert world.serving == {f"{NAME}:1": 100}

    assert world.reconcile() == "changed"
    assert world.serving == {f"{NAME}:2": 100}


def test_somebody_else_changes_the_endpoint_meanwhile(world, fake):
    world.release(1)
    world.reconcile()
    world.release(2)
    world.reconcile(wait=False)
    world.clock.sleep(900)
    answer, changed = fake.answer, []

    def another(method, *rest):
        if method == "PATCH" and not changed:
            changed.append(True)
            fake.endpoints[ENDPOINT]["etag"] = "theirs"
        return answer(method, *rest)

    fake.answer = another
    assert world.reconcile() == "changed"
    assert world.serving == {f"{NAME}:2": 100}
    assert any("looking again" in line for line in world.said)


def test_two_who_pull_in_two_directions_end_with_an_error(world, fake):
    world.release(1)
    world.reconcile()
    fake.endpoints[ENDPOINT]["labels"] = {}
    answer = fake.answer

    def undoing(method, *rest):
        told = answer(method, *rest)
        fake.endpoints[ENDPOINT]["labels"] = {}
        return told

    fake.answer = undoing
    with pytest.raises(errors.NotSettling):
        world.reconcile()


def test_an_operation_that_does_not_end_is_left_to_the_next_run(world, fake, monkeypatch):
    world.release(1)
    fake.looks = 10_000
    monkeypatch.setattr("pipelines.vertex.endpoints.OPERATION_SECONDS", 0.0)
    with pytest.raises(errors.OperationTooLong, match="goes on"):
        world.reconcile()


# --- what Git says ---------------------------------------------------------------------------------------------


def test_a_release_that_is_not_committed_is_not_deployed(world):
    world.release(1)
    path = world.root / "apps" / NAME / "staging" / "release.yaml"
    path.write_text(released(2).to_yaml())
    with pytest.raises(errors.ReleaseNotCommitted, match="not as Git has it"):
        world.target  # noqa: B018


def test_a_shallow_checkout_is_refused(world, tmp_path):
    world.release(1)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{world.root}", str(shallow))
    from pipelines.vertex.target import read_target

    with pytest.raises(errors.ReleaseNotCommitted, match="fetch-depth: 0"):
        read_target(shallow, NAME, "staging", world.config)


def test_an_image_that_vertex_cannot_take_is_refused(world):
    elsewhere = released(1).model_copy(update={"image": f"bentos/{NAME}@sha256:{'a' * 64}"})
    world.releases.bump(NAME, "staging", elsewhere, "a test")
    world.pull()
    with pytest.raises(errors.ImageElsewhere, match="Artifact Registry"):
        world.target  # noqa: B018
