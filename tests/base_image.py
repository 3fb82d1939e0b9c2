"""A serving base for tests, made here without Docker: Debian by debootstrap, the `serve` extra, and the contract of
bento/Dockerfile (its user, environment, folder and command are read from that file).

    ensure_base_image("127.0.0.1:5000")    → 127.0.0.1:5000/mlops/serving-base@sha256:…

Made once (about two minutes) and kept in the user's cache; from then on it is pushed in seconds.
"""

import gzip
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.images.access import RegistryAccess
from pipelines.images.manifest import CONFIG, LAYER, OCI_MANIFEST, Descriptor, Manifest, canonical
from pipelines.images.registry import Registry, Repository

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "bento" / "Dockerfile"
REPOSITORY = "mlops/serving-base"
DEBIAN = "bookworm"
PACKAGES = "python3,ca-certificates"
BUILD_SECONDS = 900
TAKEN_OUT = (
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/hostname",
)
Say = Callable[[str], None]


@dataclass(frozen=True)
class BaseImage:
    """The files of a base image in the cache; `digest` is that of its manifest."""

    folder: Path

    @property
    def manifest(self) -> bytes:
        return (self.folder / "manifest.json").read_bytes()

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    @property
    def bytes(self) -> int:
        return sum(each.size for each in Manifest.model_validate_json(self.manifest).layers)

    def push(self, registry: str, access: RegistryAccess | None = None) -> str:
        """Its name by digest in a registry, which gets what it does not have."""
        with Registry(registry, access or RegistryAccess.load({"MLOPS_PLAIN_REGISTRIES": registry})) as opened:
            repository = Repository(opened, REPOSITORY, f"{registry}/{REPOSITORY}")
            if repository.digest_of(self.digest) is None:
                described = Manifest.model_validate_json(self.manifest)
                for blob in [*described.layers, described.config]:
                    if not repository.has(blob.digest):
                        repository.upload(blob, lambda blob=blob: _read(self.folder / blob.digest.split(":")[1]))
                repository.put_manifest("test", self.manifest, OCI_MANIFEST)
        return f"{registry}/{REPOSITORY}@{self.digest}"


def ensure_base_image(registry: str) -> str:
    """The serving base in this registry (plain HTTP), by digest; skips the test where one cannot be made."""
    return base_image().push(registry)


def base_image(say: Say | None = None) -> BaseImage:
    """The serving base, out of the cache or made now; skips the test where it cannot be made."""
    from filelock import FileLock

    say = say or (lambda text: print(text, file=sys.stderr))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-blueprint" / "base-image"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock", timeout=BUILD_SECONDS):
        ready = cache / _key()
        if not (ready / "manifest.json").is_file():
            _require_means()
            say(f"making a serving base for tests in {ready} (a few minutes, once)")
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _build(Path(scratch))
                shutil.rmtree(ready, ignore_errors=True)
                (Path(scratch) / "image").rename(ready)
        return BaseImage(ready)


def contract() -> dict[str, Any]:
    """The image config that the last stage of bento/Dockerfile asks for."""
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    last: list[tuple[str, str]] = []
    for line in text.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        last = [] if instruction == "FROM" else [*last, (instruction, rest.strip())]
    one = dict(last)
    return {
        "User": one["USER"],
        "WorkingDir": one["WORKDIR"],
        "Env": ["=".join(shlex.split(rest)) for instruction, rest in last if instruction == "ENV"],
        "ExposedPorts": {f"{one['EXPOSE']}/tcp": {}},
        "StopSignal": one["STOPSIGNAL"],
        "Cmd": json.loads(one["CMD"]),
    }


def _key() -> str:
    """What the image is made of; any change of it makes another one."""
    made_of = [Path(__file__), DOCKERFILE, ROOT / "requirements.lock", ROOT / "pyproject.toml"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_of)).hexdigest()[:16]


def _require_means() -> None:
    if os.geteuid() != 0:
        pytest.skip("a base image is made with debootstrap, which needs root")
    if shutil.which("debootstrap"):
        return
    if shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "debootstrap"]):
            subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True, check=False, timeout=300)
    if not shutil.which("debootstrap"):
        pytest.skip("a base image is made with debootstrap, which is not here: apt-get install debootstrap")


def _build(scratch: Path) -> None:
    system, packages, image = scratch / "system", scratch / "packages", scratch / "image"
    image.mkdir()
    _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, system)
    for name in TAKEN_OUT:
        path = system / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in ("var/log", "tmp", "home/bentoml/bento/src"):
        (system / name).mkdir(parents=True, exist_ok=True)
    (system / "tmp").chmod(0o1777)
    venv = packages / "opt" / "venv"
    _run("chroot", system, "python3", "-m", "venv", "--without-pip", "/opt/venv")
    venv.parent.mkdir(parents=True)
    (system / "opt" / "venv").rename(venv)
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    uv = Path(sys.executable).parent / "uv"
    wanted = [
        "--requirements",
        ROOT / "pyproject.toml",
        "--extra",
        "serve",
        "--constraints",
        ROOT / "requirements.lock",
    ]
    _run(uv, "pip", "install", "-q", "--no-build", "--python-version", site.parent.name[6:], "--target", site, *wanted)
    _run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", site)
    layers = [_layer(system, image), _layer(packages, image)]
    config = {
        "architecture": _run("dpkg", "--print-architecture").strip(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": contract(),
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        "history": [{"created_by": "debootstrap"}, {"created_by": "uv pip install"}],
    }
    content = canonical(config)
    digest = hashlib.sha256(content).hexdigest()
    (image / digest).write_bytes(content)
    described = Descriptor(media_type=CONFIG, digest=f"sha256:{digest}", size=len(content))
    (image / "manifest.json").write_bytes(Manifest(config=described, layers=[blob for blob, _ in layers]).encode())


def _layer(folder: Path, image: Path) -> tuple[Descriptor, str]:
    """A whole tree as a layer, links, modes and owners included, times not."""
    plain, packed = image / "layer.tar", image / "layer.tar.gz"
    with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            entry = tar.gettarinfo(path, arcname=str(path.relative_to(folder)))
            if entry is None:
                continue
            entry.mtime, entry.uname, entry.gname = 0, "", ""
            if entry.isreg():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    diff_id = _sha256(plain)
    with (
        plain.open("rb") as source,
        packed.open("wb") as target,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0) as compressed,
    ):
        shutil.copyfileobj(source, compressed, 1 << 20)
    plain.unlink()
    digest = _sha256(packed)
    size = packed.stat().st_size
    packed.rename(image / digest)
    return Descriptor(media_type=LAYER, digest=f"sha256:{digest}", size=size), f"sha256:{diff_id}"


def _run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
    )
    if done.returncode != 0:
        said = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
        pytest.skip(f"no base image can be made here: {command[0]} failed: {said}")
    return done.stdout


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from iter(lambda: opened.read(1 << 20), b"")


if __name__ == "__main__":
    print(ensure_base_image(sys.argv[1]))
