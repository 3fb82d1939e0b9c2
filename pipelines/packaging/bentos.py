"""A registered model becomes a Bento: built by BentoML, kept by content.

    <store>/<use case>/<digest>/          the unpacked Bento: bento.yaml, src/{service.py, bento/, model/}
    <store>/<use case>/<digest>.sums      `sha256sum` lines of its files; the digest is the hash of this list

so `cd <digest> && sha256sum -c ../<digest>.sums` verifies a Bento by hand. Where images are published to a registry,

    <store>/<use case>/<digest of the image>.manifest.json

is the image's own manifest, which names the Bento inside by its digest: a release that names an image finds its Bento
here, or gets it back from the registry.
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
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from bento.formats.format import ModelFormat
from bento.formats.load import format_of
from bento.signature import GOLDEN_FILE, PROVENANCE_FILE, SIGNATURE_FILE, Provenance, Signature
from pipelines.documents import Document, write_atomically
from pipelines.errors import MlopsError
from pipelines.packaging.formats import copy_format
from pipelines.settings import Settings
from pipelines.usecase import UseCase

if TYPE_CHECKING:
    from pipelines.packaging.oci.publish import PublishedImage

STORE_NAME = "bentos"
BENTO_DIGEST = "mlops-blueprint/bento-digest"
IMAGE_PATTERN = re.compile(rf"^{STORE_NAME}/(?P<name>[a-z0-9-]+)@sha256:(?P<digest>[0-9a-f]{{64}})$")
PUBLISHED_PATTERN = re.compile(
    r"^(localhost|[^/\s]+[.:][^/\s]+)/(\S+/)?(?P<name>[a-z0-9-]+)@sha256:(?P<digest>[0-9a-f]{64})$"
)


class BentoMissing(MlopsError):
    """The store has no Bento of this digest."""


class BentoCorrupted(MlopsError):
    """A stored Bento is not what was packed: a file is missing, truncated or changed."""


class BentoBuildFailed(MlopsError):
    """BentoML could not build the Bento."""


class NotInThisStore(MlopsError):
    """The image is neither of the embedded Bento store nor one that was published with a Bento in it."""


class PackedBento(Document):
    """A Bento in the store: its BentoML tag and the address that release.yaml records."""

    KIND = "packed-bento"

    tag: str
    image: str


def pack(usecase: UseCase, model: Path, provenance: Provenance, store: Path) -> PackedBento:
    """Build a Bento around the model folder and put it into the store, whole or not at all."""
    store.mkdir(parents=True, exist_ok=True)
    # Not in the store: BentoML refuses to build below a folder whose name begins with a dot.
    with tempfile.TemporaryDirectory(prefix="packing-") as scratch:
        context = _build_context(usecase, model, provenance, Path(scratch) / "context")
        built = _build(provenance, context, Path(scratch) / "home")
        return keep(built, usecase.name, provenance.bento, store)


def fetch_bento(store: Path, image: str) -> Path:
    """The folder of a released Bento, verified file by file; out of the registry if the store does not have it."""
    match = IMAGE_PATTERN.match(image)
    if match:
        return _verified(store, match["name"], match["digest"], image)
    published = PUBLISHED_PATTERN.match(image)
    if published is None:
        raise NotInThisStore(
            f"{image!r} is no Bento; expected {STORE_NAME}/<use case>@sha256:<hex>, or an image in a registry"
        )
    return _fetch_published(store, published["name"], published["digest"], image)


def publish_bento(usecase: str, bento: PackedBento, settings: Settings) -> "PublishedImage":
    """Push a packed Bento as an image `<images>/<use case>@sha256:…` and keep its manifest beside the Bento."""
    from pipelines.packaging.oci.progress import Announcer
    from pipelines.packaging.oci.publish import REVISION, SOURCE, BentoFolder, publish

    folder = fetch_bento(settings.bentos, bento.image)
    provenance = Provenance.read(folder / "src" / "model" / PROVENANCE_FILE)
    said = {f"mlops-blueprint/{key}": value for key, value in provenance.model_dump(exclude={"created"}).items()}
    said |= {BENTO_DIGEST: bento.image.rsplit("@", 1)[1], REVISION: provenance.code}
    if source := web_address(settings.remote):
        said[SOURCE] = source
    content = BentoFolder(
        folder=folder,
        files=list(_by_path(checksums(folder))),
        name=usecase,
        version=bento.tag.split(":", 1)[1],
        created=provenance.created,
        annotations=said,
    )
    repository = f"{settings.images}/{usecase}"
    published = publish(content, repository, settings.base_image, progress=Announcer(print))
    digest = published.image.rsplit(":", 1)[1]
    write_atomically(_manifest_file(settings.bentos, usecase, digest), published.manifest.decode())
    return published


def web_address(remote: str) -> str | None:
    """A Git remote's address without login, if it has one that others can open."""
    if scp := re.fullmatch(r"[\w.-]+@([\w.-]+\.[\w-]+):(\S+)", remote):
        return f"https://{scp[1]}/{scp[2]}"
    parts = urlsplit(remote)
    if parts.scheme in {"http", "https"} and parts.hostname:
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
    return None


def _fetch_published(store: Path, name: str, digest: str, image: str) -> Path:
    """By way of the image's manifest, here or in the registry, to the Bento, here or in the registry."""
    from pipelines.packaging.oci.errors import ImageMissing
    from pipelines.packaging.oci.pull import annotations, pull_bento, read_manifest

    file = _manifest_file(store, name, digest)
    store.mkdir(parents=True, exist_ok=True)
    known = file.read_bytes() if file.is_file() else b""
    try:
        if _sha256(known) != digest:
            known = read_manifest(image)
            write_atomically(file, known.decode())
        inside = annotations(known, image).get(BENTO_DIGEST, "").removeprefix("sha256:")
        if not re.fullmatch(r"[0-9a-f]{64}", inside):
            raise NotInThisStore(f"{image} says nothing of a Bento inside; it has no annotation {BENTO_DIGEST}")
        if not (store / name / inside).is_dir():
            with tempfile.TemporaryDirectory(dir=store, prefix=".pulling-") as scratch:
                pull_bento(image, Path(scratch) / "bento")
                found = _put(Path(scratch) / "bento", name, store)
            if found != inside:
                raise BentoCorrupted(f"{image} holds the Bento {found[:12]}, but says that it is {inside[:12]}")
    except ImageMissing as error:
        raise BentoMissing(error.message, hint=f"run `mlops run {name}` again to pack a new version") from None
    return _verified(store, name, inside, image)


def _verified(store: Path, name: str, digest: str, image: str) -> Path:
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


def content_of(usecase: UseCase, model: Path, settings: Settings) -> str:
    """A hash of all that would answer requests: the model, the serving code, its libraries and where the image stands.

    Two models with the same one cannot be told apart by their answers; where they come from is no part of it.
    """
    with tempfile.TemporaryDirectory(prefix="content-") as scratch:
        context = Path(scratch)
        kind = format_of(Signature.read(model / SIGNATURE_FILE).format)
        _copy_serving(usecase, kind, context)
        for name in (*kind.files, SIGNATURE_FILE, GOLDEN_FILE):  # not what MLflow puts beside them
            if (model / name).is_file():
                shutil.copy(model / name, context / name)
        return _sha256(f"{checksums(context)}{settings.images} {settings.base_image}\n".encode())


def _copy_serving(usecase: UseCase, kind: ModelFormat, context: Path) -> list[str]:
    """All that answers requests but the model; gives what the Bento includes of it."""
    import bento
    from bento.service import entry_point

    shutil.copytree(Path(bento.__file__).parent, context / "bento", ignore=shutil.ignore_patterns("__pycache__"))
    (context / "service.py").write_text(
        entry_point(usecase.name, timeout_seconds=usecase.serving.timeout.total_seconds()), encoding="utf-8"
    )
    requirements = sorted(
        {*serving_requirements(), *(f"{name}=={metadata.version(name)}" for name in kind.requirements)}
    )
    (context / "requirements.txt").write_text("\n".join(requirements) + "\n", encoding="utf-8")
    return ["service.py", "requirements.txt", "bento/**", *copy_format(kind, context)]


def _build_context(usecase: UseCase, model: Path, provenance: Provenance, context: Path) -> Path:
    context.mkdir()
    kind = format_of(Signature.read(model / SIGNATURE_FILE).format)
    included = _copy_serving(usecase, kind, context)
    shutil.copytree(model, context / "model")
    provenance.write(context / "model" / PROVENANCE_FILE)
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
        "include": [*included, "model/**"],
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


def keep(built: Path, name: str, tag: str, store: Path) -> PackedBento:
    """Put a built Bento into the store, whole or not at all; the same Bento is there once."""
    for cache in list(built.rglob("__pycache__")):
        shutil.rmtree(cache)
    return PackedBento(tag=tag, image=f"{STORE_NAME}/{name}@sha256:{_put(built, name, store)}")


def _put(bento: Path, name: str, store: Path) -> str:
    """Copy a Bento into the store under its digest, whole or not at all."""
    listing = checksums(bento)
    digest = _sha256(listing.encode())
    target = store / name / digest
    if target.exists():
        os.utime(target)  # `mlops clean` counts from the last use
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        sums = target.with_name(f"{digest}.sums")
        sums.write_text(listing, encoding="utf-8")
        with tempfile.TemporaryDirectory(dir=store, prefix=".packing-") as scratch:
            whole = Path(scratch) / digest
            shutil.copytree(bento, whole)
            try:
                whole.rename(target)
            except OSError:
                if not target.is_dir():  # else somebody else has just put the same there
                    raise
    return digest


def _manifest_file(store: Path, name: str, digest: str) -> Path:
    return store / name / f"{digest}.manifest.json"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
