"""The parts of an image: its name, its layer, its manifest and config, and the settings that say where it goes."""

import io
import json
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from pipelines.packaging.oci.errors import NotAnImage, ReferenceInvalid
from pipelines.packaging.oci.layer import build_layer, unpack_layer
from pipelines.packaging.oci.manifest import DOCKER_MANIFEST, ImageManifest, Index, parse, with_layer
from pipelines.packaging.oci.progress import Announcer
from pipelines.packaging.oci.reference import ImageReference, require_image_names
from pipelines.settings import SettingMissing, Settings

PLACE = PurePosixPath("home/bentoml/bento")
DIGEST = f"sha256:{'a' * 64}"
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 2}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 3}


class TestNames:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("registry.example.com/team/model:7", ("registry.example.com", "team/model", "7", None)),
            ("localhost/model", ("localhost", "model", None, None)),
            ("localhost:5000/a/b/c", ("localhost:5000", "a/b/c", None, None)),
            (f"127.0.0.1:5000/m@{DIGEST}", ("127.0.0.1:5000", "m", None, DIGEST)),
            (f"r.example.com/m:7@{DIGEST}", ("r.example.com", "m", "7", DIGEST)),
            ("[::1]:5000/m__x-y.z:7", ("[::1]:5000", "m__x-y.z", "7", None)),
        ],
    )
    def test_its_parts(self, text, parts):
        found = ImageReference.parse(text)
        assert (found.registry, found.repository, found.tag, found.digest) == parts
        assert str(found) == text

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "begin with the registry's name"),
            ("python:3.11", "begin with the registry's name"),
            ("team/model", "begin with the registry's name"),
            ("https://registry.example.com/model", "begin with the registry's name"),
            ("user@registry.example.com/model", "begin with the registry's name"),
            ("registry.example.com", "is no repository"),
            ("registry.example.com/Team/model", "'Team/model' is no repository"),
            ("registry.example.com/team//model", "is no repository"),
            ("registry.example.com/../model", "is no repository"),
            ("registry.example.com/model:", "'' is no tag"),
            ("registry.example.com/model:a b", "is no tag"),
            ("registry.example.com/model@sha256:abc", "expected sha256:<64 hex digits>"),
            (f"registry.example.com/model@md5:{'a' * 64}", "expected sha256"),
        ],
    )
    def test_what_is_no_name(self, text, problem):
        with pytest.raises(ReferenceInvalid, match=problem):
            ImageReference.parse(text)

    def test_docker_hub_answers_elsewhere(self):
        assert ImageReference.parse("docker.io/team/base:1").host == "registry-1.docker.io"

    def test_the_digest_counts_more_than_the_tag(self):
        assert ImageReference.parse(f"r.example.com/m:7@{DIGEST}").manifest == DIGEST
        assert ImageReference.parse("r.example.com/m").manifest == "latest"


class TestSettings:
    def load(self, tmp_path: Path, **environ: str) -> Settings:
        return Settings.load(environ, root=tmp_path)

    def test_without_them_there_are_no_images(self, tmp_path):
        settings = self.load(tmp_path, MLOPS_BASE_IMAGE="r.example.com/base:1")
        assert settings.images == ""

    def test_a_slash_at_the_end_does_not_matter(self, tmp_path):
        settings = self.load(
            tmp_path, MLOPS_IMAGES="r.example.com/models/", MLOPS_BASE_IMAGE=f"r.example.com/base@{DIGEST}"
        )
        assert (settings.images, settings.base_image) == ("r.example.com/models", f"r.example.com/base@{DIGEST}")

    def test_a_missing_base_is_told_before_anything_is_trained(self, tmp_path):
        with pytest.raises(SettingMissing, match="MLOPS_IMAGES is set, but MLOPS_BASE_IMAGE is not"):
            self.load(tmp_path, MLOPS_IMAGES="r.example.com/models")

    @pytest.mark.parametrize(
        ("images", "base"),
        [("models", "r.example.com/b:1"), ("r.example.com/m:1", "r.example.com/b:1"), ("r.co/m", "b")],
    )
    def test_a_run_refuses_a_name_that_is_none(self, tmp_path, images, base):
        settings = self.load(tmp_path, MLOPS_IMAGES=images, MLOPS_BASE_IMAGE=base)
        with pytest.raises(ReferenceInvalid, match=r"^MLOPS_(IMAGES|BASE_IMAGE): "):
            require_image_names(settings.images, settings.base_image)


class TestLayers:
    def folder(self, where: Path) -> list[str]:
        files = {"bento.yaml": b"name: x\n", "src/service.py": b"", f"src/{'long' * 40}/ä/model.onnx": os.urandom(9000)}
        for name, content in files.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_bytes(content)
        return list(files)

    def test_there_and_back(self, tmp_path):
        files = self.folder(tmp_path / "in")
        layer = build_layer(tmp_path / "in", files, PLACE, tmp_path / "layer")
        unpack_layer(layer.file, PLACE, tmp_path / "out")

        def read(folder):
            return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

        assert read(tmp_path / "out") == read(tmp_path / "in")
        assert layer.blob.size == layer.file.stat().st_size == len(b"".join(layer.read()))

    def test_order_times_and_modes_do_not_matter(self, tmp_path):
        files = self.folder(tmp_path / "in")
        first = build_layer(tmp_path / "in", files, PLACE, tmp_path / "first")
        for path in (tmp_path / "in").rglob("*"):
            path.chmod(0o700)
            os.utime(path, (1, 1))
        second = build_layer(tmp_path / "in", files[::-1], PLACE, tmp_path / "second")
        assert (second.blob, second.diff_id) == (first.blob, first.diff_id)

    @pytest.mark.parametrize("name", ["etc/passwd", "home/bentoml/bento/../../x", "/home/bentoml/bento/x"])
    def test_a_file_elsewhere_is_refused(self, tmp_path, name):
        archive = _archive(tmp_path, tarfile.TarInfo(name))
        with pytest.raises(NotAnImage, match="no file of a Bento"):
            unpack_layer(archive, PLACE, tmp_path / "out")

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    def test_a_link_or_device_is_refused(self, tmp_path, kind):
        entry = tarfile.TarInfo("home/bentoml/bento/x")
        entry.type, entry.linkname = kind, "/etc/passwd"
        with pytest.raises(NotAnImage, match="no file of a Bento"):
            unpack_layer(_archive(tmp_path, entry), PLACE, tmp_path / "out")

    def test_half_an_archive_is_refused(self, tmp_path):
        files = self.folder(tmp_path / "in")
        layer = build_layer(tmp_path / "in", files, PLACE, tmp_path / "layer")
        layer.file.write_bytes(layer.file.read_bytes()[:4000])
        with pytest.raises(NotAnImage, match="cannot be unpacked"):
            unpack_layer(layer.file, PLACE, tmp_path / "out")


def test_a_transfer_says_how_far_it_is_every_few_seconds():
    said, now = [], iter([0.0, 1.0, 6.0, 7.0, 12.0])
    announcer = Announcer(said.append, every=5, clock=lambda: next(now))
    for done in (1, 2, 3, 4):
        announcer(DIGEST, done * 1_000_000, 4_000_000)
    assert said == ["uploading aaaaaaaaaaaa: 2 of 4 MB", "uploading aaaaaaaaaaaa: 4 of 4 MB"]


class TestManifests:
    def test_a_config_grows_and_keeps_what_it_had(self):
        below = {
            "os": "linux",
            "config": {"User": "1034", "Labels": None},
            "rootfs": {"type": "layers", "diff_ids": ["x"]},
        }
        grown = json.loads(with_layer(json.dumps(below).encode(), "y", {"a": "b"}, "2026-01-01T00:00:00Z", "Bento x:1"))
        assert grown["rootfs"]["diff_ids"] == ["x", "y"]
        assert grown["config"] == {"User": "1034", "Labels": {"a": "b"}}
        assert (grown["os"], grown["created"], len(grown["history"])) == ("linux", "2026-01-01T00:00:00Z", 1)

    def test_the_kind_is_seen_without_a_media_type(self):
        image = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]}
        index = {"schemaVersion": 2, "manifests": [{**CONFIG, "platform": {"os": "linux", "architecture": "arm64"}}]}
        assert isinstance(parse(json.dumps(image).encode(), "", "x"), ImageManifest)
        assert isinstance(parse(json.dumps(index).encode(), "", "x"), Index)

    @pytest.mark.parametrize(
        "content",
        [
            b"not json",
            b"[]",
            b"{}",
            json.dumps({"schemaVersion": 1, "name": "x", "fsLayers": []}).encode(),
            json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": []}).encode(),
            json.dumps(
                {"schemaVersion": 2, "config": {**CONFIG, "digest": "sha256:../.."}, "layers": [LAYER]}
            ).encode(),
            json.dumps({"schemaVersion": 2, "manifests": [{**CONFIG, "platform": {"os": "unknown"}}]}).encode(),
        ],
    )
    def test_what_is_no_image(self, content):
        with pytest.raises(NotAnImage, match=r"r\.example\.com/base"):
            parse(content, DOCKER_MANIFEST if b"fsLayers" in content else "", "r.example.com/base")


def _archive(tmp_path: Path, entry: tarfile.TarInfo) -> Path:
    with tarfile.open(tmp_path / "archive", "w:gz") as tar:
        tar.addfile(entry, io.BytesIO())
    return tmp_path / "archive"
