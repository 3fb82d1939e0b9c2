"""A registry's HTTP API (OCI distribution v2), as far as an image is put there and taken from there.

A request that fails for no lasting reason is tried again after a pause; an upload begins anew, as not all registries
can resume one.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx

from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.errors import (
    DigestMismatch,
    ImageMissing,
    RegistryAway,
    RegistryError,
    TransferInterrupted,
    UnexpectedAnswer,
)
from pipelines.packaging.oci.login import Login
from pipelines.packaging.oci.manifest import MANIFEST_TYPES, Descriptor
from pipelines.packaging.oci.responses import refusal, trouble

PAUSES = (0.3, 1.0, 4.0)
TIMEOUT = httpx.Timeout(60, connect=10)
# A registry hashes what it got before it answers.
UPLOAD_TIMEOUT = httpx.Timeout(60, connect=10, read=600)
CHUNK = 1 << 20
MANIFEST_LIMIT = 4 << 20

Body = Callable[[], Iterator[bytes]]
# What is being moved, bytes so far, bytes in all.
Progress = Callable[[str, int, int], None]
T = TypeVar("T")


class Registry:
    """One registry, with one login for all repositories that are to be used."""

    def __init__(
        self, host: str, access: RegistryAccess, scopes: Sequence[str] = (), pauses: Sequence[float] = PAUSES
    ) -> None:
        self.host = host
        self.pauses = tuple(pauses)
        self.scheme = access.scheme(host)
        self._login = Login(host, self.scheme, access.credentials, scopes)
        self._client = httpx.Client(
            base_url=f"{self.scheme}://{host}", timeout=TIMEOUT, headers={"User-Agent": "mlops"}
        )

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, url: str, what: str, **sent: Any) -> httpx.Response:
        """One request and its whole answer, tried again while the registry is away."""
        return self.persistently(lambda: self._ask(method, url, what, **sent))

    def send(
        self, method: str, url: str, what: str, body: Body | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One request, not tried again here; its body is made anew if a login is asked for."""
        return self._ask(method, url, what, body=body, headers=headers)

    @contextmanager
    def read(self, url: str, what: str) -> Iterator[httpx.Response]:
        """A GET whose answer is read as it comes."""
        answer = self.persistently(lambda: self._ask("GET", url, what, stream=True))
        try:
            yield answer
        except httpx.TransportError as error:
            raise trouble(what, self.host, error) from None
        finally:
            answer.close()

    def persistently(self, act: Callable[[], T]) -> T:
        """Do it, and again after each pause while the registry is away or bytes are lost on the way."""
        for pause in self.pauses:
            try:
                return act()
            except (RegistryAway, TransferInterrupted, DigestMismatch):
                time.sleep(pause)
        return act()

    def _ask(
        self,
        method: str,
        url: str,
        what: str,
        *,
        body: Body | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> httpx.Response:
        for attempt in (1, 2):
            request = self._client.build_request(
                method,
                url,
                content=body() if body else content,
                headers=self._headers(url, headers),
                timeout=UPLOAD_TIMEOUT if body else TIMEOUT,
            )
            try:
                answer = self._client.send(request, stream=stream, follow_redirects=method in {"GET", "HEAD"})
                if stream and not answer.is_success:
                    answer.read()
            except httpx.TransportError as error:
                raise trouble(what, self.host, error) from None
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                break
            if attempt == 2:
                raise self._login.refused()
            self._login.answer(self._client, answer)
        if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise refusal(what, answer)
        return answer

    def _headers(self, url: str, headers: Mapping[str, str] | None) -> dict[str, str]:
        """The login goes to the registry alone: an upload's address may be another server's."""
        own = self._client.base_url.join(url)
        same = (own.scheme, own.host, own.port) == (
            self._client.base_url.scheme,
            self._client.base_url.host,
            self._client.base_url.port,
        )
        login = {"Authorization": self._login.header} if same and self._login.header else {}
        return {**(headers or {}), **login}


class ImageRepository:
    """The blobs and manifests of one repository."""

    def __init__(self, registry: Registry, name: str, label: str) -> None:
        self.registry = registry
        self.name = name
        self.label = label

    # --- manifests

    def manifest(self, reference: str) -> tuple[bytes, str, str]:
        """The manifest's bytes, media type and digest, the digest being that of these very bytes."""
        what = f"reading {self.label} {reference}"
        answer = self.registry.ask(
            "GET", f"/v2/{self.name}/manifests/{reference}", what, headers={"Accept": ", ".join(MANIFEST_TYPES)}
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise ImageMissing(f"{what}: there is none")
        if answer.status_code != httpx.codes.OK:
            raise refusal(what, answer)
        content = answer.content
        if len(content) > MANIFEST_LIMIT:
            raise UnexpectedAnswer(f"{what}: {len(content)} bytes are too many for a manifest")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if reference.startswith("sha256:") and reference != digest:
            raise DigestMismatch(f"{what}: the registry gave a manifest of another digest, {digest}")
        return content, answer.headers.get("content-type", "").split(";")[0], digest

    def digest_of(self, reference: str) -> str | None:
        """The digest that the registry has for a tag or digest; None when it has no such manifest."""
        what = f"looking up {self.label} {reference}"
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        answer = self.registry.ask("HEAD", f"/v2/{self.name}/manifests/{reference}", what, headers=headers)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            raise refusal(what, answer)
        told = answer.headers.get("docker-content-digest")
        return str(told) if told else self.manifest(reference)[2]

    def put_manifest(self, reference: str, content: bytes, media_type: str) -> None:
        """Store it under a tag or its digest."""
        what = f"pushing the manifest of {self.label} {reference}"
        url = f"/v2/{self.name}/manifests/{reference}"
        answer = self.registry.ask("PUT", url, what, content=content, headers={"Content-Type": media_type})
        if answer.status_code not in {httpx.codes.CREATED, httpx.codes.OK}:
            raise refusal(what, answer)

    # --- blobs

    def has(self, digest: str) -> bool:
        """Whether the repository has this blob."""
        what = f"looking for a layer in {self.label}"
        answer = self.registry.ask("HEAD", f"/v2/{self.name}/blobs/{digest}", what)
        if answer.status_code in {httpx.codes.OK, httpx.codes.NOT_FOUND}:
            return answer.status_code == httpx.codes.OK
        raise refusal(what, answer)

    def mount(self, digest: str, source: str) -> bool:
        """Take a blob over from another repository of the registry, without its bytes; False when it says no."""
        what = f"taking a layer over into {self.label}"
        url = f"/v2/{self.name}/blobs/uploads/?{urlencode({'mount': digest, 'from': source})}"
        answer = self.registry.ask("POST", url, what)
        if answer.status_code == httpx.codes.ACCEPTED:  # an upload instead, which is not wanted
            self._abandon(answer.headers.get("location"))
        elif answer.status_code not in {httpx.codes.CREATED, 400, 403, 404, 405}:
            raise refusal(what, answer)
        return answer.status_code == httpx.codes.CREATED

    def upload(self, blob: Descriptor, body: Body, progress: Progress | None = None) -> None:
        """Store a blob; a transfer that breaks begins anew, unless the blob has arrived nevertheless."""
        started = False

        def send() -> None:
            nonlocal started
            if started and self.has(blob.digest):
                return
            started = True
            self._upload_once(blob, body, progress)

        self.registry.persistently(send)

    def _upload_once(self, blob: Descriptor, body: Body, progress: Progress | None) -> None:
        what = f"uploading {blob.size:,} bytes to {self.label}"
        answer = self.registry.send("POST", f"/v2/{self.name}/blobs/uploads/", what)
        if answer.status_code != httpx.codes.ACCEPTED:
            raise refusal(what, answer)
        location = safe_location(self.registry, answer.headers.get("location", ""), what)
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': blob.digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        try:
            answer = self.registry.send("PUT", url, what, lambda: _told(body(), blob, progress), headers)
            if answer.status_code not in {httpx.codes.CREATED, httpx.codes.NO_CONTENT}:
                raise _digest_refusal(what, answer) or refusal(what, answer)
        except RegistryError:
            self._abandon(location)
            raise

    def _abandon(self, location: str | None) -> None:
        """Let the registry drop what it has of an upload; it would do so by itself some day."""
        if location:
            with suppress(RegistryError):
                self.registry.send("DELETE", location, "ending an upload")

    @contextmanager
    def read(self, blob: Descriptor) -> Iterator[Iterator[bytes]]:
        """The blob's bytes as they come; DigestMismatch at the end if they are not those of the digest."""
        what = f"reading a layer of {self.label}"
        with self.registry.read(f"/v2/{self.name}/blobs/{blob.digest}", what) as answer:
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise ImageMissing(f"{what}: the registry has no blob {blob.digest}")
            if answer.status_code != httpx.codes.OK:
                raise refusal(what, answer)
            yield _verified(answer.iter_raw(CHUNK), blob, what)


def safe_location(registry: Registry, location: str, what: str) -> str:
    """Where the registry wants the bytes; not without TLS if the registry itself has it."""
    if not location:
        raise UnexpectedAnswer(f"{what}: the registry does not say where to")
    if registry.scheme == "https" and httpx.URL(location).scheme == "http":
        raise UnexpectedAnswer(
            f"{what}: the registry wants the bytes at {location.partition('?')[0]}, without TLS",
            hint="a proxy before it has to pass on X-Forwarded-Proto, or the registry be told its own address",
        )
    return location


def _verified(chunks: Iterator[bytes], blob: Descriptor, what: str) -> Iterator[bytes]:
    seen, size = hashlib.sha256(), 0
    for chunk in chunks:
        seen.update(chunk)
        size += len(chunk)
        yield chunk
    if (size, f"sha256:{seen.hexdigest()}") != (blob.size, blob.digest):
        raise DigestMismatch(f"{what}: {size:,} bytes came that are not {blob.digest} with {blob.size:,} bytes")


def _told(chunks: Iterator[bytes], blob: Descriptor, progress: Progress | None) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if progress is not None:
            progress(blob.digest, done, blob.size)


def _digest_refusal(what: str, answer: httpx.Response) -> DigestMismatch | None:
    """A registry that says DIGEST_INVALID or SIZE_INVALID got other bytes than we meant to send."""
    if answer.status_code == httpx.codes.BAD_REQUEST and (
        "DIGEST_INVALID" in answer.text or "SIZE_INVALID" in answer.text
    ):
        return DigestMismatch(f"{what}: the registry received other bytes than were sent", hint="run this again")
    return None
