"""Which cluster the tests of this folder run on.

    MLOPS_E2E_KUBECONFIG   an existing cluster with Flux, such as `make cluster` makes
    MLOPS_E2E_GIT          prefix of its Git server's URLs       (https://git.example.com/team)
    MLOPS_E2E_REGISTRY     its image registry                    (localhost:5001)
    MLOPS_TESTCLUSTER      else: the folder of a kit with `up` and `down` (default: ../shared/testcluster)
    MLOPS_SCHEMAS          a folder with crds/<component>/*.yaml (default: ../shared/schemas)

Without either the tests are skipped. A cluster that was up before stays up.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.tree import Tree

SCHEMAS = Path(os.environ.get("MLOPS_SCHEMAS", ROOT.parent / "shared" / "schemas"))
KIT = Path(os.environ.get("MLOPS_TESTCLUSTER", ROOT.parent / "shared" / "testcluster"))
BUILD_SECONDS = 1800


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that is ready."""
    given = os.environ.get("MLOPS_E2E_KUBECONFIG")
    if given:
        yield Cluster(Path(given), os.environ["MLOPS_E2E_GIT"].rstrip("/"), os.environ["MLOPS_E2E_REGISTRY"])
        return
    missing = _missing()
    if missing:
        pytest.skip(f"no cluster: set MLOPS_E2E_KUBECONFIG, or MLOPS_TESTCLUSTER to a kit; {missing}")
    state = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "testcluster" / "state"
    was_up = (state / "kubeconfig").is_file()
    started = subprocess.run([KIT / "up"], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if started.returncode != 0:
        pytest.fail(f"{KIT / 'up'} failed:\n{started.stderr[-2000:]}")
    yield _described(started.stdout)
    if not was_up:
        subprocess.run([KIT / "down"], capture_output=True, timeout=120, check=False)


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> None:
    """The kinds that charts from outside would bring."""
    folder = SCHEMAS / "crds"
    if not folder.is_dir():
        pytest.skip(
            f"no CustomResourceDefinitions: there is no {folder}; MLOPS_SCHEMAS names the folder that has crds/"
        )
    for component in sorted(path for path in folder.iterdir() if path.is_dir()):
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(component), seconds=120)


@pytest.fixture(scope="module")
def tree(cluster: Cluster, crds: None, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """This tree in a new repository on the cluster's Git server."""
    from tests.base_image import ensure_base_image

    return Tree.publish(cluster, tmp_path_factory.mktemp("tree"), ensure_base_image(cluster.registry))


def _missing() -> str:
    if not (KIT / "up").is_file():
        return f"there is no {KIT / 'up'}"
    if os.geteuid() != 0:
        return "the kit needs root"
    return "" if shutil.which("go") else "the kit needs Go"


def _described(told: str) -> Cluster:
    """From what `up` prints for a shell to evaluate."""
    kubeconfig = re.search(r"^export KUBECONFIG=(.+)$", told, re.MULTILINE)
    git = re.search(r"^# Git server: (\S+)/NAME\.git$", told, re.MULTILINE)
    registry = re.search(r"^# Image registry: (\S+)$", told, re.MULTILINE)
    if not (kubeconfig and git and registry):
        pytest.fail(f"{KIT / 'up'} did not say where the cluster is:\n{told}")
    return Cluster(Path(kubeconfig[1]), git[1], registry[1])
