"""Put a Bento on top of a serving base, in a registry.

    serving base (Python, BentoML, ONNX Runtime)     its layers are taken over, byte for byte
    + home/bentoml/bento/…                           one layer: the unpacked Bento
    = <repository>@sha256:…                          new config and manifest, one for each of the base's platforms

The manifest is the last thing written, so that an image is there whole or not at all; it is read back by its digest
before anybody is told of it.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.errors import BaseMissing, DigestMismatch, ImageMissing, RegistryError
from pipelines.packaging.oci.layer import Layer, build_layer
from pipelines.packaging.oci.manifest import (
    CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Index,
    parse,
    with_layer,
)
from pipelines.packaging.oci.reference import ImageReference
from pipelines.packaging.oci.registry import ImageRepository, Progress, Registry

BENTO_PLACE = PurePosixPath("home/bentoml/bento")
TITLE, VERSION, CREATED, REVISION, SOURCE, BASE_NAME, BASE_DIGEST = (
    f"org.opencontainers.image.{name}"
    for name in ("title", "version", "created", "revision", "source", "base.name", "base.digest")
)


@dataclass(frozen=True)
class BentoFolder:
    """What goes into the layer, and what the image says of itself (annotations and labels, alike)."""

    folder: Path
    files: list[str]
    name: str
    version: str
    created: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedImage:
    """The image by digest, and what it took: bytes sent, base layers taken over within the registry or copied."""

    image: str
    manifest: bytes
    tag: str
    uploaded: int = 0
    mounted: int = 0
    copied: int = 0
    was_there: bool = False

    def __str__(self) -> str:
        if self.was_there:
            return f"{self.image} was there already; nothing uploaded"
        base = f"{self.mounted} base layers mounted, {self.copied} copied"
        return f"{self.image}: {self.uploaded:,} bytes uploaded, {base}"


def publish(
    bento: BentoFolder,
    repository: str,
    base: str,
    access: RegistryAccess | None = None,
    progress: Progress | None = None,
) -> PublishedImage:
    """Append the Bento to the base, push it to the repository and read it back; the same Bento is the same image."""
    access = access or RegistryAccess.load()
    target, source = ImageReference.repository_of(repository), ImageReference.parse(base)
    scopes = {f"repository:{target.repository}:pull,push"}
    if source.host == target.host:
        scopes.add(f"repository:{source.repository}:pull")
    with Registry(target.host, access, sorted(scopes)) as registry, tempfile.TemporaryDirectory() as scratch:
        if source.host == target.host:
            return _Publication(bento, target, source, registry, registry, progress).run(Path(scratch))
        with Registry(source.host, access, [f"repository:{source.repository}:pull"]) as elsewhere:
            return _Publication(bento, target, source, registry, elsewhere, progress).run(Path(scratch))


class _Publication:
    """One publish, with what it has counted so far."""

    def __init__(
        self,
        bento: BentoFolder,
        target: ImageReference,
        source: ImageReference,
        registry: Registry,
        source_registry: Registry,
        progress: Progress | None,
    ) -> None:
        self.bento, self.target, self.source, self.progress = bento, target, source, progress
        self.own = ImageRepository(registry, target.repository, target.name)
        self.base = ImageRepository(source_registry, source.repository, source.name)
        self.uploaded = self.mounted = self.copied = 0

    def run(self, scratch: Path) -> PublishedImage:
        base, digest = self._read_base()
        layer = build_layer(self.bento.folder, self.bento.files, BENTO_PLACE, scratch / "layer.tar.gz")
        said = self._annotations(digest)
        parents = [self._child(each) for each in base.images] if isinstance(base, Index) else [base]
        built = [self._grow(parent, layer, said) for parent in parents]
        manifests = [manifest.encode() for manifest, _ in built]
        whole = self._index(base, manifests, said) if isinstance(base, Index) else manifests[0]
        image = _digest(whole)
        tag = f"{self.bento.version}-{image.removeprefix('sha256:')[:12]}"
        if self.own.digest_of(tag) == image:
            return PublishedImage(str(self.target.at(image)), whole, tag, was_there=True)
        self._send_layer(layer)
        for (manifest, config), parent in zip(built, parents, strict=True):
            self._take_over(parent)
            self._send(manifest.config, config)
        if isinstance(base, Index):
            for each in manifests:
                self.own.put_manifest(_digest(each), each, OCI_MANIFEST)
        self.own.put_manifest(tag, whole, OCI_INDEX if isinstance(base, Index) else OCI_MANIFEST)
        self._read_back(image)
        return PublishedImage(str(self.target.at(image)), whole, tag, self.uploaded, self.mounted, self.copied)

    # --- the base

    def _read_base(self) -> tuple[ImageManifest | Index, str]:
        content, media_type, digest = self._base_manifest(self.source.manifest)
        return parse(content, media_type, str(self.source)), digest

    def _child(self, each: Descriptor) -> ImageManifest:
        content, media_type, _ = self._base_manifest(each.digest)
        found = parse(content, media_type, str(self.source.at(each.digest)))
        if not isinstance(found, ImageManifest):
            raise BaseMissing(f"{self.source.at(each.digest)} is an index within an index, which no runtime takes")
        return found

    def _base_manifest(self, reference: str) -> tuple[bytes, str, str]:
        try:
            return self.base.manifest(reference)
        except ImageMissing:
            missing = f"{self.source.name}{'@' if ':' in reference else ':'}{reference}"
            raise BaseMissing(
                f"the base image {missing} is not there",
                hint="set MLOPS_BASE_IMAGE to a serving base that was pushed; docs/images.md says how one is made",
            ) from None

    def _base_config(self, manifest: ImageManifest) -> bytes:
        try:
            with self.base.read(manifest.config) as chunks:
                return b"".join(chunks)
        except ImageMissing as error:
            raise BaseMissing(f"the base image {self.source} is not whole: {error.message}") from None

    # --- the new image

    def _annotations(self, base_digest: str) -> dict[str, str]:
        return {
            **self.bento.annotations,
            TITLE: self.bento.name,
            VERSION: self.bento.version,
            CREATED: self.bento.created,
            BASE_NAME: str(self.source),
            BASE_DIGEST: base_digest,
        }

    def _grow(self, base: ImageManifest, layer: Layer, said: Mapping[str, str]) -> tuple[ImageManifest, bytes]:
        comment = f"Bento {self.bento.name}:{self.bento.version}"
        config = with_layer(self._base_config(base), layer.diff_id, said, self.bento.created, comment)
        described = Descriptor(media_type=CONFIG, digest=_digest(config), size=len(config))
        layers = [*(each.as_oci() for each in base.layers), layer.blob]
        return ImageManifest(config=described, layers=layers, annotations={**base.annotations, **said}), config

    def _index(self, base: Index, manifests: list[bytes], said: Mapping[str, str]) -> bytes:
        entries = [
            Descriptor(media_type=OCI_MANIFEST, digest=_digest(content), size=len(content), platform=each.platform)
            for content, each in zip(manifests, base.images, strict=True)
        ]
        return Index(manifests=entries, annotations={**base.annotations, **said}).encode()

    # --- sending

    def _send_layer(self, layer: Layer) -> None:
        if not self.own.has(layer.blob.digest):
            self.own.upload(layer.blob, layer.read, self.progress)
            self.uploaded += layer.blob.size

    def _send(self, blob: Descriptor, content: bytes) -> None:
        self.own.upload(blob, lambda: iter((content,)))
        self.uploaded += blob.size

    def _take_over(self, base: ImageManifest) -> None:
        """The base's layers: mounted within a registry, else copied through here; those of other servers stay there."""
        same_registry = self.base.registry is self.own.registry
        for each in base.layers:
            if each.urls or self.own.has(each.digest):
                continue
            if same_registry and self.own.mount(each.digest, self.source.repository):
                self.mounted += 1
                continue
            self._copy(each)

    def _copy(self, blob: Descriptor) -> None:
        def body() -> Iterator[bytes]:
            with self.base.read(blob) as chunks:
                yield from chunks

        self.own.upload(blob, body, self.progress)
        self.copied += 1
        self.uploaded += blob.size

    def _read_back(self, digest: str) -> None:
        found = self.own.digest_of(digest)
        if found is None:
            raise RegistryError(f"{self.target.at(digest)} was pushed, but cannot be read back", hint="run this again")
        if found != digest:
            raise DigestMismatch(f"{self.target.at(digest)} was pushed, but the registry has {found} in its place")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
