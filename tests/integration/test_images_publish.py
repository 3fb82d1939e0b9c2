"""A Bento as an image in a real registry: what is there afterwards, what was sent, what comes back."""

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from pipelines.packaging.bentos import BENTO_DIGEST, BentoCorrupted, BentoMissing, fetch_bento, publish_bento
from pipelines.packaging.oci.errors import BaseMissing, NotAnImage
from pipelines.packaging.oci.pull import pull_bento
from pipelines.settings import Settings
from tests.image_cases import (
    bento_folder,
    described,
    digest_of,
    files_below,
    get_blob,
    get_manifest,
    packed,
    push,
    push_base,
    push_index,
    put_blob,
    put_manifest,
    tags,
)
from tests.registries import registry

REPOSITORY = "team/models/tiny-table"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running.host


def digest(image: str) -> str:
    return image.split("@")[1]


class TestWhatIsThere:
    def test_the_image_is_the_base_with_one_layer_more(self, host, tmp_path):
        base = push_base(host)
        published = push(bento_folder(tmp_path / "b"), host, base)

        content, headers = get_manifest(host, REPOSITORY, digest(published.image))
        manifest = json.loads(content)
        below = json.loads(get_manifest(host, "mlops/serving-base", digest(base))[0])
        assert headers["docker-content-digest"] == digest_of(content) == digest(published.image)
        assert manifest["layers"][:-1] == below["layers"]
        config = json.loads(get_blob(host, REPOSITORY, manifest["config"]["digest"]))
        layer = get_blob(host, REPOSITORY, manifest["layers"][-1]["digest"])
        assert config["rootfs"]["diff_ids"][-1] == digest_of(gzip.decompress(layer))
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == len(config["history"]) == 3
        assert config["config"]["User"] == "1034:1034"
        assert config["config"]["Labels"]["base"] == "yes"

    def test_the_layer_holds_the_bento_where_the_base_looks_for_it(self, host, tmp_path):
        bento = bento_folder(tmp_path / "b")
        (bento.folder / "src" / "bento" / "__pycache__").mkdir()
        (bento.folder / "src" / "bento" / "__pycache__" / "app.pyc").write_bytes(b"compiled")
        published = push(bento, host, push_base(host))

        manifest = json.loads(published.manifest)
        layer = get_blob(host, REPOSITORY, manifest["layers"][-1]["digest"])
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            entries = tar.getmembers()
        assert {e.name for e in entries if e.isfile()} == {f"home/bentoml/bento/{name}" for name in bento.files}
        assert not any("__pycache__" in e.name for e in entries)
        assert {(e.uid, e.gid, e.mtime) for e in entries} == {(0, 0, 0)}
        assert {e.mode for e in entries if e.isfile()} == {0o644}
        assert {e.mode for e in entries if e.isdir()} == {0o755}

    def test_it_says_where_it_comes_from(self, host, tmp_path):
        base = push_base(host)
        published = push(bento_folder(tmp_path / "b", version="7"), host, base)

        manifest = json.loads(published.manifest)
        labels = json.loads(get_blob(host, REPOSITORY, manifest["config"]["digest"]))["config"]["Labels"]
        for said in (manifest["annotations"], labels):
            assert said["org.opencontainers.image.title"] == "tiny-table"
            assert said["org.opencontainers.image.version"] == "7"
            assert said["org.opencontainers.image.base.digest"] == digest(base)
            assert said["mlops-blueprint/run"] == "r" * 32

    def test_a_base_of_docker_s_kind_gives_an_image_of_oci_s_kind(self, host, tmp_path):
        published = push(bento_folder(tmp_path / "b"), host, push_base(host, docker=True))

        assert b"vnd.docker" not in published.manifest
        assert get_manifest(host, REPOSITORY, digest(published.image))[0] == published.manifest

    @pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
    def test_a_base_for_two_platforms_gives_an_image_for_both(self, host, tmp_path, docker):
        published = push(bento_folder(tmp_path / "b"), host, push_index(host, docker=docker))

        index = json.loads(published.manifest)
        assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
        tops = set()
        for each in index["manifests"]:
            manifest = json.loads(get_manifest(host, REPOSITORY, each["digest"])[0])
            config = json.loads(get_blob(host, REPOSITORY, manifest["config"]["digest"]))
            assert config["architecture"] == each["platform"]["architecture"]
            for layer in manifest["layers"]:
                get_blob(host, REPOSITORY, layer["digest"])
            tops.add(manifest["layers"][-1]["digest"])
        assert len(tops) == 1

    def test_its_tag_names_version_and_digest_and_so_never_moves(self, host, tmp_path):
        base = push_base(host)
        first = push(bento_folder(tmp_path / "a", version="7", weight=0.1), host, base)
        second = push(bento_folder(tmp_path / "b", version="7", weight=0.2), host, base)

        assert first.tag == f"7-{digest(first.image)[7:19]}"
        assert {first.tag, second.tag} <= set(tags(host, REPOSITORY))
        assert digest_of(get_manifest(host, REPOSITORY, first.tag)[0]) == digest(first.image)


class TestWhatIsSent:
    def test_the_same_bento_is_the_same_image_and_is_not_sent_again(self, host, tmp_path):
        base = push_base(host)
        first = push(bento_folder(tmp_path / "here"), host, base)
        copy = shutil.copytree(tmp_path / "here", tmp_path / "elsewhere")
        for path in copy.rglob("*"):
            path.chmod(0o777)
        again = push(described(copy), host, base)

        assert (again.image, again.manifest) == (first.image, first.manifest)
        assert (again.was_there, again.uploaded) == (True, 0)
        assert "nothing uploaded" in str(again)

    def test_the_base_s_layers_are_taken_over_once_without_their_bytes(self, host, tmp_path):
        base = push_base(host)
        first = push(bento_folder(tmp_path / "a", weight=0.3), host, base)
        second = push(bento_folder(tmp_path / "b", weight=0.4), host, base)

        assert (first.mounted, first.copied) == (2, 0)
        assert (second.mounted, second.copied) == (0, 0)
        layer = json.loads(second.manifest)["layers"][-1]
        assert layer["size"] < second.uploaded < layer["size"] + 3000

    def test_a_base_in_another_registry_is_copied(self, host, tmp_path):
        with registry(tmp_path / "other") as other:
            base = push_base(other.host)
            published = push(bento_folder(tmp_path / "b", weight=0.5), host, base)
            again = push(bento_folder(tmp_path / "c", version="2"), host, base)

        assert (published.mounted, published.copied) == (0, 2)
        assert again.copied == 0
        for layer in json.loads(published.manifest)["layers"]:
            assert digest_of(get_blob(host, REPOSITORY, layer["digest"])) == layer["digest"]

    def test_progress_is_told_for_a_long_layer(self, host, tmp_path):
        told = []
        bento = bento_folder(tmp_path / "b", ballast=5_000_000)
        published = push(bento, host, push_base(host), progress=lambda *told_now: told.append(told_now))

        layer = json.loads(published.manifest)["layers"][-1]
        assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})
        assert told[-1] == (layer["digest"], layer["size"], layer["size"])
        assert len(told) >= 5

    def test_a_base_by_tag_is_recorded_by_the_digest_that_it_had(self, host, tmp_path):
        old = push_base(host, tag="stable")
        first = push(bento_folder(tmp_path / "a"), host, f"{host}/mlops/serving-base:stable")
        push_base(host, tag="stable")
        second = push(bento_folder(tmp_path / "a2"), host, f"{host}/mlops/serving-base:stable")

        assert json.loads(first.manifest)["annotations"]["org.opencontainers.image.base.digest"] == digest(old)
        assert first.image != second.image


class TestBasesThatWillNotDo:
    def test_a_base_that_is_missing_is_named(self, host, tmp_path):
        with pytest.raises(BaseMissing, match="mlops/serving-base:nowhere is not there") as caught:
            push(bento_folder(tmp_path / "b"), host, f"{host}/mlops/serving-base:nowhere")
        assert "MLOPS_BASE_IMAGE" in str(caught.value)
        assert tags(host, "team/models/nowhere") == []

    def test_an_artifact_is_no_base(self, host, tmp_path):
        chart = put_blob(host, "mlops/chart", b"{}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", **chart},
            "layers": [{"mediaType": "application/gzip", **put_blob(host, "mlops/chart", b"chart")}],
        }
        put_manifest(host, "mlops/chart", "1", manifest)
        with pytest.raises(NotAnImage, match="helm"):
            push(bento_folder(tmp_path / "b"), host, f"{host}/mlops/chart:1")


class TestWhatComesBack:
    @pytest.fixture
    def settings(self, host, tmp_path) -> Settings:
        (tmp_path / "checkout" / "apps").mkdir(parents=True)
        environ = {
            "MLOPS_IMAGES": f"{host}/team/models/",
            "MLOPS_BASE_IMAGE": push_base(host),
            "MLOPS_REMOTE": "https://someone:secret@git.example.com/team/models.git",
        }
        return Settings.load(environ, root=tmp_path / "checkout", home=tmp_path / "home")

    def test_a_released_image_s_bento_is_found_in_the_store_without_the_registry(self, settings, tmp_path):
        bento = packed(settings, tmp_path)
        image = publish_bento("tiny-table", bento, settings).image

        found = fetch_bento(settings.bentos, image.replace(image.split("/")[0], "127.0.0.1:1"))
        assert found == fetch_bento(settings.bentos, bento.image)

    def test_elsewhere_it_comes_out_of_the_registry_the_same_to_the_byte(self, settings, tmp_path):
        bento = packed(settings, tmp_path)
        image = publish_bento("tiny-table", bento, settings).image

        fetched = fetch_bento(tmp_path / "another store", image)
        assert dict(files_below(fetched)) == dict(files_below(fetch_bento(settings.bentos, bento.image)))
        assert fetch_bento(tmp_path / "another store", image) == fetched

    def test_an_image_for_several_platforms_gives_the_same_bento(self, settings, host, tmp_path):
        from dataclasses import replace

        bento = packed(settings, tmp_path)
        image = publish_bento("tiny-table", bento, replace(settings, base_image=push_index(host))).image

        fetched = fetch_bento(tmp_path / "another store", image)
        assert fetched.name == bento.image.split(":")[-1]

    def test_the_image_names_the_repository_without_its_login(self, settings, tmp_path):
        said = json.loads(publish_bento("tiny-table", packed(settings, tmp_path), settings).manifest)["annotations"]
        assert said["org.opencontainers.image.source"] == "https://git.example.com/team/models.git"
        assert said["org.opencontainers.image.revision"] == said["mlops-blueprint/code"] == "c" * 40
        assert said["mlops-blueprint/model"] == "tiny-table/1"

    def test_a_changed_manifest_file_in_the_store_is_not_believed(self, settings, tmp_path):
        first, second = (packed(settings, tmp_path, version, weight) for version, weight in (("1", 0.1), ("2", 0.2)))
        images = [publish_bento("tiny-table", each, settings).image for each in (first, second)]
        files = [settings.bentos / "tiny-table" / f"{image.split(':')[-1]}.manifest.json" for image in images]
        files[0].write_bytes(files[1].read_bytes())

        assert fetch_bento(settings.bentos, images[0]) == fetch_bento(settings.bentos, first.image)

    def test_a_bento_that_was_changed_in_the_store_is_refused(self, settings, tmp_path):
        image = publish_bento("tiny-table", packed(settings, tmp_path), settings).image
        model = fetch_bento(settings.bentos, image) / "src" / "model" / "model.onnx"
        model.write_bytes(model.read_bytes()[:-1])

        with pytest.raises(BentoCorrupted, match=r"model\.onnx was changed"):
            fetch_bento(settings.bentos, image)

    def test_an_image_that_is_gone_is_a_missing_bento(self, settings, host, tmp_path):
        with pytest.raises(BentoMissing, match="there is none"):
            fetch_bento(settings.bentos, f"{host}/team/models/tiny-table@sha256:{'a' * 64}")

    def test_an_image_whose_layer_is_another_bento_s_is_refused(self, settings, host, tmp_path):
        image = publish_bento("tiny-table", packed(settings, tmp_path), settings).image
        manifest = json.loads(get_manifest(host, REPOSITORY, digest(image))[0])
        manifest["annotations"][BENTO_DIGEST] = f"sha256:{'0' * 64}"
        lying = put_manifest(host, REPOSITORY, "", manifest)

        with pytest.raises(BentoCorrupted, match="says that it is 000000000000"):
            fetch_bento(tmp_path / "another store", f"{host}/{REPOSITORY}@{lying}")

    def test_a_layer_of_something_else_is_not_unpacked(self, host, tmp_path):
        base = push_base(host)
        with pytest.raises(NotAnImage, match="no file of a Bento"):
            pull_bento(base, tmp_path / "out")
        assert not [path for path in Path(tmp_path / "out").rglob("*") if path.is_file()]
