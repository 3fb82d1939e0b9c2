"""The name of an image: registry, repository, and a tag or digest."""

import re
from dataclasses import dataclass, replace

from pipelines.packaging.oci.errors import ReferenceInvalid

HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# The one registry that is not reached by its name.
DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True)
class ImageReference:
    """`registry.example.com/team/model:7` or `…@sha256:…`; the registry is always named."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ImageReference":
        """Raises ReferenceInvalid with what would be right."""
        name, _, digest = text.partition("@")
        registry, _, rest = name.partition("/")
        repository, _, tag = rest.partition(":")
        named = "." in registry or ":" in registry or registry == "localhost"
        if "://" in text or not named or not HOST.fullmatch(registry):
            raise _invalid(text, "expected it to begin with the registry's name, as in registry.example.com/team/name")
        if not REPOSITORY.fullmatch(repository):
            raise _invalid(text, f"{repository!r} is no repository; it has lower-case letters, digits and . _ - /")
        if ":" in rest and not TAG.fullmatch(tag):
            raise _invalid(text, f"{tag!r} is no tag")
        if "@" in text and not DIGEST.fullmatch(digest):
            raise _invalid(text, f"{digest!r} is no digest; expected sha256:<64 hex digits>")
        return cls(registry, repository, tag or None, digest or None)

    @classmethod
    def repository_of(cls, text: str) -> "ImageReference":
        """A name without tag and digest, such as a setting's prefix."""
        found = cls.parse(text.rstrip("/"))
        if found.tag or found.digest:
            raise _invalid(text, "expected a repository without tag or digest")
        return found

    @property
    def host(self) -> str:
        """Where the registry's API answers."""
        return DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry

    @property
    def manifest(self) -> str:
        """What names the manifest: the digest if there is one."""
        return self.digest or self.tag or "latest"

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    def at(self, digest: str) -> "ImageReference":
        """The same repository's image of this digest."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return f"{self.name}{f':{self.tag}' if self.tag else ''}{f'@{self.digest}' if self.digest else ''}"


def require_image_names(images: str, base_image: str) -> None:
    """The values of MLOPS_IMAGES and MLOPS_BASE_IMAGE, checked before anything is trained; empty ones are fine.

    Raises:
        ReferenceInvalid: names the variable and what would be right.
    """
    parsers = {
        "MLOPS_IMAGES": (images, ImageReference.repository_of),
        "MLOPS_BASE_IMAGE": (base_image, ImageReference.parse),
    }
    for name, (text, parse) in parsers.items():
        try:
            if text:
                parse(text)
        except ReferenceInvalid as error:
            raise ReferenceInvalid(
                f"{name}: {error.message}", hint="docs/images.md says how images are named"
            ) from None


def _invalid(text: str, problem: str) -> ReferenceInvalid:
    return ReferenceInvalid(f"{text!r} is no image: {problem}")
