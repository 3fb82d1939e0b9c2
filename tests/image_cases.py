"""What the image tests stand on: a small base image in any form, a packed Bento, a publish."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from pipelines.packaging.bentos import PackedBento, checksums, keep
from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.manifest import (
    CONFIG,
    DOCKER,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    LAYER,
    OCI_INDEX,
    OCI_MANIFEST,
)
from pipelines.packaging.oci.publish import BentoFolder, PublishedImage, publish
from pipelines.settings import Settings
from tests.tiny_models import write_bento

BASE_REPOSITORY = "mlops/serving-base"
ANYBODY = RegistryAccess()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def put_blob(host: str, repository: str, content: bytes, auth: Any = None) -> dict[str, Any]:
    """Past our own client, so that what it is tested against was not made by it."""
    base = f"http://{host}/v2/{repository}/blobs"
    with httpx.Client(auth=auth) as client:
        started = client.post(f"{base}/uploads/")
        assert started.status_code == 202, started.text
        where = httpx.URL(started.headers["location"]).copy_merge_params({"digest": digest_of(content)})
        stored = client.put(where, content=content, headers={"Content-Type": "application/octet-stream"})
        assert stored.status_code == 201, stored.text
    return {"digest": digest_of(content), "size": len(content)}


def put_manifest(host: str, repository: str, reference: str, manifest: dict[str, Any], auth: Any = None) -> str:
    content = json.dumps(manifest).encode()
    url = f"http://{host}/v2/{repository}/manifests/{reference or digest_of(content)}"
    stored = httpx.put(url, content=content, headers={"Content-Type": manifest["mediaType"]}, auth=auth)
    assert stored.status_code == 201, stored.text
    return digest_of(content)


def layer_of(name: str, content: bytes) -> tuple[bytes, str]:
    """A layer with one file, and its diff id."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0), digest_of(plain.getvalue())


def push_base(
    host: str,
    *,
    repository: str = BASE_REPOSITORY,
    tag: str = "1",
    docker: bool = False,
    architecture: str = "amd64",
    auth: Any = None,
) -> str:
    """A base image of two small layers, in OCI's or Docker's form; its name by digest."""
    layers = [layer_of(f"opt/{part}-{architecture}", os.urandom(2000)) for part in ("system", "packages")]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {"User": "1034:1034", "Env": ["PATH=/opt/venv/bin"], "Cmd": ["python"], "Labels": {"base": "yes"}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        "history": [{"created_by": "a test"}, {"created_by": "a test"}],
    }
    kinds = (
        (DOCKER_MANIFEST, f"{DOCKER}.container.image.v1+json", f"{DOCKER}.image.rootfs.diff.tar.gzip")
        if docker
        else (OCI_MANIFEST, CONFIG, LAYER)
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": kinds[0],
        "config": {"mediaType": kinds[1], **put_blob(host, repository, json.dumps(config).encode(), auth)},
        "layers": [{"mediaType": kinds[2], **put_blob(host, repository, layer, auth)} for layer, _ in layers],
    }
    return f"{host}/{repository}@{put_manifest(host, repository, tag, manifest, auth)}"


def push_index(host: str, *, docker: bool = False, repository: str = BASE_REPOSITORY) -> str:
    """A base for two platforms, with an attestation beside it as buildx makes one."""
    entries = []
    for architecture in ("amd64", "arm64"):
        name = push_base(host, repository=repository, docker=docker, architecture=architecture, tag=architecture)
        digest = name.split("@")[1]
        size = len(get_manifest(host, repository, digest)[0])
        kind = DOCKER_MANIFEST if docker else OCI_MANIFEST
        platform = {"os": "linux", "architecture": architecture}
        entries.append({"mediaType": kind, "digest": digest, "size": size, "platform": platform})
    unknown = {"platform": {"os": "unknown", "architecture": "unknown"}}
    index = {
        "schemaVersion": 2,
        "mediaType": DOCKER_INDEX if docker else OCI_INDEX,
        "manifests": [*entries, {**entries[0], **unknown}],
    }
    return f"{host}/{repository}@{put_manifest(host, repository, 'both', index)}"


def get_manifest(host: str, repository: str, reference: str) -> tuple[bytes, httpx.Headers]:
    accept = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
    got = httpx.get(f"http://{host}/v2/{repository}/manifests/{reference}", headers={"Accept": accept})
    assert got.status_code == 200, got.text
    return got.content, got.headers


def get_blob(host: str, repository: str, digest: str) -> bytes:
    got = httpx.get(f"http://{host}/v2/{repository}/blobs/{digest}")
    assert got.status_code == 200, got.text
    return got.content


def tags(host: str, repository: str) -> list[str]:
    got = httpx.get(f"http://{host}/v2/{repository}/tags/list")
    return sorted(got.json().get("tags") or []) if got.status_code == 200 else []


def bento_folder(folder: Path, version: str = "1", weight: float = 0.001, ballast: int = 0) -> BentoFolder:
    """A Bento as it is published; `ballast` bytes that do not compress make its layer long."""
    write_bento(folder, version=version, weight=weight)
    if ballast:
        (folder / "src" / "model" / "weights.bin").write_bytes(os.urandom(ballast))
    return described(folder, version)


def described(folder: Path, version: str = "1") -> BentoFolder:
    files = [line.split("  ", 1)[1] for line in checksums(folder).splitlines()]
    created = "2026-01-01T00:00:00+00:00"
    return BentoFolder(folder, files, "tiny-table", version, created, {"mlops-blueprint/run": "r" * 32})


def push(bento: BentoFolder, host: str, base: str, access: RegistryAccess = ANYBODY, **options: Any) -> PublishedImage:
    return publish(bento, f"{host}/team/models/tiny-table", base, access, **options)


def packed(settings: Settings, scratch: Path, version: str = "1", weight: float = 0.001) -> PackedBento:
    """A Bento in the store, as `pack` leaves it."""
    settings.bentos.mkdir(parents=True, exist_ok=True)
    return keep(
        write_bento(scratch / version, version=version, weight=weight),
        "tiny-table",
        f"tiny-table:{version}",
        settings.bentos,
    )


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
