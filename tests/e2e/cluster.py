"""A real Kubernetes with Flux, a Git server and an image registry, driven by kubectl."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
FLUX = "flux-system"


class ClusterError(AssertionError):
    """The cluster refused something, or something did not come about in time."""


@dataclass(frozen=True)
class Cluster:
    """`git` is the prefix of repository URLs, `registry` the address of the registry, as seen from here and inside."""

    kubeconfig: Path
    git: str
    registry: str

    def kubectl(self, *words: str, text: str | None = None, seconds: float = 60) -> str:
        done = subprocess.run(
            ["kubectl", *words],
            input=text,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *documents: dict[str, Any], dry_run: bool = False) -> None:
        """Server-side, as Flux does it."""
        words = ["apply", "--server-side", "--force-conflicts", "-f", "-"]
        if dry_run:
            words.append("--dry-run=server")
        self.kubectl(*words, text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)}))

    def find(self, kind: str, name: str, namespace: str = FLUX) -> dict[str, Any] | None:
        found = self.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else None

    def get(self, kind: str, name: str, namespace: str = FLUX) -> dict[str, Any]:
        found = self.find(kind, name, namespace)
        if found is None:
            raise ClusterError(f"{kind} {namespace}/{name} is not there")
        return found

    def names(self, kind: str, namespace: str = FLUX) -> set[str]:
        listed = json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json"))["items"]
        return {item["metadata"]["name"] for item in listed}

    def reconcile(self, kind: str, name: str, namespace: str = FLUX) -> None:
        """Ask Flux to look now, as `flux reconcile` does."""
        stamp = f"reconcile.fluxcd.io/requestedAt={time.time_ns()}"
        self.kubectl("annotate", "--overwrite", kind, name, "-n", namespace, stamp)


def wait_for(what: str, look: Callable[[], T | None], seconds: float, pause: float = 0.2) -> T:
    """The first truthy thing that `look` gives; a ClusterError in it means not yet."""
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            found = look()
            if found:
                return found
            last = found
        except ClusterError as error:
            last = error
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:g} s; last seen: {last}")
        time.sleep(pause)


def condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    """One of an object's status conditions, empty when it has none of that kind."""
    listed = found.get("status", {}).get("conditions", [])
    return next((entry for entry in listed if entry["type"] == kind), {})


def is_ready(found: dict[str, Any]) -> bool:
    """Ready, and about what the object asks for now."""
    observed = found.get("status", {}).get("observedGeneration")
    return condition(found, "Ready").get("status") == "True" and observed == found["metadata"]["generation"]
