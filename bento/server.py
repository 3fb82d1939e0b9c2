"""Serve an unpacked Bento: `cd <bento>/src && python -m bento.server --port 3000`.

The same in a container and on a laptop. BentoML's app runs under plain uvicorn; around it is what a rollout needs:
a server can wait in standby until its version is the active one, and on SIGTERM it drains: it says so on /readyz,
takes no new connections, ends every kept-alive one with its next answer, and leaves when all are gone.

Two servers may share one inherited listening socket (`--fd`): the new one begins to accept, the old one stops, and no
connection is refused or cut in between. A second, private listener on 127.0.0.1 is there from the start, so that a
server in standby can be checked; `--state` says its port.

Parts of uvicorn and BentoML that they do not document are used here: tests/unit/test_private_parts.py lists them.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Literal

from bento import logs
from bento.errors import BentoError, one_line
from bento.middleware import Edge
from bento.server_state import ServerState
from bento.tracing import Tracing, start_tracing
from bento.vertex import VertexContract

STANDBY_POLL_SECONDS = 0.02
LAST_ANSWERS_SECONDS = 5
CANNOT_START = 3
BACKLOG = 2048

log = logging.getLogger("bento")


class PublicAddressUnusable(BentoError):
    """The server cannot listen where it should."""


class ModelServer:
    """One model's server process."""

    def __init__(self, options: argparse.Namespace, app: Edge, public: socket.socket) -> None:
        import uvicorn
        from uvicorn.server import ServerState

        self.options = options
        self.app = app
        self.public = public
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
            backlog=BACKLOG,
        )
        config.load()
        self.uvicorn = uvicorn.Server(config)
        self.uvicorn.lifespan = config.lifespan_class(config)
        # Apart from the private listener's, so that whoever keeps a connection there does not hold up a drain.
        self.clients = ServerState()
        self.private_port = 0
        self.stopping = asyncio.Event()

    async def serve(self) -> None:
        """Until drained after SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self.stopping.set)
        private = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.private_port = private.getsockname()[1]
        await self.uvicorn.startup(sockets=[private])
        ticking = asyncio.create_task(self._tick())
        self.app.standby = self.options.standby is not None
        self._tell("standby")
        if await self._becomes_active():
            self.app.standby = False
            accepting = await loop.create_server(self._protocol, sock=self.public, backlog=BACKLOG)
            self._tell("active")
            await self.stopping.wait()
            await self._drain(accepting)
        ticking.cancel()
        await self.uvicorn.shutdown()

    async def _becomes_active(self) -> bool:
        """Wait until the standby file names this server; False when it is stopped before."""
        if self.options.standby is None:
            return True
        while not self.stopping.is_set():
            with contextlib.suppress(OSError):
                if self.options.standby.read_text(encoding="utf-8").strip() == self.options.name:
                    return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), STANDBY_POLL_SECONDS)
        return False

    async def _drain(self, accepting: asyncio.Server) -> None:
        """Not ready any more; then no new connections; then those there are end with their next answer."""
        self.app.draining = True
        self._tell("draining")
        if self.options.drain_delay:
            await asyncio.sleep(self.options.drain_delay)
        accepting.close()
        await self._clients_gone(self.options.drain_timeout)
        for connection in list(self.clients.connections):
            connection.shutdown()  # closes it if it is idle, else after the answer
        await self._clients_gone(LAST_ANSWERS_SECONDS)

    async def _clients_gone(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self.clients.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    async def _tick(self) -> None:
        """uvicorn's own housekeeping: the Date header."""
        counter = 0
        while True:
            await self.uvicorn.on_tick(counter)
            self.clients.default_headers = self.uvicorn.server_state.default_headers
            counter = (counter + 1) % 864_000
            await asyncio.sleep(0.1)

    def _protocol(self) -> asyncio.Protocol:
        config = self.uvicorn.config
        made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self.clients, app_state=self.uvicorn.lifespan.state
        )
        return made

    def _tell(self, state: Literal["standby", "active", "draining"]) -> None:
        """A state that cannot be told is no reason to stop answering."""
        if self.options.state is None:
            return
        told = ServerState(pid=os.getpid(), private_port=self.private_port, state=state)
        try:
            told.write(self.options.state)
        except OSError as error:
            log.warning("%s: the state %r cannot be written: %s", self.options.state, state, error.strerror)


def load_bento(folder: Path) -> Any:
    """The Bento's ASGI app, with its name and version in BentoML's metrics. Raises what the Bento's code raises."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    import yaml
    from bentoml import server_context
    from bentoml._internal.container import BentoMLContainer
    from bentoml._internal.server.metrics.prometheus import PrometheusClient

    described = yaml.safe_load((folder / "bento.yaml").read_text(encoding="utf-8"))
    # One process serves one model: its metrics need no files that several processes share, and cost a third.
    BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))
    server_context.bento_name = described["name"]
    server_context.bento_version = described["version"]
    server_context.service_name = described["name"]
    server_context.service_type = "entry_service"
    server_context.service_routes = ["/predict"]
    sys.path.insert(0, str(folder / "src"))
    from service import Service  # type: ignore[import-not-found]

    Service.inner.load()
    return Service.to_asgi(is_main=True)


def open_public_socket(host: str, port: int, inherited: int | None) -> socket.socket:
    """Take the inherited socket, which must be listening, or bind a new one; raises PublicAddressUnusable."""
    try:
        if inherited is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            opened = socket.socket(family, socket.SOCK_STREAM)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((host, port))
            return opened
        opened = socket.socket(fileno=inherited)
        listening = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        where = f"{host}:{port}" if inherited is None else f"file descriptor {inherited}"
        raise PublicAddressUnusable(f"cannot listen on {where}: {error.strerror or error}") from None
    if not listening:
        raise PublicAddressUnusable(f"file descriptor {inherited} is a socket that does not listen")
    return opened


def main(arguments: list[str] | None = None) -> int:
    """Run until stopped; exit status 3 when the model cannot be loaded or the address is taken."""
    options = _parse(arguments)
    try:
        logs.configure()
        vertex = VertexContract.load(os.environ)
        public = open_public_socket(options.host, vertex.port or options.port, options.fd)
        bento = options.bento.resolve()
        tracing = _start_tracing(bento)
        app = Edge(load_bento(bento), vertex.routes, tracing)
    except Exception as error:  # noqa: BLE001 - whatever it is, it keeps the model from serving
        log.error("%s: cannot be served: %s: %s", options.bento, type(error).__name__, one_line(error))  # noqa: TRY400
        return CANNOT_START
    if vertex.storage:
        log.warning("AIP_STORAGE_URI is ignored (%s): the model is in the Bento", vertex.storage)
    status = _run(options, app, public)
    if tracing is not None:
        tracing.close()
    return status


def _start_tracing(folder: Path) -> Tracing | None:
    """The service of all spans is the model; None where no collector is named."""
    import yaml

    described = yaml.safe_load((folder / "bento.yaml").read_text(encoding="utf-8"))
    return start_tracing(described["name"], {"service.version": described["version"]})


def _run(options: argparse.Namespace, app: Edge, public: socket.socket) -> int:
    import uvloop

    async def serve() -> None:
        await ModelServer(options, app, public).serve()

    uvloop.run(serve())
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bento.server", description="Serve an unpacked Bento.")
    parser.add_argument(
        "--bento", type=Path, default=Path.cwd().parent, help="the unpacked Bento (default: the parent of this folder)"
    )
    parser.add_argument("--name", default="", help="this server's name, which the standby file names when it is active")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000, help="where AIP_HTTP_PORT is not set")
    parser.add_argument("--fd", type=int, help="an inherited listening socket, instead of host and port")
    parser.add_argument("--standby", type=Path, help="accept nothing until this file's text is --name")
    parser.add_argument("--state", type=Path, help="where to say pid, private port and state, as JSON")
    parser.add_argument(
        "--drain-delay", type=float, default=0.0, help="seconds to go on accepting after SIGTERM, not ready"
    )
    parser.add_argument(
        "--drain-timeout", type=float, default=30.0, help="seconds after which idle connections are cut"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
