"""One port for each use case and environment, the same after every restart."""

import json
from pathlib import Path

from pipelines.documents import write_atomically

HOST = "127.0.0.1"
DEFAULT_BASE = 8600
TRIES = 200


class Ports:
    """The ports given out so far, kept in <home>/ports.json."""

    def __init__(self, home: Path) -> None:
        self.path = home / "ports.json"

    @property
    def base(self) -> int:
        return int(self._read().get("base", DEFAULT_BASE))

    def set_base(self, base: int) -> None:
        """Begin anew at this port."""
        write_atomically(self.path, json.dumps({"base": base}))

    def known(self, name: str) -> int | None:
        """The port that was given to this name, if any."""
        port = self._read().get(name)
        return int(port) if port else None

    def candidates(self, name: str) -> list[int]:
        """The ports to try, best first: the one it had, then those nobody has."""
        taken = {int(port) for key, port in self._read().items() if key not in ("base", name)}
        own = self.known(name)
        free = [port for port in range(self.base, min(self.base + TRIES, 65536)) if port not in taken]
        return [own, *(port for port in free if port != own)] if own else free

    def remember(self, name: str, port: int) -> None:
        write_atomically(self.path, json.dumps(self._read() | {name: port}, indent=2))

    def _read(self) -> dict[str, int]:
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
