"""The pipeline's image for tests, made here without Docker: Debian by debootstrap, the extras of pipelines/Dockerfile
from the lock, this checkout's code, and a folder of use cases. User, environment, folder and entry point are read from
that file.

    pipeline_image(apps).push("127.0.0.1:5000")    → 127.0.0.1:5000/mlops/pipeline@sha256:…

System and packages are made once (some minutes) and kept in the user's cache; code and use cases are a small layer.
"""

import hashlib
import inspect
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.manifest import CONFIG, OCI_MANIFEST, Descriptor, ImageManifest, canonical
from pipelines.packaging.oci.registry import ImageRepository, Registry
from tests import base_image
from tests.base_image import ARCHITECTURES, BUILD_SECONDS, DEBIAN, ROOT, TAKEN_OUT, UV, CachedLayer, pack_layer

DOCKERFILE = ROOT / "pipelines" / "Dockerfile"
REPOSITORY = "mlops/pipeline"
PACKAGES = "python3,ca-certificates,git,openssh-client"
EXTRAS = ("pipeline", "serve", "s3")
SITE = "opt/venv/lib/python3.11/site-packages"
CODE = "c0de" * 10


@dataclass(frozen=True)
class PipelineImage:
    layers: list[CachedLayer]

    @property
    def config(self) -> bytes:
        described = {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]}
        system = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux", "created": "1970-01-01T00:00:00Z"}
        history = [{"created_by": "a test"} for _ in self.layers]
        return canonical({**system, "config": contract(), "rootfs": described, "history": history})

    def push(self, registry: str) -> str:
        """Its name by digest in a registry (plain HTTP), which gets what it does not have."""
        config = Descriptor(media_type=CONFIG, digest=_digest(self.config), size=len(self.config))
        manifest = ImageManifest(config=config, layers=[layer.blob for layer in self.layers]).encode()
        with Registry(registry, RegistryAccess.load({"MLOPS_PLAIN_REGISTRIES": registry})) as opened:
            repository = ImageRepository(opened, REPOSITORY, f"{registry}/{REPOSITORY}")
            for layer in self.layers:
                if not repository.has(layer.blob.digest):
                    repository.upload(layer.blob, lambda file=layer.file: base_image._read(file))
            repository.upload(config, lambda: iter((self.config,)))
            repository.put_manifest("test", manifest, OCI_MANIFEST)
        return f"{registry}/{REPOSITORY}@{_digest(manifest)}"


def pipeline_image(apps: Path, scratch: Path, extras: Sequence[str] = EXTRAS) -> PipelineImage:
    """With the use cases of a folder, and what these extras bring. Skips the test where an image cannot be made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-blueprint" / "pipeline-image"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock", timeout=BUILD_SECONDS):
        layers = [_cached(cache, scratch, "system", _make_system), _packages(cache, scratch, extras)]
    code = scratch / "code"
    _make_code(code, apps)
    pack_layer(code, scratch / "code-layer")
    found = CachedLayer.of(scratch / "code-layer")
    assert found is not None
    return PipelineImage([*layers, found])


def contract() -> dict[str, Any]:
    """The image config that the last stage of pipelines/Dockerfile asks for."""
    last: list[tuple[str, str]] = []
    for line in DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        last = [] if instruction == "FROM" else [*last, (instruction, rest.strip())]
    one = dict(last)
    environment = ["=".join(shlex.split(rest)) for instruction, rest in last if instruction == "ENV"]
    return {
        "User": one["USER"],
        "WorkingDir": one["WORKDIR"],
        "Env": [variable.replace("$REVISION", CODE) for variable in environment],
        "Entrypoint": json.loads(one["ENTRYPOINT"]),
        "Cmd": json.loads(one["CMD"]),
    }


def _packages(cache: Path, scratch: Path, extras: Sequence[str]) -> CachedLayer:
    pinned = _pinned(extras)
    return _cached(cache, scratch, "packages", lambda root: _make_packages(root, pinned), _make_packages, pinned)


def _cached(
    cache: Path, scratch: Path, name: str, make: Callable[[Path], None], maker: Any = None, pinned: str = ""
) -> CachedLayer:
    recipe = [inspect.getsource(maker or make), PACKAGES, DEBIAN, *TAKEN_OUT, pinned]
    file = cache / f"{name}-{hashlib.sha256(''.join(recipe).encode()).hexdigest()[:16]}"
    found = CachedLayer.of(file)
    if found is None:
        base_image._require_means()
        make(scratch / name)
        pack_layer(scratch / name, file)
        shutil.rmtree(scratch / name, ignore_errors=True)
        found = CachedLayer.of(file)
        assert found is not None
    return found


def _make_system(root: Path) -> None:
    base_image._run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, root)
    for name in TAKEN_OUT:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in ("var/log", "tmp", "app"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)


def _make_packages(root: Path, pinned: str) -> None:
    """A virtual environment of Debian's Python; the packages in the versions and with the hashes of the lock."""
    site = root / SITE
    site.mkdir(parents=True)
    (root / "opt/venv/bin").mkdir()
    for name in ("python", "python3"):
        (root / "opt/venv/bin" / name).symlink_to("/usr/bin/python3")
    (root / "opt/venv/pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    listed = root.with_name("packages.txt")
    listed.write_text(pinned)
    how = ["-q", "--require-hashes", "--python", sys.executable, "--python-version", "3.11", "--target", site]
    base_image._run(UV, "pip", "install", *how, "--requirements", listed)
    base_image._run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", site)


def _make_code(root: Path, apps: Path) -> None:
    """As `pip install --no-deps .` and `COPY apps apps` would; the package's metadata says what the serve extra is."""
    site = root / SITE
    site.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("pipelines", "bento"):
        shutil.copytree(ROOT / package, site / package, ignore=ignored)
    base_image._run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", site)
    with tempfile.TemporaryDirectory() as scratch:
        how = ["-q", "--no-deps", "--python", sys.executable, "--target", scratch]
        base_image._run(UV, "pip", "install", *how, ROOT)
        (metadata,) = Path(scratch).glob("mlops_blueprint-*.dist-info")
        shutil.copytree(metadata, site / metadata.name)
    (root / "app").mkdir()
    shutil.copytree(apps, root / "app" / "apps", ignore=ignored)
    for name in ("pyproject.toml", "environments.yaml"):
        shutil.copy(ROOT / name, root / "app" / name)
    entry = root / "opt/venv/bin/mlops"
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text("#!/opt/venv/bin/python\nimport sys\nfrom pipelines.cli import main\nsys.exit(main())\n")
    entry.chmod(0o755)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path == entry else 0o644)


def _pinned(extras: Sequence[str]) -> str:
    wanted = [part for extra in extras for part in ("--extra", extra)]
    how = ["--quiet", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    sources = ["--constraints", ROOT / "requirements.lock", ROOT / "pyproject.toml"]
    return base_image._run(UV, "pip", "compile", *how, *wanted, *sources)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
