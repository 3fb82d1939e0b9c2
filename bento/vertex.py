"""Vertex AI's contract for a container that predicts: variables say where it will ask.

Without them a server is what it always is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from bento.app import METHODS
from bento.errors import BentoError
from bento.middleware import PROBES
from bento.variables import Variables, variable

PORT, HEALTH, PREDICT, STORAGE = "AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE", "AIP_STORAGE_URI"
ROUTE_PATTERN = re.compile(r"/[A-Za-z0-9._~:@!$&'()*+,;=/-]*")
ANSWERS_HEALTH, ANSWERS_PREDICT = ("/readyz", "/livez", "/healthz"), ("/predict",)


class VertexContractInvalid(BentoError):
    """A variable of Vertex AI that this server cannot keep to."""


class VertexVariables(Variables):
    """Set by Vertex AI for a container that predicts, and read by a model server when it starts."""

    title: ClassVar[str] = "Serving on Vertex AI"

    port: str = variable(PORT, "", "The port; it wins over `--port`, which an image gives as a default.")
    health: str = variable(HEALTH, "", "A path that is answered as `/readyz`.")
    predict: str = variable(PREDICT, "", "A path that is answered as `/predict`.")
    storage: str = variable(STORAGE, "", "Ignored: the model is in the image.")


@dataclass(frozen=True)
class VertexContract:
    """What Vertex AI asks for. `routes`: another path → the path of this server that answers it."""

    port: int | None = None
    routes: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> "VertexContract":
        """Raises VertexContractInvalid, naming the variable and what would be right."""
        given = VertexVariables.load(environ)
        health = _route(HEALTH, given.health, ANSWERS_HEALTH)
        predict = _route(PREDICT, given.predict, ANSWERS_PREDICT)
        if health and health == predict:
            raise VertexContractInvalid(f"{HEALTH} and {PREDICT} are both {health!r}; they must differ")
        asked = {health: ANSWERS_HEALTH, predict: ANSWERS_PREDICT}
        routes = {route: answers[0] for route, answers in asked.items() if route and route not in answers}
        return cls(_port(given.port), routes, given.storage)


def _port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise VertexContractInvalid(f"{PORT}: expected a port from 1 to 65535 (got {text!r})")
    return int(text)


def _route(name: str, route: str, answers: tuple[str, ...]) -> str:
    if route and not ROUTE_PATTERN.fullmatch(route):
        raise VertexContractInvalid(f"{name}: expected a path that begins with / (got {route!r})")
    if route in (*METHODS, *PROBES) and route not in answers:
        raise VertexContractInvalid(
            f"{name}: {route} is this server's own and answers something else; "
            f"expected {' or '.join(answers)}, or a path that it does not have"
        )
    return route
