"""A checkout whose tiny use case is on Vertex AI, releases made by real commits, and a clock that tests move."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from pipelines.release.release import Release
from pipelines.release.releases import Releases, open_releases
from pipelines.vertex.api import VertexApi
from pipelines.vertex.config import VertexConfig, load_config
from pipelines.vertex.reconcile import reconcile
from pipelines.vertex.target import VertexTarget, read_target
from tests.fake_vertex import FakeVertex
from tests.pipeline_cases import NAME, Lab, git

REGISTRY = "europe-west4-docker.pkg.dev/example-ml/models"
PIPELINES = {
    "bucket": "gs://example-ml-vertex/pipelines",
    "images": {"default": f"{REGISTRY}/pipeline@sha256:{'e' * 64}"},
    "service_account": "vertex@example-ml.iam.gserviceaccount.com",
}
CONFIG = {
    "apiVersion": "mlops-blueprint/v1",
    "project": "example-ml",
    "region": "europe-west4",
    "endpoints": {"usecases": [NAME], "canary": {"percent": 10, "hold": "10m"}},
    "pipelines": PIPELINES,
}


class Clock:
    """Time passes when somebody sleeps, and when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@dataclass
class World:
    """Git on one side, the fake on the other."""

    lab: Lab
    fake: FakeVertex
    clock: Clock
    said: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path, fake: FakeVertex) -> "World":
        clock = Clock()
        fake.clock = clock
        world = cls(Lab(root), fake, clock)
        world.write_config(CONFIG)
        return world

    @property
    def root(self) -> Path:
        return self.lab.root

    @property
    def releases(self) -> Releases:
        return open_releases(self.lab.settings)

    @property
    def config(self) -> VertexConfig:
        return load_config(self.root, "staging")

    @property
    def target(self) -> VertexTarget:
        return read_target(self.root, NAME, "staging", self.config)

    @property
    def api(self) -> VertexApi:
        return VertexApi(
            self.fake.project, self.fake.region, self.fake.address, lambda: self.fake.token, 0.01, self.clock.sleep
        )

    def write_config(self, values: dict) -> None:
        (self.root / "vertex").mkdir(exist_ok=True)
        (self.root / "vertex" / "staging.yaml").write_text(yaml.safe_dump(values, sort_keys=False))

    def release(self, version: int) -> str:
        """A real release commit, pulled into the checkout."""
        commit = self.releases.bump(NAME, "staging", released(version), "a test")
        self.pull()
        return commit or ""

    def roll_back(self) -> str:
        commit = self.releases.rollback(NAME, "staging", "a test").commit
        self.pull()
        return commit

    def pull(self) -> None:
        git(self.root, "pull", "-q", "--ff-only", self.lab.settings.remote, "main")

    def reconcile(self, **options) -> str:
        self.said.clear()
        return reconcile(self.api, self.target, self.said.append, clock=self.clock, **options)

    @property
    def plan(self) -> list[str]:
        return [line.split(". ", 1)[1] for line in self.said if line.startswith("plan")]

    @property
    def serving(self) -> dict[str, int]:
        """The traffic by Bento."""
        endpoint = self.fake.endpoints[f"{NAME}-staging"]
        names = {each["id"]: each["displayName"] for each in endpoint["deployedModels"]}
        return {name: endpoint["trafficSplit"].get(number, 0) for number, name in names.items()}


def released(version: int) -> Release:
    """A release whose image has a digest of its own."""
    return Release(
        bento=f"{NAME}:{version}",
        image=f"{REGISTRY}/{NAME}@sha256:{version:064x}",
        model=f"{NAME}/{version}",
        run=f"run{version}",
        data="3fa9",
        code="1a2b",
        metrics={"roc_auc": 0.9},
    )
