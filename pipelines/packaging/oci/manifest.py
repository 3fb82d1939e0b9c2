"""Image manifests: read from a base, written for an image with one layer more.

What is written is always of the OCI kind. Docker's own manifests have no place for annotations; their layers and
configs are the same bytes under another media type, so that a base of either kind will do.
"""

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.packaging.oci.errors import NotAnImage

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
OCI_MANIFEST, OCI_INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"
DOCKER_MANIFEST, DOCKER_INDEX = (
    f"{DOCKER}.distribution.manifest.v2+json",
    f"{DOCKER}.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
CONFIG = f"{OCI}.config.v1+json"
LAYER = f"{OCI}.layer.v1.tar+gzip"
AS_OCI = {
    f"{DOCKER}.container.image.v1+json": CONFIG,
    f"{DOCKER}.image.rootfs.diff.tar": f"{OCI}.layer.v1.tar",
    f"{DOCKER}.image.rootfs.diff.tar.gzip": LAYER,
    DOCKER_MANIFEST: OCI_MANIFEST,
    DOCKER_INDEX: OCI_INDEX,
}


class _Wire(BaseModel):
    """JSON of a registry: what we do not know of it is kept."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    def encode(self) -> bytes:
        """The same bytes for the same content."""
        return canonical(self.model_dump(by_alias=True, exclude_none=True))


class Descriptor(_Wire):
    """A blob or manifest by digest."""

    media_type: str = Field(alias="mediaType")
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    platform: dict[str, Any] | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None

    def as_oci(self) -> Self:
        """The same bytes by OCI's name for their kind."""
        return self.model_copy(update={"media_type": AS_OCI.get(self.media_type, self.media_type)})


class ImageManifest(_Wire):
    """An image for one platform."""

    schema_version: int = Field(default=2, alias="schemaVersion")
    media_type: str = Field(default=OCI_MANIFEST, alias="mediaType")
    config: Descriptor
    layers: list[Descriptor] = Field(min_length=1)
    annotations: dict[str, str] = {}


class Index(_Wire):
    """One image for several platforms."""

    schema_version: int = Field(default=2, alias="schemaVersion")
    media_type: str = Field(default=OCI_INDEX, alias="mediaType")
    manifests: list[Descriptor] = Field(min_length=1)
    annotations: dict[str, str] = {}

    @property
    def images(self) -> list[Descriptor]:
        """Without what is no image: build attestations stand in an index too, for a platform called unknown."""
        return [each for each in self.manifests if (each.platform or {}).get("os") not in {None, "unknown"}]


def parse(content: bytes, media_type: str, name: str) -> ImageManifest | Index:
    """A manifest as a registry gave it. Raises NotAnImage for anything a container cannot be made of."""
    try:
        index = media_type in INDEX_TYPES or "manifests" in json.loads(content)
        found = Index.model_validate_json(content) if index else ImageManifest.model_validate_json(content)
    except (ValidationError, ValueError, TypeError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise NotAnImage(f"{name} is no image manifest of version 2: {problem}") from None
    if isinstance(found, Index) and not found.images:
        raise NotAnImage(f"{name} lists no image for any platform")
    if isinstance(found, ImageManifest) and AS_OCI.get(found.config.media_type, found.config.media_type) != CONFIG:
        raise NotAnImage(f"{name} is no container image but {found.config.media_type}")
    return found


def with_layer(config: bytes, diff_id: str, labels: Mapping[str, str], created: str, comment: str) -> bytes:
    """An image config that has one layer more, and more labels."""
    grown = json.loads(config)
    grown["created"] = created
    rootfs = grown.setdefault("rootfs", {"type": "layers", "diff_ids": []})
    rootfs["diff_ids"] = [*rootfs["diff_ids"], diff_id]
    entry = {"created": created, "created_by": "mlops", "comment": comment}
    grown["history"] = [*grown.get("history", []), entry]
    settings = grown.setdefault("config", {})
    settings["Labels"] = {**(settings.get("Labels") or {}), **labels}
    return canonical(grown)


def canonical(document: Mapping[str, Any]) -> bytes:
    """JSON without a choice: no spaces, keys in order."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
