"""A run that publishes: the release names an image that is there, and the next run's champion comes out of it."""

import shutil

import pytest

from pipelines.packaging.oci import registry as client
from pipelines.packaging.oci.errors import RegistryAway
from pipelines.release.releases import open_releases
from pipelines.runs.journal import Journal
from tests.image_cases import get_manifest, push_base
from tests.pipeline_cases import NAME, Stepwise
from tests.registries import registry

pytestmark = [pytest.mark.usefixtures("in_this_process"), pytest.mark.slow]


@pytest.fixture
def running(tmp_path, monkeypatch):
    with registry(tmp_path / "registry") as process:
        monkeypatch.setenv("MLOPS_IMAGES", f"{process.host}/team/models")
        monkeypatch.setenv("MLOPS_BASE_IMAGE", push_base(process.host))
        monkeypatch.setattr(client.Registry.__init__, "__defaults__", ((), (0.05,)))
        yield process


def test_the_release_names_an_image_that_can_be_pulled(lab, running):
    run = Stepwise(lab).until("release")

    release = open_releases(lab.settings).current(NAME, "staging")
    assert release.image == run.bento.image
    repository, digest = release.image.removeprefix(f"{running.host}/").split("@")
    content, headers = get_manifest(running.host, repository, digest)
    assert headers["docker-content-digest"] == digest
    assert release.code.encode() in content
    packaged = [r for r in Journal(lab.settings.runs / run.asked.run_id).records() if r.step == "package"][-1]
    assert release.image in packaged.summary
    assert "2 base layers mounted" in packaged.summary


def test_on_another_machine_the_champion_comes_out_of_the_registry(lab, running):
    Stepwise(lab).until("release")
    shutil.rmtree(lab.settings.bentos)
    challenger = Stepwise(lab, params={"C": 0.5}).until("evaluate")

    assert challenger.evaluation.champion_name == f"{NAME}/1"
    (kept,) = [path for path in (lab.settings.bentos / NAME).iterdir() if path.is_dir()]
    assert (kept / "src" / "model" / "model.onnx").is_file()


def test_without_a_registry_nothing_is_released_and_the_same_step_goes_on_later(lab, running):
    run = Stepwise(lab).until("register")
    running.kill()
    with pytest.raises(RegistryAway, match=running.host):
        run.package()
    assert open_releases(lab.settings).current(NAME, "staging") is None

    running.start()
    run.package()
    run.release()
    assert open_releases(lab.settings).current(NAME, "staging").image.startswith(f"{running.host}/team/models/{NAME}@")


def test_a_release_of_before_stays_the_champion_when_images_are_switched_on(lab, tmp_path, monkeypatch):
    Stepwise(lab).until("release")
    with registry(tmp_path / "registry") as process:
        monkeypatch.setenv("MLOPS_IMAGES", f"{process.host}/team/models")
        monkeypatch.setenv("MLOPS_BASE_IMAGE", push_base(process.host))
        run = Stepwise(lab, params={"C": 0.9}).until("release")
    assert run.evaluation.champion_name == f"{NAME}/1"
    assert open_releases(lab.settings).current(NAME, "staging").image.startswith(process.host)
