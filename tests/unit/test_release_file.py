"""release.yaml: what is written is what kustomize, people and we ourselves read."""

import shutil
import subprocess

import pytest
import yaml

from pipelines.release.release import Release, ReleaseInvalid

PATH = "apps/flights/staging/release.yaml"


def release(**changed: object) -> Release:
    values = {
        "bento": "flights:7",
        "image": f"registry.example.com:5000/flights@sha256:{7:064x}",
        "model": "flights/7",
        "run": "0" * 31 + "7",
        "data": "089123456789",
        "code": "c" * 40,
        "metrics": {"roc_auc": 0.71234},
    }
    return Release.model_validate(values | changed)


HASHES = ["089123456789", "81234567e890", "123456789012", "0x12", "0o17", "1_000", "true", "null", "1.5e3", ".inf", "~"]


@pytest.mark.parametrize("data", HASHES)
def test_an_id_that_looks_like_something_else_stays_the_text_it_is(data):
    text = release(data=data).to_yaml()
    assert yaml.safe_load(text)["data"]["data"] == data
    assert Release.from_yaml(text, PATH).data == data


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_reads_the_same_texts(tmp_path):
    resources = []
    for number, data in enumerate(HASHES):
        text = release(data=data).to_yaml().replace("name: release", f"name: release-{number}")
        (tmp_path / f"{number}.yaml").write_text(text.replace("config.kubernetes.io/local-config", "example.com/x"))
        resources.append(f"{number}.yaml")
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": resources}))
    built = subprocess.run(["kubectl", "kustomize", str(tmp_path)], check=True, capture_output=True, text=True).stdout
    seen = {document["metadata"]["name"]: document["data"] for document in yaml.safe_load_all(built)}
    assert seen == {
        f"release-{number}": yaml.safe_load(release(data=data).to_yaml())["data"] for number, data in enumerate(HASHES)
    }
    for data in HASHES:
        assert f'data: "{data}"' in built or f"data: {data}\n" in built


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.71234, "0.7123"), (0.0, "0.0000"), (1.234e-7, "1.234e-07"), (-3e-5, "-3e-05"), (123456.5, "123456.5000")],
)
def test_a_metric_is_written_so_that_it_still_says_something(value, written):
    text = release(metrics={"mse": value}).to_yaml()
    assert f'metrics: "mse={written}"' in text
    assert Release.from_yaml(text, PATH).metrics["mse"] == pytest.approx(value, rel=1e-3, abs=1e-12)


def test_a_release_without_metrics_reads_back():
    assert Release.from_yaml(release(metrics={}).to_yaml(), PATH).metrics == {}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('data: "089123456789"', "data: 089123456789", "data.data: expected text, in quotes if it looks like a number"),
        ('  data: "089123456789"\n', "", "data.data: is missing"),
        ('  run: "', '  run: "x"\n  run: "', "run stands there twice"),
        ("\ndata:\n", "\ndata: {}\ndata:\n", "data stands there twice"),
        ("name: release", "name: flights", "metadata.name: expected release"),
        ("metadata:\n  name: release\n", "metadata:\n", "metadata.name: expected release"),
        ('schema: "1"', "schema: 1", "metadata.annotations.mlops-blueprint/schema: expected a whole number in quotes"),
        ('"roc_auc=0.7123"', "7", "data.metrics: expected name=number pairs"),
        ('"roc_auc=0.7123"', "[1]", "data.metrics: expected name=number pairs"),
        ("bento: flights:7", "bento: pictures:7", "data.bento: expected flights:<version>, as the folder is called"),
        ("bento: flights:7", 'bento: "flights:7\\n"', "data.bento: expected a Bento tag"),
        ("kind: ConfigMap", "kind: C\ufffd", "not UTF-8"),
        ("  bento:", "<<<<<<< HEAD\n  bento:", "not valid YAML"),
    ],
)
def test_what_an_edit_broke_is_named_with_the_way_back(old, new, told):
    text = release().to_yaml()
    assert old in text
    with pytest.raises(ReleaseInvalid) as caught:
        Release.from_yaml(text.replace(old, new, 1), PATH)
    assert told in caught.value.message
    assert PATH in caught.value.message
    assert f"git log -p {PATH}" in (caught.value.hint or "")


def test_keys_that_a_later_version_adds_are_ignored_and_a_later_shape_is_refused():
    text = release().to_yaml()
    newer = text.replace("  model:", "  speed: fast\n  model:")
    assert Release.from_yaml(newer, PATH) == Release.from_yaml(text, PATH)
    with pytest.raises(
        ReleaseInvalid, match=rf"{PATH}: a release document of schema 2, .* this one reads schema 1"
    ) as caught:
        Release.from_yaml(text.replace('schema: "1"', 'schema: "2"'), PATH)
    assert "upgrade this program" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "null", "7", "[]", "- data: {}", "data: {}", "# only a comment\n", "a: *b"])
def test_a_file_that_is_something_else_is_not_a_release(text):
    with pytest.raises(ReleaseInvalid, match=PATH):
        Release.from_yaml(text, PATH)
