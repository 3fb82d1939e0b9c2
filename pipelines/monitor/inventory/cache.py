"""The last sight of what is watched, looked at again and again beside everything else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from pipelines.errors import MlopsError
from pipelines.monitor.inventory.inventory import Sight, Watching

SeenAnew = Callable[[Sight], None]


class InventoryCache:
    """Keeps a sight. When looking fails, what was known stays, and the sight says what is wrong."""

    def __init__(self, watching: Watching, seen: SeenAnew = lambda _sight: None) -> None:
        self._watching = watching
        self._seen = seen
        self._sight = Sight()
        self._guard = threading.Lock()

    @property
    def sight(self) -> Sight:
        with self._guard:
            return self._sight

    def look(self) -> Sight:
        """Look now."""
        try:
            found = self._watching.look()
        except MlopsError as error:
            found = replace(self.sight, problems=(error.message,))
        with self._guard:
            self._sight = found
        self._seen(found)
        return found
