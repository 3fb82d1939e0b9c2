"""A small use case in a place that is like a cluster: every step apart, every store a server."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.pipeline.compiling.compiled import Compiled, compile_pipeline
from pipelines.runs.request import RunRequest
from pipelines.runs.shared_journal import SharedJournal
from pipelines.settings import Settings
from pipelines.usecase import load_usecase
from tests.image_cases import push_base
from tests.kfp_backend import Backend, Processes, Task, Told
from tests.pipeline_cases import NAME, Lab
from tests.stores import TOKEN, Stores, git_server

IMAGE = "registry.example.com/mlops/pipeline:1"
STEPS = list(TRAIN_AND_RELEASE.step_names)


@dataclass
class Apart:
    """A checkout, the stores, and steps that share nothing else."""

    lab: Lab
    stores: Stores
    remote: str
    base: str
    folder: Path

    @cached_property
    def compiled(self) -> Compiled:
        return compile_pipeline(load_usecase(self.lab.root, NAME, "staging"), IMAGE)

    @cached_property
    def settings(self) -> Settings:
        """Of somebody who follows runs: MLflow, and a state folder of his own."""
        environ = {"MLOPS_TRACKING_URI": self.stores.tracking_uri}
        return Settings.load(environ, root=self.lab.root, home=self.folder / "follower")

    @cached_property
    def config_maps(self) -> dict[str, dict[str, str]]:
        token = self.folder / "token"
        token.write_text(TOKEN)
        plain = {"MLOPS_GIT_TOKEN_FILE": str(token)}
        return {"mlops-settings": self.stores.settings(self.remote, self.base) | plain}

    @cached_property
    def place(self) -> Processes:
        secrets = {"object-store": self.stores.keys}
        return Processes(self.folder / "bucket", self.lab.root, self.config_maps, secrets)

    def backend(self) -> Backend:
        return Backend(self.compiled.spec, self.compiled.platform, self.place)

    def run(self, request: RunRequest, told: Told = lambda _step, _task: None) -> dict[str, Task]:
        return self.backend().run(request.run_id, request.model_dump(mode="json", exclude_none=True), told)

    def journal(self, request: RunRequest) -> SharedJournal:
        return SharedJournal(self.stores.tracking_uri, request.usecase, request.run_id)


@contextlib.contextmanager
def apart(lab: Lab, stores: Stores, folder: Path) -> Iterator[Apart]:
    folder.mkdir(parents=True, exist_ok=True)
    with git_server(Path(lab.settings.remote)) as remote:
        yield Apart(lab, stores, remote, push_base(stores.registry.host), folder)
