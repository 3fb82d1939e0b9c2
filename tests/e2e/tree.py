"""This very tree on the cluster's Git server, and the people who change it: by `git push` and by `mlops`."""

import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.settings import Settings
from tests.e2e.cluster import FLUX, ROOT, Cluster

AUTHOR = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in
          (("NAME", "e2e"), ("EMAIL", "e2e@example.com"))}  # fmt: skip
ENVIRONMENT = "local"


@dataclass(frozen=True)
class Tree:
    """A clone to work in, the repository that Flux reads, and a state folder for `mlops`."""

    cluster: Cluster
    folder: Path
    home: Path
    url: str
    base_image: str

    @classmethod
    def publish(cls, cluster: Cluster, folder: Path, base_image: str) -> "Tree":
        """The files of the checkout as they are now, as the first commit of a new repository."""
        tree = cls(
            cluster, folder / "clone", folder / "home", f"{cluster.git}/mlops-{secrets.token_hex(4)}.git", base_image
        )
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, tree.folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        tree.git("init", "-q", "-b", "main")
        tree.git("remote", "add", "origin", tree.url)
        tree.push("The tree as it is")
        return tree

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            **AUTHOR,
            "MLOPS_HOME": str(self.home),
            "MLOPS_REMOTE": self.url,
            "MLOPS_ENVIRONMENT": ENVIRONMENT,
            "MLOPS_IMAGES": f"{self.cluster.registry}/models",
            "MLOPS_BASE_IMAGE": self.base_image,
        }

    @property
    def settings(self) -> Settings:
        return Settings.load(self.environ, root=self.folder, home=self.home)

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env={**os.environ, **AUTHOR}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def push(self, message: str) -> str:
        """Commit what was changed in the clone, on top of what others pushed meanwhile; gives the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        if self.git("ls-remote", "origin", "main"):
            self.pull()
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def pull(self) -> str:
        self.git("pull", "-q", "--rebase", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def mlops(self, *words: str, seconds: float = 300) -> str:
        """The real command line, on the clone; gives what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--root", str(self.folder), *words],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"mlops {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def release(self, usecase: str) -> dict[str, str]:
        """What Git says is released."""
        self.pull()
        text = (self.folder / "apps" / usecase / ENVIRONMENT / "release.yaml").read_text(encoding="utf-8")
        data: dict[str, str] = yaml.safe_load(text)["data"]
        return data

    def bootstrap(self) -> None:
        """What Pulumi, or `make cluster`, gives a new cluster; from then on Git rules.

        There is no operator and no image from outside here, so FluxInstance's two objects are made by hand, and the
        stages that install software are suspended. The models wait for none of them, and a rollout that gets nowhere is
        given up after 20 seconds instead of 5 minutes. Everything else is applied as it is committed.
        """
        variables = self.folder / "clusters" / ENVIRONMENT / "platform-vars.yaml"
        self.cluster.apply(yaml.safe_load(variables.read_text(encoding="utf-8")))
        self.cluster.apply(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "metadata": {"name": FLUX, "namespace": FLUX, "labels": {"testcluster/webhook": "true"}},
                "spec": {"interval": "1m", "url": self.url, "ref": {"branch": "main"}},
            },
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": {"name": FLUX, "namespace": FLUX},
                "spec": {
                    "interval": "10m",
                    "path": f"./clusters/{ENVIRONMENT}",
                    "prune": True,
                    "sourceRef": {"kind": "GitRepository", "name": FLUX},
                    "patches": _patches(self.url),
                },
            },
        )

    def remove(self) -> None:
        """Flux takes back all that it applied for this tree."""
        self.cluster.kubectl("delete", "kustomization", FLUX, "-n", FLUX, "--wait", "--timeout=110s", seconds=120)
        self.cluster.kubectl("delete", "gitrepository", FLUX, "-n", FLUX, "--wait", "--timeout=50s")


def _patches(url: str) -> list[dict[str, object]]:
    """What differs from clusters/local as it is committed, and why: see `bootstrap`."""
    kustomizations = {"group": "kustomize.toolkit.fluxcd.io", "kind": "Kustomization"}
    deadline = [{"op": "replace", "path": "/spec/progressDeadlineSeconds", "value": 20}]
    quick = {"target": {"kind": "Deployment"}, "patch": yaml.safe_dump(deadline)}
    stages = [{"op": "add", "path": "/spec/suspend", "value": True}]
    models = [{"op": "remove", "path": "/spec/dependsOn"}, {"op": "add", "path": "/spec/patches", "value": [quick]}]
    source = [{"op": "replace", "path": "/spec/url", "value": url}]
    return [
        {"target": {**kustomizations, "labelSelector": "mlops-blueprint/stage"}, "patch": yaml.safe_dump(stages)},
        {"target": {**kustomizations, "labelSelector": "mlops-blueprint/usecase"}, "patch": yaml.safe_dump(models)},
        {"target": {"kind": "GitRepository", "name": "platform"}, "patch": yaml.safe_dump(source)},
    ]
