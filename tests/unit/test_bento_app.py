"""The model's HTTP API, asked without a socket."""

import asyncio
import json

import httpx
import numpy as np
import pytest

from bento.app import ModelApp
from bento.errors import ModelFileBroken, ModelFileMissing
from bento.ids import parse_prediction_id
from bento.instances import parse_json
from bento.middleware import Edge
from bento.predictor import Predictor
from bento.runtime import Model
from bento.signature import NumberField, Provenance, Signature
from tests.tiny_models import PICTURE, TABULAR, write_bento, write_fragile_model, write_tabular_model

FLIGHT = {"distance": 1400, "origin": "EWR", "carrier": "UA"}
ORIGIN = Provenance(bento="tiny-table:7", model="tiny-table/7", run="r", data="d", code="c", created="2026-01-01")
PROBLEM = "application/problem+json"


class Linear:
    """A regression that answers twice the number it is given."""

    signature = Signature(name="twice", task="regression", fields={"x": NumberField()})

    def run(self, columns):
        return columns["x"].reshape(-1, 1) * 2


def app_of(predictor, body_limit=10_000) -> ModelApp:
    api = ModelApp(body_limit)
    api.predictor = predictor
    return api


@pytest.fixture
def flights(tmp_path):
    return app_of(Predictor.load(write_bento(tmp_path, version="7") / "src" / "model"))


def ask(api, method="POST", path="/predict", **request) -> httpx.Response:
    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://model") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def assert_problem(answer: httpx.Response, status: int, detail: str) -> dict:
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    told = answer.json()
    assert told["status"] == status
    assert told["title"]
    assert told["type"]
    assert detail in told["detail"]
    assert "Traceback" not in answer.text
    return told


def test_a_classification_names_its_classes_and_where_it_comes_from(flights, monkeypatch):
    answer = ask(flights.app, json={"instances": [FLIGHT, {**FLIGHT, "distance": 0}]})
    assert answer.status_code == 200
    document = answer.json()
    assert set(document) == {"predictions", "ids", "release"}
    first = document["predictions"][0]
    assert first["label"] is True
    assert first["probabilities"]["true"] == pytest.approx(1 / (1 + np.exp(-1.4)), rel=1e-5)
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert document["predictions"][1]["probabilities"] == {"false": 0.5, "true": 0.5}
    assert [parse_prediction_id(made).version for made in document["ids"]] == ["7", "7"]
    assert len(set(document["ids"])) == 2
    assert document["release"]["bento"] == "tiny-table:7"
    assert document["release"]["commit"] is None


def test_a_release_tells_environment_and_commit_where_the_platform_says_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_ENVIRONMENT", "production")
    monkeypatch.setenv("MLOPS_RELEASE_COMMIT", "c0ffee")
    api = app_of(Predictor.load(write_bento(tmp_path) / "src" / "model"))
    release = ask(api.app, json={"instances": [FLIGHT]}).json()["release"]
    assert (release["environment"], release["commit"]) == ("production", "c0ffee")
    monkeypatch.setenv("MLOPS_RELEASE_COMMIT", "")
    api = app_of(Predictor.load(tmp_path / "src" / "model"))
    assert ask(api.app, json={"instances": [FLIGHT]}).json()["release"]["commit"] is None


def test_a_regression_answers_values():
    answer = ask(app_of(Predictor(Linear(), ORIGIN)).app, json={"instances": [{"x": 1.5}, {"x": -2}]})
    assert answer.json()["predictions"] == [{"value": 3.0}, {"value": -4.0}]


def test_pictures_come_as_json_or_as_bytes_and_answer_the_same(tmp_path):
    api = app_of(Predictor.load(write_bento(tmp_path, name="tiny-picture", tensor=True) / "src" / "model"))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 28, 28)).astype("uint8")
    by_json = ask(api.app, json={"instances": pictures.tolist()}).json()
    raw = {"content": pictures.tobytes(), "headers": {"content-type": "application/octet-stream"}}
    assert ask(api.app, **raw).json()["predictions"] == by_json["predictions"]
    assert by_json["predictions"][0]["label"] in PICTURE.classes


def test_every_label_is_counted(flights):
    from prometheus_client import REGISTRY

    def count(label):
        return REGISTRY.get_sample_value("model_predictions_total", {"label": label})

    before = count("true"), count("false")
    ask(flights.app, json={"instances": [FLIGHT] * 3 + [{**FLIGHT, "distance": 0}]})
    ask(flights.app, json={"instances": [{**FLIGHT, "distance": -1}]})
    assert (count("true") - before[0], count("false") - before[1]) == (3, 1)


def test_instances_that_do_not_fit_are_named(flights):
    answer = ask(flights.app, json={"instances": [FLIGHT, {**FLIGHT, "distance": "far"}]})
    told = assert_problem(answer, 400, "instance 1, field distance: is a text; expected a number")
    assert told["errors"] == [{"instance": 1, "field": "distance", "detail": "is a text; expected a number"}]
    assert told["type"] == "urn:mlops:problem:invalid-instances"


def test_a_body_that_is_no_json_is_told_so(flights):
    answer = ask(flights.app, content=b"{", headers={"content-type": "application/json; charset=utf-8"})
    assert assert_problem(answer, 400, "not valid JSON")["type"] == "urn:mlops:problem:invalid-body"


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "multipart/form-data; boundary=x", "é" * 99])
def test_another_content_type_is_refused(flights, content_type):
    headers = {} if content_type is None else {"content-type": content_type.encode("latin-1")}
    answer = ask(flights.app, content=json.dumps({"instances": [FLIGHT]}), headers=headers)
    assert_problem(answer, 415, "send application/json or application/octet-stream")


def test_a_body_that_says_it_is_too_large_is_not_read(flights):
    async def never():
        pytest.fail("the body was read")
        yield b""

    answer = ask(flights.app, content=never(), headers={"content-type": "application/json", "content-length": "10001"})
    assert_problem(answer, 413, "larger than 10000 bytes")


def test_a_streamed_body_is_read_only_up_to_the_limit(flights):
    sent = []

    async def endless():
        while True:
            sent.append(1000)
            yield b" " * 1000

    answer = ask(flights.app, content=endless(), headers={"content-type": "application/json"})
    assert_problem(answer, 413, "larger than 10000 bytes")
    assert sum(sent) == 11_000


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "POST"), ("DELETE", "/predict", "POST"), ("POST", "/signature", "GET")],
)
def test_another_method_is_told_the_right_one(flights, method, path, allowed):
    answer = ask(flights.app, method, path)
    assert_problem(answer, 405, f"takes {allowed}")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/predict/", "/Predict", "/v1/models/x:predict", "/" + "x" * 5000])
def test_another_path_is_told_the_api(flights, path):
    told = assert_problem(ask(flights.app, "POST", path), 404, "the API is POST /predict, GET /signature")
    assert len(told["detail"]) < 200


def test_before_the_model_is_loaded_there_is_nothing_to_ask():
    api = ModelApp()
    assert_problem(ask(api.app, json={"instances": [FLIGHT]}), 503, "not loaded")
    assert_problem(ask(api.app, "GET", "/signature"), 503, "not loaded")
    assert_problem(ask(api.app, "GET", "/openapi.json"), 503, "not loaded")


def test_a_model_that_fails_is_a_500_and_the_log_says_why(tmp_path, caplog):
    api = app_of(Predictor(Model.load(write_fragile_model(tmp_path)), ORIGIN))
    assert ask(api.app, json={"instances": [{**FLIGHT, "distance": 0}]}).status_code == 200
    answer = ask(api.app, json={"instances": [FLIGHT]})
    assert_problem(answer, 500, "the server's log says why")
    assert "idx=1400" not in answer.text
    assert "idx=1400" in caplog.text
    assert "Traceback" in caplog.text


def test_nan_is_no_answer(tmp_path, caplog):
    class Nothing(Linear):
        def run(self, columns):
            return np.full((len(columns["x"]), 1), np.nan, "float32")

    answer = ask(app_of(Predictor(Nothing(), ORIGIN)).app, json={"instances": [{"x": 1}]})
    assert_problem(answer, 500, "the model failed")
    assert "tiny-table/7 answered [nan] to instance 0" in caplog.text


def test_the_signature_can_be_read(flights):
    assert Signature.from_values(ask(flights.app, "GET", "/signature").json()) == TABULAR


def test_openapi_describes_the_real_fields(flights):
    document = ask(flights.app, "GET", "/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "7"
    instance = document["components"]["schemas"]["Instance"]
    assert instance["required"] == ["distance", "origin", "carrier"]
    assert instance["properties"]["distance"] == {"type": "number", "minimum": 0, "maximum": 5000}
    assert instance["properties"]["temperature"]["type"] == ["number", "null"]
    assert instance["properties"]["origin"]["enum"] == ["EWR", "JFK", "LGA"]
    post = document["paths"]["/predict"]["post"]
    assert set(post["responses"]) == {"200", "400", "413", "415", "500", "503"}
    content = post["requestBody"]["content"]
    assert list(content) == ["application/json"]
    example = content["application/json"]["example"]
    assert parse_json(json.dumps(example).encode(), TABULAR)["distance"] == [1400]
    assert ask(flights.app, json=example).status_code == 200


def test_openapi_knows_of_keys(flights):
    document = ask(flights.app, "GET", "/openapi.json").json()
    request = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert request["properties"]["keys"]["items"] == {"type": "string", "minLength": 1, "maxLength": 200}
    assert request["required"] == ["instances"]


def test_openapi_of_pictures_nests_the_shape(tmp_path):
    api = app_of(Predictor.load(write_bento(tmp_path, name="tiny-picture", tensor=True) / "src" / "model"), 20_000)
    document = ask(api.app, "GET", "/openapi.json").json()
    bare, named = document["components"]["schemas"]["Instance"]["oneOf"]
    assert (bare["minItems"], bare["items"]["maxItems"]) == (28, 28)
    assert bare["items"]["items"] == {"type": "integer", "minimum": 0, "maximum": 255}
    assert named["required"] == ["image"]
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert list(content) == ["application/json", "application/octet-stream"]
    assert ask(api.app, json=content["application/json"]["example"]).status_code == 200


@pytest.mark.parametrize("name", ["golden.json", "provenance.json"])
def test_a_packed_model_lacks_nothing(tmp_path, name):
    model = write_bento(tmp_path) / "src" / "model"
    (model / name).write_text("{")
    with pytest.raises(ModelFileBroken, match=name):
        Predictor.load(model)
    (model / name).unlink()
    with pytest.raises(ModelFileMissing, match=name):
        Predictor.load(model)


def test_the_edge_keeps_unknown_paths_from_bentoml():
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope["path"])
        await ModelApp().app(scope, receive, send)

    edge = Edge(inner)
    assert_problem(ask(edge, "GET", "/wp-login.php"), 404, "/wp-login.php does not exist")
    assert seen == []
    ask(edge, "GET", "/signature")
    assert seen == ["/signature"]


def test_a_draining_edge_is_not_ready_and_says_goodbye():
    edge = Edge(ModelApp().app)
    assert "connection" not in ask(edge, "GET", "/signature").headers
    edge.draining = True
    assert ask(edge, "GET", "/signature").headers["connection"] == "close"
    ready = ask(edge, "GET", "/readyz")
    assert (ready.status_code, ready.headers["connection"]) == (503, "close")


def test_a_model_folder_is_a_packed_model_only_with_its_origin(tmp_path):
    with pytest.raises(ModelFileMissing, match=r"provenance\.json"):
        Predictor.load(write_tabular_model(tmp_path))
