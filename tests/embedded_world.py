"""A whole embedded platform for a test: a checkout, a state folder, packed Bentos, releases by commit."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bento.signature import GOLDEN_FILE, Golden
from pipelines.embedded.platform import ModelStatus, RolloutResult, down, status, up, wait_for
from pipelines.embedded.state import RolloutRecord, rollouts
from pipelines.embedded.supervisor_client import RECONCILER, Supervisor
from pipelines.packaging.bentos import STORE_NAME, checksums
from pipelines.release.release import Release, release_path
from pipelines.release.releases import open_releases
from pipelines.settings import Settings
from tests.tiny_models import write_bento

WAIT = 60.0
INSTANCE = {"distance": 1400.0, "temperature": None, "origin": "EWR", "carrier": "UA"}
CRASHING_START = "import sys\nprint('the tokenizer is missing', file=sys.stderr)\nraise SystemExit(7)\n"


class World:
    """The platform of one state folder, driven as a person would: by commits."""

    def __init__(self, folder: Path, monitor: bool = False) -> None:
        self.monitor = monitor
        checkout = folder / "checkout"
        (checkout / "apps").mkdir(parents=True)
        (checkout / "apps" / "README.md").write_text("use cases\n")
        for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
            identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
            subprocess.run(["git", *identity, *command], cwd=checkout, check=True)
        self.settings = Settings.load({}, root=checkout, home=folder / "home")
        self.base = free_port()

    # --- the platform

    def up(self) -> Any:
        return up(self.settings, port=None if Supervisor(self.home).info else self.base, monitor=self.monitor)

    def down(self) -> bool:
        return down(self.settings)

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def reconciler_pid(self) -> int:
        """Of the one that runs now; waits for it while it is restarted."""
        return int(until(lambda: Supervisor(self.home).watched()[RECONCILER].pid))

    @property
    def servers(self) -> list[str]:
        return [name for name in Supervisor(self.home).watched() if name.count(".") >= 2]

    # --- what is packed and released

    def pack(
        self,
        version: str,
        name: str = "tiny-table",
        weight: float = 0.001,
        spoil: Callable[[Path], None] | None = None,
        **made: Any,
    ) -> Release:
        """A Bento in the store; `spoil` changes its folder before it is packed."""
        scratch = self.settings.root.parent / f"{name}-{version}"
        write_bento(scratch, version=version, name=name, weight=weight, **made)
        if spoil is not None:
            spoil(scratch)
        listing = checksums(scratch)
        digest = hashlib.sha256(listing.encode()).hexdigest()
        target = self.settings.bentos / name / digest
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(scratch, target)
        target.with_name(f"{digest}.sums").write_text(listing)
        return Release(
            bento=f"{name}:{version}",
            image=f"{STORE_NAME}/{name}@sha256:{digest}",
            model=f"{name}/{version}",
            run="r" * 32,
            data="d" * 12,
            code="c" * 40,
            metrics={"roc_auc": 0.7},
        )

    def folder_of(self, release: Release) -> Path:
        return self.settings.bentos / release.bento.split(":")[0] / release.digest.removeprefix("sha256:")

    def release(self, release: Release, environment: str = "staging", reason: str = "a test") -> str:
        usecase = release.bento.split(":")[0]
        return open_releases(self.settings).bump(usecase, environment, release, reason, force=True) or ""

    def write(self, path: str, text: str | None, message: str = "by hand") -> str:
        """A commit by hand; None removes the file."""
        return open_releases(self.settings).repository.commit(lambda _: ({path: text}, message)) or ""

    def unrelease(self, usecase: str = "tiny-table", environment: str = "staging") -> str:
        return self.write(release_path(usecase, environment), None, "take it down")

    # --- what can be seen

    def live(self, commit: str, usecase: str = "tiny-table", environment: str = "staging") -> RolloutResult:
        return wait_for(self.settings, usecase, environment, commit, timeout=WAIT)

    def model(self, usecase: str = "tiny-table", environment: str = "staging") -> ModelStatus | None:
        found = status(self.settings).models
        return next((m for m in found if (m.usecase, m.environment) == (usecase, environment)), None)

    def ask(self, usecase: str = "tiny-table", environment: str = "staging") -> dict[str, Any]:
        """What the model answers on its public port; it must be 200."""
        model = self.model(usecase, environment)
        assert model is not None
        answer = httpx.post(f"{model.url}/predict", json={"instances": [INSTANCE]}, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def serving(self, usecase: str = "tiny-table", environment: str = "staging") -> str:
        return self.ask(usecase, environment)["release"]["bento"]

    def acts(self, *outcomes: str) -> list[RolloutRecord]:
        return [record for record in rollouts(self.home) if record.outcome in outcomes]

    def log(self, name: str) -> str:
        path = self.settings.logs / f"{name}.log"
        return path.read_text() if path.is_file() else ""


@contextmanager
def world(folder: Path, monitor: bool = False) -> Iterator[World]:
    """A platform that is up, and that leaves no process behind."""
    made = World(folder, monitor)
    try:
        made.up()
        yield made
    finally:
        made.down()


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "it to happen") -> Any:
    """Poll until the condition gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.03)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def free_port() -> int:
    """A port with free ones after it, outside what the system gives to clients."""
    start = 20_000 + (os.getpid() * 37) % 10_000
    for port in range(start, 32_000, 20):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def crash_at_start(folder: Path) -> None:
    (folder / "src" / "service.py").write_text(CRASHING_START)


def wrong_golden(folder: Path) -> None:
    path = folder / "src" / "model" / GOLDEN_FILE
    golden = Golden.read(path)
    Golden(instances=golden.instances, outputs=[[0.99, 0.01]]).write(path)


def truncate_model(folder: Path) -> None:
    path = folder / "src" / "model" / "model.onnx"
    path.write_bytes(path.read_bytes()[:60])


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
