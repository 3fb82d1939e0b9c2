"""Run a monitor until it is told to stop."""

from __future__ import annotations

from pipelines.monitor.access import require_closed
from pipelines.monitor.app import make_app
from pipelines.monitor.monitor import Monitor
from pipelines.monitor.options import Options
from pipelines.monitor.sight import Watching
from pipelines.settings import Settings

LEAVE_SECONDS = 10


def serve(settings: Settings, options: Options, host: str, port: int, fd: int | None = None) -> None:
    """Listen on host and port, or on a socket that is open already, until SIGTERM or SIGINT."""
    import socket

    import uvicorn

    require_closed(host, settings.monitor_token)
    monitor = Monitor(settings, options, watching(settings, options))
    config = uvicorn.Config(
        make_app(monitor),
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=LEAVE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)] if fd is not None else None)


def watching(settings: Settings, options: Options) -> Watching:
    """Where it is told what is watched."""
    if options.watch == "cluster":
        from pipelines.monitor.in_cluster import ClusterWatching

        return ClusterWatching(settings)
    from pipelines.monitor.from_git import GitWatching

    return GitWatching(settings)
