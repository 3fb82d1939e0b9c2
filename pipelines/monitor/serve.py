"""Run a monitor until it is told to stop."""

from __future__ import annotations

import socket

from pipelines import logs
from pipelines.errors import MlopsError
from pipelines.monitor.app import make_app
from pipelines.monitor.auth import require_closed
from pipelines.monitor.inventory.inventory import Watching
from pipelines.monitor.monitor import Monitor
from pipelines.monitor.options import Options
from pipelines.settings import Settings

HOST, PORT = "127.0.0.1", 8400
LEAVE_SECONDS = 10


class CannotListen(MlopsError):
    """The address is another program's, or none of this machine."""


def serve(settings: Settings, options: Options, host: str, port: int, fd: int | None = None) -> None:
    """Listen on host and port, or on a socket that is open already, until SIGTERM or SIGINT."""
    import uvicorn

    logs.configure()
    require_closed(host, settings.monitor_token)
    listening = _listen(host, port) if fd is None else socket.socket(fileno=fd)
    monitor = Monitor(settings, options, watching(settings, options))
    config = uvicorn.Config(
        make_app(monitor),
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=LEAVE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise CannotListen(
            f"the monitor cannot listen on {host}, port {port}: {error.strerror}",
            hint="choose another one: --port NUMBER",
        ) from error


def watching(settings: Settings, options: Options) -> Watching:
    """Where it is told what is watched."""
    if options.watch == "cluster":
        from pipelines.monitor.inventory.kubernetes import ClusterWatching

        return ClusterWatching(settings)
    from pipelines.monitor.inventory.embedded import GitWatching

    return GitWatching(settings)
