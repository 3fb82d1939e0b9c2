"""One port for each use case and environment, the same after every restart."""

import json
import threading
from pathlib import Path

from pipelines.documents import write_atomically

HOST = "127.0.0.1"
DEFAULT_BASE = 8600
TRIES = 200


class Ports:
    """The ports given out so far, kept in <home>/ports.json. One process writes it; its threads may share this."""

    def __init__(self, home: Path) -> None:
        self.path = home / "ports.json"
        self._lock = threading.Lock()

    @property
    def base(self) -> int:
        return int(self._read().get("base", DEFAULT_BASE))

    def set_base(self, base: int) -> None:
        """Give ports from here on; those given from another base are forgotten."""
        if base != self.base or not self.path.is_file():
            write_atomically(self.path, json.dumps({"base": base}))

    def known(self, name: str) -> int | None:
        """The port that was given to this name, if any."""
        return self._read().get(name)

    def candidates(self, name: str) -> list[int]:
        """The ports to try, best first: the one it had, then those nobody has."""
        given = self._read()
        taken = {port for key, port in given.items() if key not in ("base", name)}
        own = given.get(name)
        free = [port for port in range(self.base, min(self.base + TRIES, 65536)) if port not in taken]
        return [own, *(port for port in free if port != own)] if own else free

    def remember(self, name: str, port: int) -> None:
        with self._lock:
            write_atomically(self.path, json.dumps(self._read() | {name: port}, indent=2))

    def _read(self) -> dict[str, int]:
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}


def holders(port: int) -> list[int]:
    """The processes that listen on a port of this machine, as far as this user may know."""
    import psutil

    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []
    return sorted({c.pid for c in listening if c.pid and c.laddr and c.laddr.port == port})


def holder(port: int) -> str:
    """` by <program> (pid <pid>)` for a port that is taken; nothing when that is not to be known."""
    import psutil

    for pid in holders(port):
        try:
            return f" by {psutil.Process(pid).name()} (pid {pid})"
        except psutil.Error:
            continue
    return ""


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True
