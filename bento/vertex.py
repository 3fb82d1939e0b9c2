"""Vertex AI's contract for a container that predicts: it says by variables where it will ask.

    AIP_HTTP_PORT      the port; it wins over --port, which an image gives as a default
    AIP_HEALTH_ROUTE   answered as /readyz (GET, 200 once the model may be asked)
    AIP_PREDICT_ROUTE  answered as /predict (`instances` → `predictions`)
    AIP_STORAGE_URI    ignored: the model is in the image

Without these variables a server is what it always is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bento.app import METHODS
from bento.errors import BentoError
from bento.middleware import PROBES

PORT, HEALTH, PREDICT, STORAGE = "AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE", "AIP_STORAGE_URI"
ROUTE_PATTERN = re.compile(r"/[A-Za-z0-9._~:@!$&'()*+,;=/-]*")
ANSWERS_HEALTH, ANSWERS_PREDICT = ("/readyz", "/livez", "/healthz"), ("/predict",)


class VertexContractInvalid(BentoError):
    """A variable of Vertex AI that this server cannot keep to."""


@dataclass(frozen=True)
class VertexContract:
    """What Vertex AI asks for. `routes`: another path → the path of this server that answers it."""

    port: int | None = None
    routes: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> "VertexContract":
        """Raises VertexContractInvalid, naming the variable and what would be right."""
        health, predict = _route(environ, HEALTH, ANSWERS_HEALTH), _route(environ, PREDICT, ANSWERS_PREDICT)
        if health and health == predict:
            raise VertexContractInvalid(f"{HEALTH} and {PREDICT} are both {health!r}; they must differ")
        asked = {health: ANSWERS_HEALTH, predict: ANSWERS_PREDICT}
        routes = {route: answers[0] for route, answers in asked.items() if route and route not in answers}
        return cls(_port(environ), routes, environ.get(STORAGE, ""))


def _port(environ: Mapping[str, str]) -> int | None:
    text = environ.get(PORT, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise VertexContractInvalid(f"{PORT}: expected a port from 1 to 65535 (got {text!r})")
    return int(text)


def _route(environ: Mapping[str, str], variable: str, answers: tuple[str, ...]) -> str:
    route = environ.get(variable, "")
    if route and not ROUTE_PATTERN.fullmatch(route):
        raise VertexContractInvalid(f"{variable}: expected a path that begins with / (got {route!r})")
    if route in (*METHODS, *PROBES) and route not in answers:
        raise VertexContractInvalid(
            f"{variable}: {route} is this server's own and answers something else; "
            f"expected {' or '.join(answers)}, or a path that it does not have"
        )
    return route
