"""The monitor's addresses: what is sent to it, what Prometheus and the kubelet ask, and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pipelines.monitor.api import writing_routes
from pipelines.monitor.monitor import Monitor
from pipelines.monitor.page.routes import Links, Sources, page_routes
from pipelines.packaging.bentos import web_address

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


def make_app(monitor: Monitor) -> Starlette:
    """The application; the monitor's own work begins and ends with it."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    from bento.request_ids import RequestIds

    @asynccontextmanager
    async def working(_: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(monitor.start)
        try:
            yield
        finally:
            await run_in_threadpool(monitor.stop)

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    def readyz(_: Request) -> Response:
        why = monitor.why_not_ready()
        return PlainTextResponse("ok") if why is None else PlainTextResponse(why, status_code=503)

    def metrics(_: Request) -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Response(generate_latest(monitor.registry), headers={"content-type": CONTENT_TYPE_LATEST})

    routes = [
        *page_routes(page_sources(monitor)),
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        *writing_routes(monitor),
    ]
    return Starlette(routes=routes, lifespan=working, middleware=[Middleware(RequestIds)])


def page_sources(monitor: Monitor) -> Sources:
    """What the page shows is what the monitor knows."""
    settings, options = monitor.settings, monitor.options
    web = web_address(settings.remote)
    links = Links(
        mlflow=options.mlflow or None,
        grafana=options.grafana or None,
        commit=f"{web}/commit/{{commit}}" if web else None,
        state=settings.home,
    )
    return Sources(
        environments=settings.environments.names,
        sight=lambda: monitor.watch.sight,
        store=monitor.store,
        triggers=monitor.triggers,
        runs=monitor.runs,
        skipped_runs=monitor.runs.unreadable,
        reports=monitor.reports,
        links=links,
    )
