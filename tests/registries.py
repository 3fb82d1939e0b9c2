"""Real registries for tests: docker-registry as a process on loopback, and a proxy before it that misbehaves."""

import http.client
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.serving import free_port, wait_until

START_SECONDS = 15


class RegistryProcess:
    """One docker-registry; it may be stopped and started again on the same port with the same data."""

    def __init__(self, folder: Path, storage: Path | None = None, **config: Any) -> None:
        if shutil.which("docker-registry") is None:
            pytest.skip("docker-registry is not installed: apt-get install docker-registry")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.storage: dict[str, Any] = {
            "filesystem": {"rootdirectory": str(storage or folder / "data")},
            "delete": {"enabled": True},
        }
        self.config = config

    def start(self) -> "RegistryProcess":
        http_settings = {"addr": self.host, **self.config.get("http", {})}
        config = {"version": 0.1, "log": {"level": "warn"}, "storage": self.storage, **self.config}
        file = self.folder / "config.yml"
        file.write_text(yaml.safe_dump({**config, "http": http_settings}))
        with (self.folder / "registry.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(file)], stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._listens, f"the registry on {self.host}", START_SECONDS)
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self, **config: Any) -> None:
        self.kill()
        self.config = config
        self.start()

    def set_readonly(self, readonly: bool) -> None:
        self.kill()
        self.storage["maintenance"] = {"readonly": {"enabled": readonly}}
        self.start()

    @property
    def log(self) -> str:
        return (self.folder / "registry.log").read_text()

    def repositories(self) -> list[str]:
        found: list[str] = httpx.get(f"http://{self.host}/v2/_catalog").json()["repositories"]
        return found

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@contextmanager
def registry(folder: Path, storage: Path | None = None, **config: Any) -> Iterator[RegistryProcess]:
    """A running registry; `config` is merged into docker-registry's own."""
    running = RegistryProcess(folder, storage, **config)
    try:
        yield running.start()
    finally:
        running.kill()


@dataclass
class Request:
    """What the proxy was asked; `header` gives a header or nothing."""

    method: str
    path: str
    headers: http.client.HTTPMessage
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class BreakOff(Exception):
    """Raised by a trick to close the connection without an answer."""


Next = Callable[[Request], Answer]
Trick = Callable[[Request, Next], Answer]


class Proxy:
    """Stands before a registry. `trick` sees every request and may answer itself, change it, or break off.

    `cut_after` cuts the connection after so many bytes of a blob's body, as often as `cuts` says.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.trick: Trick = lambda request, ask: ask(request)
        self.seen: list[tuple[str, str]] = []
        self.cut_after: int | None = None
        self.cuts = 0
        self.on_cut: Callable[[], None] = lambda: None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def count(self, method: str, part: str = "") -> int:
        return sum(1 for seen, path in self.seen if seen == method and part in path)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append((handler.command, handler.path))
        length = int(handler.headers.get("Content-Length") or 0)
        if self.cuts > 0 and handler.command == "PUT" and "/blobs/uploads/" in handler.path:
            self.cuts -= 1
            handler.rfile.read(min(length, self.cut_after or 0))
            self.on_cut()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        request = Request(handler.command, handler.path, handler.headers, handler.rfile.read(length))
        try:
            answer = self.trick(request, self._forward)
        except BreakOff:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response(answer.status)
        named = {name.lower() for name, _ in answer.headers}
        for name, value in answer.headers:
            if name.lower() not in {"connection", "transfer-encoding"}:
                handler.send_header(name, value)
        if "content-length" not in named:
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    def _forward(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            connection.request(request.method, request.path, request.body or None, dict(request.headers.items()))
            got = connection.getresponse()
            return Answer(got.status, got.getheaders(), got.read())
        except OSError as error:
            raise BreakOff from error
        finally:
            connection.close()


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    made = Proxy(upstream)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join(5)
