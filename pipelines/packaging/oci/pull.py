"""Take the Bento out of an image: its last layer, verified, without the rest of the image."""

from pathlib import Path

from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.errors import NotAnImage
from pipelines.packaging.oci.layer import unpack_layer
from pipelines.packaging.oci.manifest import ImageManifest, Index, parse
from pipelines.packaging.oci.publish import BENTO_PLACE
from pipelines.packaging.oci.reference import ImageReference
from pipelines.packaging.oci.registry import ImageRepository, Registry


def read_manifest(image: str, access: RegistryAccess | None = None) -> bytes:
    """The manifest of an image by digest, whose bytes have that digest."""
    reference = ImageReference.parse(image)
    with _registry(reference, access) as registry:
        return ImageRepository(registry, reference.repository, reference.name).manifest(reference.manifest)[0]


def pull_bento(image: str, target: Path, access: RegistryAccess | None = None) -> None:
    """Unpack the Bento's layer of an image into a folder."""
    reference = ImageReference.parse(image)
    with _registry(reference, access) as registry:
        repository = ImageRepository(registry, reference.repository, reference.name)
        manifest = _manifest(repository, reference.manifest, image)
        archive = target / ".layer.tar.gz"

        def download() -> None:
            with repository.read(manifest.layers[-1]) as chunks, archive.open("wb") as opened:
                for chunk in chunks:
                    opened.write(chunk)

        target.mkdir(parents=True, exist_ok=True)
        registry.persistently(download)
    try:
        unpack_layer(archive, BENTO_PLACE, target)
    finally:
        archive.unlink()


def annotations(manifest: bytes, image: str) -> dict[str, str]:
    """What an image says of itself."""
    return parse(manifest, "", image).annotations


def _manifest(repository: ImageRepository, reference: str, image: str) -> ImageManifest:
    content, media_type, _ = repository.manifest(reference)
    found = parse(content, media_type, image)
    if isinstance(found, ImageManifest):
        return found
    # The Bento is the same for every platform.
    child = found.images[0].digest
    content, media_type, _ = repository.manifest(child)
    inner = parse(content, media_type, image)
    if isinstance(inner, Index):
        raise NotAnImage(f"{image} is an index within an index")
    return inner


def _registry(reference: ImageReference, access: RegistryAccess | None) -> Registry:
    scopes = [f"repository:{reference.repository}:pull"]
    return Registry(reference.host, access or RegistryAccess.load(), scopes)
