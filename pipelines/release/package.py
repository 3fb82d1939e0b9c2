"""A registered model becomes a Bento: built by BentoML, kept by content.

    <store>/<use case>/<digest>/          the unpacked Bento: bento.yaml, src/{service.py, bento/, model/}
    <store>/<use case>/<digest>.sums      `sha256sum` lines of its files; the digest is the hash of this list

so `cd <digest> && sha256sum -c ../<digest>.sums` verifies a Bento by hand.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import yaml

from bento.signature import PROVENANCE_FILE, Provenance
from pipelines.documents import Document
from pipelines.errors import MlopsError
from pipelines.usecase import UseCase

STORE_NAME = "bentos"
IMAGE_PATTERN = re.compile(rf"^{STORE_NAME}/(?P<name>[a-z0-9-]+)@sha256:(?P<digest>[0-9a-f]{{64}})$")


class BentoMissing(MlopsError):
    """The store has no Bento of this digest."""


class BentoCorrupted(MlopsError):
    """A stored Bento is not what was packed: a file is missing, truncated or changed."""


class BentoBuildFailed(MlopsError):
    """BentoML could not build the Bento."""


class NotInThisStore(MlopsError):
    """The image is not one of the embedded Bento store."""


class PackedBento(Document):
    """A Bento in the store: its BentoML tag and the address that release.yaml records."""

    tag: str
    image: str


def pack(usecase: UseCase, model: Path, provenance: Provenance, store: Path) -> PackedBento:
    """Build a Bento around the model folder and put it into the store, whole or not at all."""
    store.mkdir(parents=True, exist_ok=True)
    # Not in the store: BentoML refuses to build below a folder whose name begins with a dot.
    with tempfile.TemporaryDirectory(prefix="packing-") as scratch:
        context = _build_context(usecase, model, provenance, Path(scratch) / "context")
        built = _build(provenance, context, Path(scratch) / "home")
        return _keep(built, usecase.name, provenance.bento, store)


def fetch_bento(store: Path, image: str) -> Path:
    """The folder of a stored Bento, verified file by file."""
    match = IMAGE_PATTERN.match(image)
    if match is None:
        raise NotInThisStore(
            f"{image!r} is no Bento of the embedded store; expected {STORE_NAME}/<use case>@sha256:<hex>"
        )
    name, digest = match["name"], match["digest"]
    folder, sums = store / name / digest, store / name / f"{digest}.sums"
    if not folder.is_dir() or not sums.is_file():
        raise BentoMissing(f"{image} is not in {store}", hint=f"run `mlops run {name}` again to pack a new version")
    listing = sums.read_text(encoding="utf-8")
    if _sha256(listing.encode()) != digest:
        raise BentoCorrupted(f"{sums} does not hash to {digest[:12]}")
    expected = _by_path(listing)
    actual = _by_path(checksums(folder))
    for path in sorted(expected.keys() | actual.keys()):
        if expected.get(path) != actual.get(path):
            problem = "is missing" if path not in actual else "was added" if path not in expected else "was changed"
            raise BentoCorrupted(f"{folder / path} {problem} since the Bento was packed")
    return folder


def checksums(folder: Path) -> str:
    """One `sha256sum` line per file, in path order. Compiled caches are no part of a Bento."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return "".join(f"{_sha256(path.read_bytes())}  {path.relative_to(folder).as_posix()}\n" for path in files)


def _by_path(listing: str) -> dict[str, str]:
    return {path: digest for digest, path in (line.split("  ", 1) for line in listing.splitlines())}


def serving_requirements() -> list[str]:
    """What the serving extra needs, pinned to what is installed here."""
    pins = []
    for requirement in metadata.requires("mlops-blueprint") or []:
        if "extra == 'serve'" in requirement.replace('"', "'"):
            name = re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0]
            pins.append(f"{name}=={metadata.version(name)}")
    return sorted([*pins, f"pydantic=={metadata.version('pydantic')}"])


def _build_context(usecase: UseCase, model: Path, provenance: Provenance, context: Path) -> Path:
    import bento
    from bento.service import entry_point

    shutil.copytree(Path(bento.__file__).parent, context / "bento", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(model, context / "model")
    provenance.write(context / "model" / PROVENANCE_FILE)
    (context / "service.py").write_text(
        entry_point(usecase.name, timeout_seconds=usecase.serving.timeout.total_seconds()), encoding="utf-8"
    )
    (context / "requirements.txt").write_text("\n".join(serving_requirements()) + "\n", encoding="utf-8")
    bentofile = {
        "service": "service:Service",
        "labels": {
            "usecase": usecase.name,
            "owner": usecase.owner.team,
            "run": provenance.run,
            "model": provenance.model,
            "data": provenance.data,
            "code": provenance.code,
        },
        "include": ["service.py", "requirements.txt", "bento/**", "model/**"],
        "python": {"requirements_txt": "requirements.txt", "lock_packages": False},
    }
    (context / "bentofile.yaml").write_text(yaml.safe_dump(bentofile, sort_keys=False), encoding="utf-8")
    return context


def _build(provenance: Provenance, context: Path, home: Path) -> Path:
    """BentoML's own build, in a process of its own: its home and the modules it imports are a process's for life."""
    name, version = provenance.bento.split(":")
    command = [sys.executable, "-m", "bentoml", "build", str(context), "--name", name, "--version", version]
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, cwd=context, capture_output=True, text=True, check=False)
    built = home / "bentos" / name / version
    if done.returncode != 0 or not (built / "bento.yaml").is_file():
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BentoBuildFailed(f"BentoML could not build {provenance.bento}: {' | '.join(words[-5:])}")
    return built


def _keep(built: Path, name: str, tag: str, store: Path) -> PackedBento:
    for cache in list(built.rglob("__pycache__")):
        shutil.rmtree(cache)
    listing = checksums(built)
    digest = _sha256(listing.encode())
    target = store / name / digest
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        sums = target.with_name(f"{digest}.sums")
        sums.write_text(listing, encoding="utf-8")
        with tempfile.TemporaryDirectory(dir=store, prefix=".packing-") as scratch:
            whole = Path(scratch) / digest
            shutil.copytree(built, whole)
            whole.rename(target)
    return PackedBento(tag=tag, image=f"{STORE_NAME}/{name}@sha256:{digest}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
