"""What Vertex AI may ask of a model's server by its variables, and what is refused at start."""

import asyncio

import httpx
import pytest

from bento.middleware import Edge
from bento.vertex import VertexContract, VertexContractInvalid

DEPLOYED = "/v1/endpoints/17/deployedModels/4"


def test_a_server_that_is_not_on_vertex_is_as_it_was():
    assert VertexContract.load({}) == VertexContract()


def test_vertex_names_its_own_routes_where_the_model_names_none():
    found = VertexContract.load(
        {"AIP_HTTP_PORT": "8080", "AIP_HEALTH_ROUTE": DEPLOYED, "AIP_PREDICT_ROUTE": f"{DEPLOYED}:predict"}
    )
    assert found.port == 8080
    assert found.routes == {DEPLOYED: "/readyz", f"{DEPLOYED}:predict": "/predict"}


def test_the_server_s_own_paths_need_no_other_name():
    assert VertexContract.load({"AIP_HEALTH_ROUTE": "/livez", "AIP_PREDICT_ROUTE": "/predict"}).routes == {}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT: expected a port from 1 to 65535 (got 'http')"),
        ({"AIP_HTTP_PORT": "0"}, "AIP_HTTP_PORT: expected a port"),
        ({"AIP_HTTP_PORT": "65536"}, "AIP_HTTP_PORT: expected a port"),
        ({"AIP_HTTP_PORT": "-1"}, "AIP_HTTP_PORT: expected a port"),
        ({"AIP_HTTP_PORT": "٨٠٨٠"}, "AIP_HTTP_PORT: expected a port"),
        ({"AIP_HEALTH_ROUTE": "health"}, "AIP_HEALTH_ROUTE: expected a path that begins with / (got 'health')"),
        ({"AIP_PREDICT_ROUTE": "/predict?now"}, "AIP_PREDICT_ROUTE: expected a path"),
        ({"AIP_PREDICT_ROUTE": "/a b"}, "AIP_PREDICT_ROUTE: expected a path"),
        ({"AIP_HEALTH_ROUTE": "/ask", "AIP_PREDICT_ROUTE": "/ask"}, "are both '/ask'; they must differ"),
        ({"AIP_HEALTH_ROUTE": "/predict"}, "AIP_HEALTH_ROUTE: /predict is this server's own"),
        ({"AIP_HEALTH_ROUTE": "/metrics"}, "expected /readyz or /livez or /healthz"),
        ({"AIP_PREDICT_ROUTE": "/readyz"}, "AIP_PREDICT_ROUTE: /readyz is this server's own"),
    ],
)
def test_what_cannot_be_kept_to_is_refused(variables, told):
    with pytest.raises(VertexContractInvalid) as refused:
        VertexContract.load(variables)
    assert told in str(refused.value)


def test_a_route_of_vertex_is_counted_and_answered_as_the_path_it_stands_for():
    asked = []

    async def app(scope, receive, send):
        asked.append((scope["path"], scope["raw_path"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(path):
        edge = Edge(app, {f"{DEPLOYED}:predict": "/predict"})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://model") as client:
            return (await client.post(path)).status_code

    assert asyncio.run(ask(f"{DEPLOYED}:predict")) == 200
    assert asyncio.run(ask("/predict")) == 200
    assert asyncio.run(ask(DEPLOYED)) == 404
    assert asked == [("/predict", b"/predict")] * 2
