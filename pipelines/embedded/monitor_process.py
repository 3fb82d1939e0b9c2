"""The platform's monitor: its address, its token, and how it is started.

<home>/monitor.url      where it listens, the same after every restart
<home>/monitor.token    what model servers and labels come in with; made once, for this user's eyes only
"""

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.embedded.ports import HOST, holder, is_free
from pipelines.embedded.supervisor_client import Supervisor
from pipelines.errors import MlopsError
from pipelines.settings import Settings

MONITOR = "monitor"
FIRST_PORT, PORTS = 8400, 100


class MonitorPortTaken(MlopsError):
    """Another program listens where the monitor did."""


class NoPortForMonitor(MlopsError):
    """None of the monitor's ports is free."""


def url_file(home: Path) -> Path:
    return home / "monitor.url"


def choose_url(home: Path) -> str:
    """Where the monitor of this state folder listens; the first free port when it has none, or lost it."""
    file = url_file(home)
    had = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    if had and is_free(urlsplit(had).port or 0):
        return had
    port = next((port for port in range(FIRST_PORT, FIRST_PORT + PORTS) if is_free(port)), None)
    if port is None:
        raise NoPortForMonitor(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free for the monitor")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"http://{HOST}:{port}", encoding="utf-8")
    return f"http://{HOST}:{port}"


def read_token(home: Path) -> str:
    """The token, made when it is first asked for."""
    path = home / "monitor.token"
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    token = secrets.token_urlsafe(32)
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        file.write(token)
    return token


def start_monitor(settings: Settings, supervisor: Supervisor) -> None:
    """Start it where it does not run yet. Its socket is the supervisor's: open while a monitor comes back."""
    if MONITOR in supervisor.watched():
        return
    port = urlsplit(url_file(settings.home).read_text(encoding="utf-8").strip()).port or 0
    if supervisor.listen(MONITOR, HOST, port) is None:
        raise MonitorPortTaken(
            f"the monitor's port {port} is taken{holder(port)}", hint="mlops down && mlops up finds another one"
        )
    mlflow = settings.home / "mlflow.url"
    links = {"MLOPS_MLFLOW_URL": mlflow.read_text(encoding="utf-8").strip()} if mlflow.is_file() else {}
    environment = {
        **links,
        **os.environ,
        **settings.environ,
        "MLOPS_STORE": settings.store,
        "MLOPS_MONITOR_TOKEN": read_token(settings.home),
        "PYTHONPATH": os.pathsep.join(
            part for part in (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")) if part
        ),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "pipelines.monitor", "--fd", "0"]
    supervisor.start(MONITOR, command, settings.home, environment, socket=MONITOR)
