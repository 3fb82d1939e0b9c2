"""A headless Chromium for tests, driven by its DevTools protocol: Debian's own, which nothing else is fetched for."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.serving import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome")
ANSWER_SECONDS = 30
QUIET_SECONDS = 0.3  # so long without a message, nothing is on its way


@dataclass
class Tab:
    """One tab. `requests`: every address it asked for; `complaints`: errors and warnings of its console."""

    connection: ClientConnection
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _count: int = 0
    _loaded: int = 0

    def open(self, url: str) -> None:
        """Load the page, and wait until it and what it needs are there."""
        before = self._loaded
        told = self.ask("Page.navigate", url=url)
        assert "errorText" not in told, f"{url}: {told['errorText']}"
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._loaded == before:
            assert time.monotonic() < deadline, f"{url} has not loaded within {ANSWER_SECONDS} s"
            self._listen(1)
        while self._listen(QUIET_SECONDS):
            pass

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the window, and what colours its user likes."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives. It is the test's own: the page's policy does not hold it up."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def text(self, selector: str = "body") -> str:
        return str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))

    def picture(self, path: Path) -> None:
        """All of the page as a PNG."""
        told = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        self.connection.send(json.dumps({"id": self._count, "method": method, "params": params}))
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            message = self._listen(ANSWER_SECONDS)
            if message and message.get("id") == self._count:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
        raise AssertionError(f"{method}: no answer within {ANSWER_SECONDS} s")

    def _listen(self, seconds: float) -> dict[str, Any] | None:
        """The next message, noted; None when none comes."""
        try:
            message: dict[str, Any] = json.loads(self.connection.recv(timeout=seconds))
        except TimeoutError:
            return None
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded += 1
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(" ".join(str(part.get("value", part)) for part in params["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"]["text"])
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return message


@contextlib.contextmanager
def chromium() -> Iterator[Tab]:
    """A browser with one tab, which finds no host but this one. The test is skipped where there is no Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed: sudo apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *(f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"),
        ]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen([program, *options], stdout=output, stderr=output)
        try:
            yield from _first_tab(Path(folder) / "DevToolsActivePort", process)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def _first_tab(told: Path, process: subprocess.Popen[bytes]) -> Iterator[Tab]:
    import httpx

    def port() -> str | None:
        assert process.poll() is None, f"Chromium ended with {process.returncode}"
        return told.read_text().split("\n")[0] if told.is_file() and told.stat().st_size else None

    found = wait_until(port, "Chromium's DevTools", 60)
    tabs = httpx.get(f"http://127.0.0.1:{found}/json/list", timeout=ANSWER_SECONDS, trust_env=False).json()
    address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    with connect(address, max_size=None, proxy=None) as connection:
        tab = Tab(connection)
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.ask(f"{domain}.enable")
        yield tab
