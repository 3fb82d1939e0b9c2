"""A serving base for tests, made here without Docker: Debian by debootstrap, the `serve` extra, and the contract of
bento/Dockerfile (its user, environment, folder and command are read from that file).

    ensure_base_image("127.0.0.1:5000")    → 127.0.0.1:5000/mlops/serving-base@sha256:…

Made once (about two minutes) and kept in the user's cache; from then on it is pushed in seconds.
"""

import gzip
import hashlib
import inspect
import json
import os
import platform
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

from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.manifest import CONFIG, LAYER, OCI_MANIFEST, Descriptor, ImageManifest, canonical
from pipelines.packaging.oci.registry import ImageRepository, Registry

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "bento" / "Dockerfile"
REPOSITORY = "mlops/serving-base"
DEBIAN = "bookworm"
PACKAGES = "python3,ca-certificates"
UV = Path(sys.executable).parent / "uv"
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
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class CachedLayer:
    """A layer's file in the cache, and what is known of it."""

    file: Path
    blob: Descriptor
    diff_id: str
    unpacked: int

    @classmethod
    def of(cls, name: Path) -> "CachedLayer | None":
        try:
            known = json.loads(name.with_suffix(".json").read_text())
        except OSError:
            return None
        blob = Descriptor(media_type=LAYER, digest=known["digest"], size=known["size"])
        return cls(name.with_suffix(".tar.gz"), blob, known["diff_id"], known["unpacked"])


@dataclass(frozen=True)
class BaseImage:
    """A base image whose layers lie in the cache."""

    layers: list[CachedLayer]

    @property
    def config(self) -> bytes:
        return canonical(
            {
                "architecture": ARCHITECTURES[platform.machine()],
                "os": "linux",
                "created": "1970-01-01T00:00:00Z",
                "config": contract(),
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
                "history": [{"created_by": "debootstrap"}, {"created_by": "uv pip install"}],
            }
        )

    @property
    def manifest(self) -> bytes:
        return ImageManifest(config=_described(self.config), layers=[layer.blob for layer in self.layers]).encode()

    @property
    def packed(self) -> int:
        return sum(layer.blob.size for layer in self.layers)

    @property
    def unpacked(self) -> int:
        return sum(layer.unpacked for layer in self.layers)

    def push(self, registry: str, access: RegistryAccess | None = None) -> str:
        """Its name by digest in a registry, which gets what it does not have."""
        manifest, config = self.manifest, self.config
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        with Registry(registry, access or RegistryAccess.load({"MLOPS_PLAIN_REGISTRIES": registry})) as opened:
            repository = ImageRepository(opened, REPOSITORY, f"{registry}/{REPOSITORY}")
            if repository.digest_of(digest) is None:
                for layer in self.layers:
                    if not repository.has(layer.blob.digest):
                        repository.upload(layer.blob, lambda file=layer.file: _read(file))
                repository.upload(_described(config), lambda: iter((config,)))
                repository.put_manifest(f"test-{digest[7:19]}", manifest, OCI_MANIFEST)
        return f"{registry}/{REPOSITORY}@{digest}"


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
        requirements = pinned()
        recipe = _recipe()
        system = cache / f"system-{_key(recipe)}"
        packages = cache / f"packages-{_key(recipe, requirements.encode())}"
        found = [CachedLayer.of(name) for name in (system, packages)]
        if None in found:
            _require_means()
            say(f"making a serving base for tests in {cache} (a few minutes, once)")
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _build(Path(scratch), requirements, system, packages)
            found = [CachedLayer.of(name) for name in (system, packages)]
        return BaseImage([layer for layer in found if layer])


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


def pinned() -> str:
    """The serve extra with versions and hashes, as the lock has them."""
    wanted = ["--extra", "serve", "--constraints", ROOT / "requirements.lock", ROOT / "pyproject.toml"]
    how = ["--quiet", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    return _run(UV, "pip", "compile", *how, *wanted)


def _recipe() -> bytes:
    """How the image is made; another way makes another image."""
    functions = (_build, _make_system, install_packages, pack_layer)
    return "".join([PACKAGES, DEBIAN, *TAKEN_OUT, *map(inspect.getsource, functions)]).encode()


def _key(*made_of: bytes) -> str:
    return hashlib.sha256(b"".join(made_of)).hexdigest()[:16]


def _require_means() -> None:
    if platform.machine() not in ARCHITECTURES or os.geteuid() != 0:
        pytest.skip("a base image is made with debootstrap, which needs root")
    if shutil.which("debootstrap"):
        return
    if shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "debootstrap"]):
            subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True, check=False, timeout=300)
    if not shutil.which("debootstrap"):
        pytest.skip("a base image is made with debootstrap, which is not here: apt-get install debootstrap")


def _build(scratch: Path, requirements: str, system_layer: Path, packages_layer: Path) -> None:
    system = scratch / "system"
    _make_system(system)
    _run("chroot", system, "python3", "-m", "venv", "--without-pip", "/opt/venv")
    (scratch / "packages" / "opt").mkdir(parents=True)
    (system / "opt" / "venv").rename(scratch / "packages" / "opt" / "venv")
    install_packages(scratch / "packages", requirements)
    pack_layer(system, system_layer)
    pack_layer(scratch / "packages", packages_layer)


def _make_system(system: Path) -> None:
    _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, system)
    for name in TAKEN_OUT:
        path = system / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in ("var/log", "tmp", "home/bentoml/bento/src"):
        (system / name).mkdir(parents=True, exist_ok=True)
    (system / "tmp").chmod(0o1777)


def install_packages(root: Path, requirements: str | None = None) -> None:
    """The serve extra into /opt/venv of a tree, compiled."""
    site = root / "opt" / "venv" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    listed = root.with_name(f"{root.name}.txt")
    listed.write_text(requirements or pinned())
    how = ["-q", "--no-build", "--require-hashes", "--python-version", "3.11", "--target", site]
    _run(UV, "pip", "install", *how, "--requirements", listed)
    _run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", site)


def pack_layer(folder: Path, name: Path) -> None:
    """A whole tree as a layer, links, modes and owners included, times not; the description is written last."""
    plain, packed = name.with_suffix(".tar"), name.with_suffix(".tar.gz")
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
    with (
        plain.open("rb") as source,
        packed.open("wb") as target,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0) as compressed,
    ):
        shutil.copyfileobj(source, compressed, 1 << 20)
    sizes = {"size": packed.stat().st_size, "unpacked": plain.stat().st_size}
    known = {"digest": f"sha256:{_sha256(packed)}", "diff_id": f"sha256:{_sha256(plain)}", **sizes}
    plain.unlink()
    name.with_suffix(".json").write_text(json.dumps(known))


def _described(config: bytes) -> Descriptor:
    return Descriptor(media_type=CONFIG, digest=f"sha256:{hashlib.sha256(config).hexdigest()}", size=len(config))


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
