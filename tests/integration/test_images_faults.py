"""A registry that is away, breaks off, is full, read-only, or does not say the truth."""

import os
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from pipelines.packaging.oci import registry as client
from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.errors import (
    BaseMissing,
    CertificateRefused,
    DigestMismatch,
    ImageRepositoryMissing,
    NotAllowed,
    RegistryAway,
    RegistryError,
    RegistryFull,
    RegistryReadOnly,
    TransferInterrupted,
    UnexpectedAnswer,
    WrongScheme,
)
from tests.image_cases import bento_folder, digest_of, get_manifest, push, push_base, tags
from tests.registries import Answer, BreakOff, RegistryProcess, proxy, registry

REPOSITORY = "team/models/tiny-table"
BALLAST = 3_000_000


@pytest.fixture
def running(tmp_path):
    with registry(tmp_path / "registry") as process:
        yield process


@pytest.fixture
def between(running):
    """A proxy before the registry, and a base reached through it."""
    with proxy(running.host) as made:
        yield made


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client.Registry.__init__, "__defaults__", ((), (0.05, 0.1, 0.2)))


def through(between, running) -> str:
    return push_base(running.host).replace(running.host, between.host)


def leftovers(running: RegistryProcess) -> list[Path]:
    """The bytes of uploads that were begun and neither ended nor dropped."""
    return list((running.folder / "data").rglob("_uploads/*/data"))


class TestBrokenOff:
    def test_an_upload_that_breaks_off_begins_anew(self, running, between, tmp_path):
        base = through(between, running)
        between.cut_after, between.cuts = 1_000_000, 2
        published = push(bento_folder(tmp_path / "b", ballast=BALLAST), between.host, base)

        assert between.cuts == 0
        assert digest_of(get_manifest(running.host, REPOSITORY, published.tag)[0]) == published.image.split("@")[1]
        assert leftovers(running) == []

    def test_one_that_always_breaks_off_is_an_error_and_nothing_is_published(self, running, between, tmp_path):
        base = through(between, running)
        between.cut_after, between.cuts = 1_000_000, 99
        with pytest.raises(TransferInterrupted, match=r"uploading 3,0.* bytes .* broke"):
            push(bento_folder(tmp_path / "b", ballast=BALLAST), between.host, base)

        assert tags(running.host, REPOSITORY) == []

    def test_the_next_publish_finishes_what_another_began(self, running, between, tmp_path):
        base = through(between, running)
        bento = bento_folder(tmp_path / "b", ballast=BALLAST)
        between.trick = lambda request, ask: (
            _broken() if request.method == "PUT" and "/manifests/" in request.path else ask(request)
        )
        with pytest.raises(RegistryError):
            push(bento, between.host, base)
        assert tags(running.host, REPOSITORY) == []

        between.trick = lambda request, ask: ask(request)
        published = push(bento, between.host, base)
        assert (published.was_there, published.mounted) == (False, 0)
        assert published.uploaded < 3000  # the config; the layer is there

    def test_a_registry_killed_in_the_middle_and_started_again_gets_the_whole_image(
        self, running, between, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(client.Registry.__init__, "__defaults__", ((), (0.1, 1.0, 4.0)))
        base = through(between, running)
        between.cut_after, between.cuts = 1_000_000, 1

        def killed() -> None:
            running.kill()
            threading.Timer(0.5, running.start).start()

        between.on_cut = killed
        published = push(bento_folder(tmp_path / "b", ballast=BALLAST), between.host, base)
        assert digest_of(get_manifest(running.host, REPOSITORY, published.tag)[0]) == published.image.split("@")[1]

    def test_an_answer_that_is_lost_after_the_blob_arrived_costs_no_second_upload(self, running, between, tmp_path):
        base = through(between, running)
        lost = []

        def trick(request, ask):
            answer = ask(request)
            if request.method == "PUT" and "/blobs/uploads/" in request.path and not lost:
                lost.append(len(request.body))
                raise BreakOff
            return answer

        between.trick = trick
        push(bento_folder(tmp_path / "b", ballast=BALLAST), between.host, base)
        assert len(lost) == 1
        assert between.count("PUT", "/blobs/uploads/") == 2  # the layer once, the config once


class TestAway:
    def test_nobody_there(self, tmp_path):
        with pytest.raises(RegistryAway, match=r"127\.0\.0\.1:1 cannot be reached"):
            push(bento_folder(tmp_path / "b"), "127.0.0.1:1", "127.0.0.1:1/mlops/serving-base:1")

    def test_a_name_that_does_not_exist(self, tmp_path):
        with pytest.raises(RegistryAway, match=r"registry\.invalid cannot be reached"):
            push(bento_folder(tmp_path / "b"), "registry.invalid", "registry.invalid/mlops/serving-base:1")

    def test_one_that_comes_back_in_time(self, running, between, tmp_path):
        base = through(between, running)
        excuses = [503, 502, 429]
        between.trick = lambda request, ask: Answer(excuses.pop()) if excuses else ask(request)
        assert push(bento_folder(tmp_path / "b"), between.host, base).uploaded > 0

    def test_one_that_stays_overloaded(self, running, between, tmp_path):
        base = through(between, running)
        between.trick = lambda request, ask: Answer(503)
        with pytest.raises(RegistryAway, match="the registry answers 503") as caught:
            push(bento_folder(tmp_path / "b"), between.host, base)
        assert "try again later" in str(caught.value)


class TestNoRoom:
    def test_read_only_for_maintenance(self, running, tmp_path):
        base = push_base(running.host)
        running.set_readonly(True)
        with pytest.raises(RegistryReadOnly, match="answers 405") as caught:
            push(bento_folder(tmp_path / "b"), running.host, base)
        assert "run this again afterwards" in str(caught.value)

        running.set_readonly(False)
        assert push(bento_folder(tmp_path / "c"), running.host, base).uploaded > 0

    def test_a_disk_that_is_full(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if not mounted or mounted.returncode != 0:
            pytest.skip("a small disk can be mounted by root only")
        try:
            with registry(tmp_path / "registry", disk) as running:
                base = push_base(running.host)
                with pytest.raises(RegistryFull, match="no space left on device") as caught:
                    push(bento_folder(tmp_path / "b", ballast=BALLAST), running.host, base)
                assert "free space" in str(caught.value)
                assert tags(running.host, REPOSITORY) == []
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (507, RegistryFull),
            (413, RegistryFull),
            (403, NotAllowed),
            (404, ImageRepositoryMissing),
            (418, UnexpectedAnswer),
        ],
    )
    def test_other_ways_to_say_no_to_an_upload(self, running, between, tmp_path, status, error):
        base = through(between, running)
        between.trick = lambda request, ask: (
            Answer(status) if request.method == "POST" and "mount=" not in request.path else ask(request)
        )
        with pytest.raises(error, match=f"answers {status}"):
            push(bento_folder(tmp_path / "b"), between.host, base)


class TestMounts:
    def test_a_registry_that_opens_an_upload_instead_gets_a_copy(self, running, between, tmp_path):
        base = through(between, running)

        def without_mount(request, ask):
            if "mount=" in request.path:
                request.path = request.path.split("?")[0]
            return ask(request)

        between.trick = without_mount
        published = push(bento_folder(tmp_path / "b"), between.host, base)
        assert (published.mounted, published.copied) == (0, 2)
        assert leftovers(running) == []

    @pytest.mark.parametrize("status", [403, 404, 405])
    def test_a_registry_that_refuses_gets_a_copy(self, running, between, tmp_path, status):
        base = through(between, running)
        between.trick = lambda request, ask: Answer(status) if "mount=" in request.path else ask(request)
        assert push(bento_folder(tmp_path / "b"), between.host, base).copied == 2


class TestUntruths:
    def test_a_base_layer_that_is_cut_short_is_not_copied(self, running, tmp_path):
        with registry(tmp_path / "other") as other, proxy(other.host) as between:
            base = push_base(other.host).replace(other.host, between.host)

            def cut(request, ask):
                answer = ask(request)
                if request.method == "GET" and "/blobs/" in request.path and len(answer.body) > 1500:
                    answer.body = answer.body[:-10]
                    answer.headers = [(n, v) for n, v in answer.headers if n.lower() != "content-length"]
                return answer

            between.trick = cut
            with pytest.raises(RegistryError):
                push(bento_folder(tmp_path / "b"), running.host, base)
        assert tags(running.host, REPOSITORY) == []

    def test_a_layer_changed_on_its_way_is_refused_by_the_registry(self, running, between, tmp_path):
        base = through(between, running)

        def spoil(request, ask):
            if request.method == "PUT" and "/blobs/uploads/" in request.path:
                request.body = request.body[:-1] + b"\0"
            return ask(request)

        between.trick = spoil
        with pytest.raises(DigestMismatch, match="received other bytes"):
            push(bento_folder(tmp_path / "b", ballast=BALLAST), between.host, base)
        assert tags(running.host, REPOSITORY) == []

    def test_a_base_manifest_that_is_not_the_one_asked_for(self, running, between, tmp_path):
        base = through(between, running)
        push_base(running.host, tag="other")
        between.trick = lambda request, ask: ask(_other_manifest(request))
        with pytest.raises(DigestMismatch, match="manifest of another digest"):
            push(bento_folder(tmp_path / "b"), between.host, base)

    def test_an_image_that_cannot_be_read_back_is_not_published(self, running, between, tmp_path):
        base = through(between, running)
        between.trick = lambda request, ask: (
            Answer(404) if request.method == "HEAD" and "/manifests/sha256:" in request.path else ask(request)
        )
        with pytest.raises(RegistryError, match="cannot be read back"):
            push(bento_folder(tmp_path / "b"), between.host, base)

    def test_a_registry_that_stored_something_else_under_the_digest(self, running, between, tmp_path):
        base = through(between, running)

        def lie(request, ask):
            answer = ask(request)
            if request.method == "HEAD" and "/manifests/sha256:" in request.path:
                answer.headers = [("Docker-Content-Digest", f"sha256:{'0' * 64}")]
            return answer

        between.trick = lie
        with pytest.raises(DigestMismatch, match="in its place"):
            push(bento_folder(tmp_path / "b"), between.host, base)

    def test_a_base_whose_config_is_gone_is_not_whole(self, running, between, tmp_path):
        base = through(between, running)
        between.trick = lambda request, ask: (
            Answer(404) if request.method == "GET" and "/blobs/" in request.path else ask(request)
        )
        with pytest.raises(BaseMissing, match="is not whole"):
            push(bento_folder(tmp_path / "b"), between.host, base)

    def test_an_upload_is_not_sent_on_without_tls(self, running, between, tmp_path, monkeypatch):
        monkeypatch.setattr(RegistryAccess, "scheme", lambda *_: "https")
        with (
            client.Registry("registry.example.com", RegistryAccess()) as https,
            pytest.raises(UnexpectedAnswer, match="TLS"),
        ):
            client.safe_location(https, "http://registry.example.com/upload", "uploading")


class TestSchemes:
    def test_tls_to_a_plain_registry(self, running, tmp_path):
        name = running.host.replace("127.0.0.1", socket.gethostname())
        access = RegistryAccess()
        monkey = pytest.MonkeyPatch()
        with monkey.context() as patched:
            patched.setattr(RegistryAccess, "scheme", lambda *_: "https")
            with pytest.raises(WrongScheme, match="does not speak TLS") as caught:
                push(bento_folder(tmp_path / "b"), running.host, f"{running.host}/mlops/serving-base:1", access)
        assert f"MLOPS_PLAIN_REGISTRIES={running.host}" in str(caught.value)
        assert name

    def test_a_registry_that_is_named_may_be_plain(self):
        access = RegistryAccess.load({"MLOPS_PLAIN_REGISTRIES": "10.244.0.1:5000, registry.local"})
        assert access.scheme("10.244.0.1:5000") == access.scheme("registry.local") == "http"
        assert access.scheme("10.244.0.1:5001") == access.scheme("registry.example.com") == "https"

    @pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"])
    def test_loopback_is_plain(self, host):
        assert RegistryAccess().scheme(host) == "http"


class TestTls:
    @pytest.fixture
    def tls(self, tmp_path):
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files],
            capture_output=True,
            check=False,
        )
        if made.returncode != 0:
            pytest.skip("openssl is needed to make a certificate")
        settings = {"tls": {"certificate": str(certificate), "key": str(key)}}
        with registry(tmp_path / "tls", http=settings) as running:
            yield running, certificate

    def test_plain_http_to_a_tls_registry(self, tls, tmp_path):
        running, _ = tls
        with pytest.raises(WrongScheme, match="answers 400"):
            push(bento_folder(tmp_path / "b"), running.host, f"{running.host}/mlops/serving-base:1")

    def test_a_certificate_nobody_vouches_for(self, tls, tmp_path, monkeypatch):
        running, _ = tls
        monkeypatch.setattr(RegistryAccess, "scheme", lambda *_: "https")
        with pytest.raises(CertificateRefused, match="is not trusted here") as caught:
            push(bento_folder(tmp_path / "b"), running.host, f"{running.host}/mlops/serving-base:1")
        assert "SSL_CERT_FILE" in str(caught.value)

    def test_one_s_own_authority(self, tls, tmp_path, monkeypatch):
        running, certificate = tls
        monkeypatch.setattr(RegistryAccess, "scheme", lambda *_: "https")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(BaseMissing):
            push(bento_folder(tmp_path / "b"), running.host, f"{running.host}/mlops/serving-base:1")
        assert ssl.create_default_context(cafile=str(certificate))


def test_waiting_for_a_registry_that_is_away_has_an_end(tmp_path):
    began = time.monotonic()
    with pytest.raises(RegistryAway):
        push(bento_folder(tmp_path / "b"), "127.0.0.1:1", "127.0.0.1:1/mlops/serving-base:1")
    assert time.monotonic() - began < 10


def _broken():
    raise BreakOff


def _other_manifest(request):
    if "/manifests/sha256:" in request.path and request.method == "GET":
        request.path = request.path.rsplit("/", 1)[0] + "/other"
    return request
