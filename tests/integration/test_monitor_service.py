"""The monitor as others meet it: what it takes, what it refuses, what it does by itself, and what it gets over."""

import gzip
from datetime import timedelta

import pytest

from pipelines.assessment.worker import JudgedUsecase
from pipelines.monitor.options import Options
from tests.databases import postgres
from tests.monitor_cases import (
    LOGIN,
    TOKEN,
    USECASE,
    Service,
    Told,
    alert,
    judged,
    released,
    webhook,
)
from tests.recording_cases import FLIGHT, flights
from tests.serving import wait_until


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path, told=Told(folders={f"{USECASE}:7": tmp_path})) as made:
        yield made


def requests(service):
    return service.monitor.triggers.newest()


# --- predictions ----------------------------------------------------------------------------------------------


def test_what_a_server_recorded_is_stored_once_however_often_it_comes(service):
    segment = flights(3).segment()
    first = service.post("/predictions", segment).json()
    again = service.post("/predictions", gzip.compress(segment), **{"content-encoding": "gzip"}).json()
    assert (first["stored"], first["duplicates"]) == (3, 0)
    assert (again["stored"], again["duplicates"]) == (0, 3)
    assert service.monitor.store.counts(USECASE).predictions == 3


@pytest.mark.parametrize(
    ("body", "headers", "status", "told"),
    [
        (b"nonsense", {}, 400, "segment"),
        (b"nonsense", {"content-encoding": "gzip"}, 400, "gzip"),
        (b"x", {"content-length": "99999999999"}, 413, "at most"),
        (b"nonsense", {"authorization": "Bearer wrong"}, 401, "MLOPS_MONITOR_TOKEN"),
        (b"nonsense", {"authorization": TOKEN}, 401, "MLOPS_MONITOR_TOKEN"),
    ],
)
def test_what_is_no_segment_is_refused_as_a_problem_document(service, body, headers, status, told):
    answer = service.post("/predictions", body, **headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert told in answer.json()["detail"]


def test_predictions_of_a_use_case_that_nobody_watches_wait_at_the_server(tmp_path):
    with Service(tmp_path, told=Told(models=[])) as service:
        answer = service.post("/predictions", flights().segment())
    assert answer.status_code == 409
    assert USECASE in answer.json()["detail"]


# --- labels ---------------------------------------------------------------------------------------------------


def test_labels_join_and_what_is_wrong_with_one_keeps_no_other_out(service):
    recorded = flights(2)
    service.post("/predictions", recorded.segment())
    batch = [
        {"id": recorded.ids[0], "value": True},
        {"id": recorded.ids[0], "value": True},
        {"id": recorded.ids[1], "value": "perhaps"},
        {"id": f"{USECASE}.7.{'0' * 26}", "value": False},
    ]
    report = service.post("/labels", {"labels": batch}).json()
    assert (report["accepted"], report["duplicates"], report["invalid"]) == (2, 1, 1)
    assert report["faults"][0]["index"] == 2
    contradiction = service.post("/labels", {"labels": [{"id": recorded.ids[0], "value": False}]}).json()
    assert contradiction["contradicting"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"labels": 3}', 400),
        (b'{"labels": [], "usecases": 1}', 400),
        (b'{"labels": [%s]}' % b",".join([b"{}"] * 10_001), 413),
        (b'{"usecase": "nobody", "labels": [{"key": "a", "value": 1}]}', 409),
        (b" " * (8 * 1024 * 1024 + 1), 413),
    ],
)
def test_batches_that_are_malformed_huge_or_about_nobody_are_refused(service, body, status):
    answer = service.post("/labels", body)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert service.monitor.store.counts(USECASE).labels == 0


def test_labels_of_unknown_predictions_are_kept_until_these_come(service):
    recorded = flights(1)
    report = service.post("/labels", {"labels": [{"id": recorded.ids[0], "value": True}]}).json()
    assert report["pending"] == 1, report
    assert service.monitor.store.counts(USECASE).pending_labels == 1
    service.post("/predictions", recorded.segment())
    counts = service.monitor.store.counts(USECASE)
    assert (counts.labels, counts.pending_labels) == (1, 0)


# --- alerts ---------------------------------------------------------------------------------------------------


def test_two_hundred_alerts_at_once_start_one_run(service):
    service.runs.may_end.clear()
    told = service.post("/alerts", webhook(*(alert(number) for number in range(200)))).json()
    service.runs.may_end.set()
    assert len({one["id"] for one in told["requests"]}) == 1
    wait_until(lambda: requests(service)[0].state == "released", "the run ends")
    assert len(service.runs.begun) == 1
    assert requests(service)[0].joined == 199


def test_the_same_webhook_again_asks_for_nothing_new_and_cools_down_after_a_run(service):
    body = webhook(alert())
    service.runs.may_end.clear()
    service.post("/alerts", body)
    wait_until(lambda: service.runs.begun, "the run begins")
    assert service.post("/alerts", body).json()["requests"][0]["joined"] == 1
    service.runs.may_end.set()
    wait_until(lambda: requests(service)[0].state == "released", "the run ends")
    replayed = service.post("/alerts", body).json()["requests"][0]
    wait_until(lambda: service.monitor.triggers.get(replayed["id"]).state == "cooling", "it has to wait")
    assert len(service.runs.begun) == 1


def test_an_alert_that_is_over_takes_its_request_back(tmp_path):
    """While production's run is under way, staging's request waits: of a use case there is one run at a time."""
    with Service(tmp_path, told=Told(models=[released(), released(environment="production")])) as service:
        service.runs.may_end.clear()
        asked = {"usecase": USECASE, "environment": "production", "reason": "manual", "fingerprint": "by hand"}
        service.post("/triggers", asked)
        wait_until(lambda: service.runs.begun, "a run is under way")
        [waiting] = service.post("/alerts", webhook(alert())).json()["requests"]
        assert waiting["state"] in ("waiting", "cooling")
        told = service.post("/alerts", webhook(alert(status="resolved"))).json()
        assert told == {"requests": [], "withdrawn": 1, "ignored": []}
        assert service.monitor.triggers.get(waiting["id"]).note == "the cause was gone before a run began"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (alert(usecase="nobody"), "there is no use case 'nobody'"),
        (alert(retrain="new-data"), "retrain.on in usecase.yaml does not name new-data"),
    ],
)
def test_what_may_not_be_asked_for_is_recorded_with_its_reason(service, given, why):
    [told] = service.post("/alerts", webhook(given)).json()["requests"]
    assert (told["state"], told["note"]) == ("refused", why)
    assert not service.runs.begun


def test_alerts_that_ask_for_no_run_are_for_people(service):
    told = service.post("/alerts", webhook(alert(retrain=None))).json()
    assert told["requests"] == []
    assert "has no label retrain" in told["ignored"][0]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (webhook(alert()), {"authorization": "Bearer forged"}, 401),
        (webhook(alert()), {"authorization": "bearer"}, 401),
        ({**webhook(alert()), "version": "3"}, {}, 400),
        ({"version": "4", "alerts": [{"status": "firing"}]}, {}, 400),
        ([], {}, 400),
    ],
)
def test_forged_and_malformed_alerts_leave_no_trace(service, body, headers, status):
    assert service.client.post("/alerts", json=body, headers={**LOGIN, **headers}).status_code == status
    assert requests(service) == []


def test_a_request_for_a_run_says_which_key_is_wrong(service):
    answer = service.post("/triggers", {"usecase": USECASE, "environment": "staging", "reason": "boredom"})
    assert answer.status_code == 400
    assert "reason" in answer.json()["detail"]


# --- rounds ---------------------------------------------------------------------------------------------------


def test_a_round_shows_what_it_found_and_starts_the_run_that_usecase_yaml_wants(tmp_path):
    told = Told(folders={f"{USECASE}:7": tmp_path})
    with Service(tmp_path, told=told, judge=judged(score=3.1)) as service:
        found = service.post("/evaluations", {}).json()
        assert {one["kind"]: one["status"] for one in found["assessments"]} == {"inputs": "alert", "quality": "ok"}
        shown = service.metrics()
        assert shown["model_drift_score{column=temperature,environment=staging,kind=inputs,usecase=tiny-table}"] == 3.1
        assert shown["model_drift_threshold{environment=staging,usecase=tiny-table}"] == 0.2
        wait_until(lambda: service.runs.begun, "the run begins")
        assert service.runs.begun[0].sentence == "drift: inputs 3.1"


def test_a_monitor_that_was_started_again_has_not_forgotten_the_last_round(tmp_path):
    told = Told(folders={f"{USECASE}:7": tmp_path})
    with Service(tmp_path, told=told, judge=judged(quality=0.81)) as service:
        service.post("/evaluations", {})
    with Service(tmp_path, told=told) as again:
        shown = "model_quality{environment=staging,metric=roc_auc,usecase=tiny-table}"
        assert wait_until(lambda: again.metrics().get(shown), "it is shown again") == 0.81


def test_rounds_come_by_themselves(tmp_path):
    told = Told(folders={f"{USECASE}:7": tmp_path})
    with Service(tmp_path, told=told, options=Options(evaluate_every=timedelta(milliseconds=100))) as service:
        wait_until(lambda: len(service.monitor.store.assessments(USECASE, "staging")) > 4, "several rounds")


def test_a_model_that_cannot_be_judged_says_why_and_holds_up_no_other(tmp_path):
    told = Told(models=[released("gone"), released()], folders={f"{USECASE}:7": tmp_path})
    with Service(tmp_path, told=told) as service:
        found = service.post("/evaluations", {}).json()
        assert found["problems"] == ["gone in staging: gone:7 is not in the store"]
        status = {(one["usecase"], one["kind"]): one["status"] for one in found["assessments"]}
        assert status["gone", "inputs"] == "failed"
        assert status[USECASE, "inputs"] == "ok"
        failed = "model_assessment_status{environment=staging,kind=quality,status=failed,usecase=gone}"
        assert service.metrics()[failed] == 1


def test_a_round_whose_child_was_killed_leaves_nothing_and_the_next_one_is_whole(tmp_path):
    judges = iter([lambda _jobs: [JudgedUsecase(job=0, problem="killed", retry=True)], judged()])

    def judge(jobs):
        return next(judges)(jobs)

    told = Told(folders={f"{USECASE}:7": tmp_path})
    with Service(tmp_path, told=told, judge=judge) as service:
        killed = service.post("/evaluations", {}).json()
        assert killed == {"assessments": [], "problems": [f"{USECASE} in staging: killed"]}
        assert service.monitor.store.assessments(USECASE, "staging") == []
        assert len(service.post("/evaluations", {}).json()["assessments"]) == 2


def test_a_use_case_that_is_gone_is_shown_no_longer(service):
    service.post("/evaluations", {})
    assert any("model_drift_score" in name for name in service.metrics())
    service.told.models.clear()
    service.monitor.watch.look()
    assert not any("tiny-table" in name for name in service.metrics() if "retrain" not in name)


def test_what_is_watched_stays_known_while_it_cannot_be_looked_at(service):
    from pipelines.monitor.inventory.kubernetes import ClusterUnreachable

    service.told.problem = ClusterUnreachable("the API server does not answer")
    sight = service.monitor.watch.look()
    assert sight.problems == ("the API server does not answer",)
    assert service.post("/predictions", flights().segment()).status_code == 200


# --- the database ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_database_that_is_away_is_told_and_got_over(tmp_path):
    with postgres() as database, Service(tmp_path, store=database.url) as service:
        assert service.client.get("/readyz").text == "ok"
        database.stop()
        answer = service.post("/predictions", flights().segment())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert service.post("/alerts", webhook(alert())).status_code == 503
        assert service.client.get("/readyz").status_code == 503
        assert service.client.get("/livez").text == "ok"
        assert service.client.get("/metrics").status_code == 200
        assert service.client.get("/").status_code == 200
        database.start()
        wait_until(lambda: service.client.get("/readyz").status_code == 200, "it is ready again")
        assert service.post("/predictions", flights().segment()).json()["stored"] == 1
        service.post("/alerts", webhook(alert()))
        wait_until(lambda: service.runs.begun, "and starts runs again")


def test_a_monitor_begins_before_its_database_does(tmp_path):
    folder = tmp_path / "later"
    with Service(tmp_path, store=f"sqlite:///{folder / 'monitor.db'}") as service:
        service.client.get("/metrics")
        answer = service.post("/predictions", flights().segment())
        assert answer.status_code in (200, 503), answer.text


# --- the page -------------------------------------------------------------------------------------------------


def test_the_page_needs_no_token_and_shows_what_is_watched(service):
    page = service.client.get("/")
    assert page.status_code == 200
    assert USECASE in page.text
    assert FLIGHT["carrier"] not in service.client.get("/livez").text
