"""The page's addresses. Everything is read, nothing is changed, and nothing is fetched from anywhere else."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pipelines.monitor.page.files import find_card, find_report
from pipelines.monitor.page.queries import TrendReader
from pipelines.monitor.page.rendering import render, static_files
from pipelines.monitor.page.sources import Links, Sources
from pipelines.monitor.page.view import DAYS, USUAL_DAYS, look_at_all, look_at_model
from pipelines.predictions.errors import UsecaseNotWatched

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

__all__ = ["Links", "Sources", "page_routes"]

REFRESH_SECONDS = (15, 60, 300)
NOTHING_RUNS = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report's own scripts draw it. They run as a stranger's: no cookies, no storage, no way back to the monitor.
SCRIPTS_ALONE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:"
)
LOOKS_ALONE = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
ALWAYS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
FOR_EVER = "public, max-age=31536000, immutable"


def page_routes(sources: Sources) -> list[Route]:
    """The routes to mount. Handlers are plain functions, so that Starlette runs them in a thread."""
    from starlette.responses import FileResponse, JSONResponse, RedirectResponse
    from starlette.routing import Route

    trends = TrendReader()

    def overview(request: Request) -> Response:
        seen = look_at_all(sources, trends)
        return _page(request, "overview.html.j2", seen=seen, now=seen.as_of)

    def model(request: Request) -> Response:
        usecase, environment = request.path_params["usecase"], request.path_params["environment"]
        try:
            seen = look_at_model(sources, usecase, environment, _days(request))
        except UsecaseNotWatched as error:
            return _missing(request, error.message)
        return _page(request, "model.html.j2", seen=seen, now=seen.as_of, all_days=DAYS)

    def usecase(request: Request) -> Response:
        name = request.path_params["usecase"]
        found = [model for model in sources.sight().models if model.usecase.name == name]
        if not found:
            return _missing(request, f"There is no use case {name}.")
        order = {name: place for place, name in enumerate(sources.environments)}
        first = max(found, key=lambda model: (model.release is not None, order.get(model.environment, -1)))
        return RedirectResponse(f"{_base(request)}/models/{name}/{first.environment}", HTTPStatus.TEMPORARY_REDIRECT)

    def report(request: Request) -> Response:
        named = (request.path_params[part] for part in ("environment", "usecase", "file"))
        path = find_report(sources.reports, *named)
        if path is None:
            return _missing(request, "This report is not kept any more, or it never was.")
        return FileResponse(path, media_type="text/html", headers=_headers(SCRIPTS_ALONE))

    def card(request: Request) -> Response:
        path = find_card(sources.links.state, request.path_params["run_id"])
        if path is None:
            return _missing(request, "This machine has no model card of that run; MLflow has them all.")
        return FileResponse(path, media_type="text/html", headers=_headers(LOOKS_ALONE))

    def all_models(_: Request) -> Response:
        return JSONResponse(look_at_all(sources, trends).model_dump(mode="json"), headers=_headers())

    def one_model(request: Request) -> Response:
        usecase, environment = request.path_params["usecase"], request.path_params["environment"]
        try:
            seen = look_at_model(sources, usecase, environment, _days(request))
        except UsecaseNotWatched as error:
            return JSONResponse(
                {"type": "about:blank", "title": "No such model", "status": 404, "detail": error.message},
                HTTPStatus.NOT_FOUND,
                headers=_headers(),
                media_type="application/problem+json",
            )
        return JSONResponse(seen.model_dump(mode="json"), headers=_headers())

    def _missing(request: Request, why: str) -> Response:
        places = [model.place for model in sources.sight().models]
        values = {"why": why, "places": sorted(places), "now": sources.clock()}
        return _page(request, "missing.html.j2", HTTPStatus.NOT_FOUND, **values)

    return [
        Route("/", overview),
        Route("/models/{usecase}/{environment}", model),
        Route("/usecases/{usecase}", usecase),
        Route("/reports/{environment}/{usecase}/{file}", report),
        Route("/cards/{run_id}", card),
        Route("/api/models", all_models),
        Route("/api/models/{usecase}/{environment}", one_model),
        Route("/static/{file}", _static),
    ]


def _static(request: Request) -> Response:
    from starlette.responses import PlainTextResponse, Response

    name = request.path_params["file"]
    content = static_files().get(name)
    if content is None:
        return PlainTextResponse("not found", HTTPStatus.NOT_FOUND, headers=_headers())
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers={**ALWAYS, "cache-control": FOR_EVER})


def _page(request: Request, template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Response:
    from starlette.responses import HTMLResponse

    html = render(template, _base(request), refresh=_refresh(request), **values)
    return HTMLResponse(html, status, headers=_headers(NOTHING_RUNS))


def _headers(policy: str = NOTHING_RUNS) -> dict[str, str]:
    return {**ALWAYS, "content-security-policy": policy, "cache-control": "no-cache"}


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _days(request: Request) -> int:
    return _one_of(request, "days", DAYS) or USUAL_DAYS


def _refresh(request: Request) -> int | None:
    return _one_of(request, "refresh", REFRESH_SECONDS)


def _one_of(request: Request, name: str, allowed: Sequence[int]) -> int | None:
    """A value that is none of them is no reason to show nothing."""
    given = request.query_params.get(name, "")
    return next((value for value in allowed if str(value) == given), None)
