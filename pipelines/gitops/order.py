"""What of a cluster is there, and ready, before a Kustomization is applied."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pipelines.gitops.flux import Applied, Cluster


@dataclass(frozen=True)
class Order:
    """The Kustomizations of a cluster by name; `parents` says which one contains another."""

    cluster: Cluster

    @cached_property
    def parents(self) -> dict[str, str]:
        return {
            str(manifest["metadata"]["name"]): applied.name
            for applied, manifest in self.cluster.objects()
            if manifest.get("kind") == "Kustomization"
        }

    def ancestors(self, name: str) -> list[str]:
        found: list[str] = []
        while name in self.parents and self.parents[name] not in found:
            name = self.parents[name]
            found.append(name)
        return found

    def ready(self, name: str) -> set[str]:
        """What it waits for, itself or by way of what contains it, all the way; with what those contain."""
        found: set[str] = set()
        waiting = self._needs([name, *self.ancestors(name)])
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                waiting += self._needs([each, *self.ancestors(each)])
                waiting += [child for child, parent in self.parents.items() if parent == each]
        return found - {name}

    def there(self, name: str) -> set[str]:
        """Whose objects exist already, ready or not: its own, of what contains it, and what is ready."""
        return {name, *self.ancestors(name), *self.ready(name)}

    def cycle(self, name: str) -> list[str]:
        """The way from a Kustomization back to itself, by dependsOn alone; empty where there is none."""
        ways = [[name]]
        seen: set[str] = set()
        while ways:
            way = ways.pop()
            for need in self._needs([way[-1]]):
                if need == name:
                    return [*way, need]
                if need not in seen:
                    seen.add(need)
                    ways.append([*way, need])
        return []

    def applied(self, names: Iterable[str]) -> list[Applied]:
        return [self.cluster.by_name[name] for name in sorted(names) if name in self.cluster.by_name]

    def _needs(self, names: Iterable[str]) -> list[str]:
        return [need for each in self.applied(names) for need in each.needs]
