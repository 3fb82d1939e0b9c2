"""An ASGI app that is asked like a server: it starts and ends with its lifespan, and needs no port.

Starlette's own TestClient is deprecated with the HTTPX that is used here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import httpx


class AppClient:
    """Asks an app that runs in a loop of its own thread. An app that raises answers 500, as it does behind a server."""

    def __init__(self, app: Any, seconds: float = 60) -> None:
        self._app = app
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asgi-app")

    def __enter__(self) -> AppClient:
        self._thread.start()
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self._app, raise_app_exceptions=False),
            base_url="http://testserver",
            follow_redirects=True,
            timeout=self._seconds,
        )
        try:
            self._wait(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._wait(self._stop())
        finally:
            self._end()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        found: httpx.Response = self._wait(self._http.request(method, path, **options))
        return found

    async def _start(self) -> None:
        self._to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.create_task(self._app(scope, self._to_app.get, self._from_app.put))
        await self._say("startup")

    async def _stop(self) -> None:
        await self._say("shutdown")
        await self._lifespan
        await self._http.aclose()

    async def _say(self, phase: str) -> None:
        await self._to_app.put({"type": f"lifespan.{phase}"})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answer, self._lifespan}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await self._lifespan  # raises what the app has raised
        told = await answer
        assert told["type"] == f"lifespan.{phase}.complete", told

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(self._seconds)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._seconds)
        self._loop.close()
