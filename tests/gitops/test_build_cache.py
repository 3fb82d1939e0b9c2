"""A folder that was built is not built again, unless something that it is made of has changed."""

from pathlib import Path

import pytest
import yaml

from pipelines.gitops import build_cache, kustomize
from pipelines.gitops.kustomize import BuildFailed, build

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: a\ndata:\n  key: first\n"


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """app/ stands on base/, a component, a patch and a generator with a file."""
    monkeypatch.setenv("MLOPS_BUILD_CACHE", str(tmp_path / "builds"))
    write(tmp_path / "base", resources=["config.yaml"])
    (tmp_path / "base" / "config.yaml").write_text(CONFIG.format(name="shared"))
    write(tmp_path / "part", kind="Component", patches=[{"path": "patch.yaml"}])
    (tmp_path / "part" / "patch.yaml").write_text(CONFIG.format(name="shared").replace("first", "patched"))
    generator = {"name": "made", "namespace": "a", "files": ["entry=text.txt"]}
    write(tmp_path / "app", resources=["../base"], components=["../part"], configMapGenerator=[generator])
    (tmp_path / "app" / "text.txt").write_text("one")
    return tmp_path


@pytest.fixture
def started(monkeypatch) -> list[Path]:
    """Each start of kustomize."""
    calls: list[Path] = []
    real = kustomize._kustomize
    monkeypatch.setattr(kustomize, "_kustomize", lambda folder: calls.append(folder) or real(folder))
    return calls


def write(folder: Path, kind: str = "Kustomization", **keys) -> None:
    folder.mkdir(exist_ok=True)
    version = "v1alpha1" if kind == "Component" else "v1beta1"
    document = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind, **keys}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))


def test_the_second_build_of_the_same_files_starts_nothing_and_is_the_same(tree, started):
    first = build(tree / "app")
    second = build(tree / "app")
    assert first == second
    assert [each.origin for each in first] == [each.origin for each in second]
    assert str(tree / "base" / "config.yaml") in {each.origin for each in second}
    assert len(started) == 1


@pytest.mark.parametrize(
    "file",
    ["base/config.yaml", "base/kustomization.yaml", "part/patch.yaml", "part/kustomization.yaml", "app/text.txt"],
)
def test_any_file_on_the_way_makes_it_another_build(tree, started, file):
    build(tree / "app")
    path = tree / file
    path.write_text(path.read_text() + "\n# changed\n")
    build(tree / "app")
    assert len(started) == 2


def test_components_and_patches_of_the_kustomization_make_it_another_build(tree, started):
    plain = build(tree / "base")
    patch = {"target": {"kind": "ConfigMap"}, "patch": '[{"op": "replace", "path": "/data/key", "value": "other"}]'}
    patched = build(tree / "base", patches=[patch])
    component = build(tree / "base", components=["../part"])
    assert [each[0]["data"]["key"] for each in (plain, patched, component)] == ["first", "other", "patched"]
    assert len(started) == 3


def test_a_folder_that_does_not_build_is_tried_again(tree, started):
    (tree / "base" / "config.yaml").unlink()
    for _ in range(2):
        with pytest.raises(BuildFailed):
            build(tree / "app")
    assert len(started) == 2


def test_what_is_read_from_the_network_is_not_kept(tree):
    write(tree / "app", resources=["https://example.com/remote.yaml"])
    assert build_cache.key_of(tree / "app", [], [], Path(kustomize.kubectl())) is None


def test_a_damaged_or_unwritable_cache_costs_time_and_nothing_else(tree, started, monkeypatch):
    good = build(tree / "app")
    for kept in (tree / "builds").glob("*.json"):
        kept.write_text("{")
    assert build(tree / "app") == good
    (tree / "file").write_text("")
    monkeypatch.setenv("MLOPS_BUILD_CACHE", str(tree / "file" / "below"))
    assert build(tree / "app") == good
    assert len(started) == 3


def test_what_nobody_asked_for_during_a_month_is_removed(tree):
    import os

    build(tree / "app")
    (old,) = (tree / "builds").glob("*.json")
    os.utime(old, (0, 0))
    (tree / "builds" / build_cache.PRUNED_FILE).unlink()
    build(tree / "base")
    assert not old.exists()
