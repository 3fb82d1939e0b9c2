"""`mlops new`: the ugly cases of making a folder. That what it makes runs is shown in tests/integration."""

import threading
from pathlib import Path

import pytest

from pipelines.gitops.usecase_check import check_usecase
from pipelines.usecase import load_usecase, usecase_names
from pipelines.usecase.new import AlreadyThere, BadName, NotWritten, new_usecase


@pytest.fixture
def root(tmp_path):
    (tmp_path / "apps").mkdir()
    return tmp_path


def _names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("template", ["tabular", "image"])
def test_what_is_made_is_valid_in_every_environment(root, template):
    new_usecase(root, "my-model", template)
    assert check_usecase(root, "my-model") == []
    assert load_usecase(root, "my-model").owner.accountable == "Head of My Department"
    for path in filter(Path.is_file, (root / "apps" / "my-model").rglob("*")):
        assert "$name" not in path.read_text()
        assert "$$" not in path.read_text()


def test_nothing_is_left_beside_the_new_folder(root):
    new_usecase(root, "my-model", "image")
    assert _names(root / "apps") == ["my-model"]


def test_the_first_use_case_makes_apps(tmp_path):
    assert new_usecase(tmp_path, "my-model", "tabular").is_dir()


@pytest.mark.parametrize("make", ["folder", "file", "dangling link"])
def test_whatever_is_there_stays(root, make):
    there = root / "apps" / "my-model"
    if make == "folder":
        there.mkdir()
    elif make == "file":
        there.write_text("mine")
    else:
        there.symlink_to(root / "nowhere")
    with pytest.raises(AlreadyThere, match="apps/my-model is there already; nothing was changed"):
        new_usecase(root, "my-model", "tabular")
    assert _names(root / "apps") == ["my-model"]
    assert make != "folder" or _names(there) == []


def test_of_two_at_once_one_wins_whole(root):
    """Both pass the check for an existing folder; the rename decides."""
    outcomes = []
    gate = threading.Barrier(2)

    def make(template):
        gate.wait()
        try:
            outcomes.append(new_usecase(root, "my-model", template))
        except AlreadyThere:
            outcomes.append(None)

    threads = [threading.Thread(target=make, args=(template,)) for template in ("tabular", "image")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    assert check_usecase(root, "my-model") == []
    assert _names(root / "apps") == ["my-model"]


def test_the_folder_of_shared_parts_is_no_name(root):
    with pytest.raises(BadName, match="apps/components/ is no use case"):
        new_usecase(root, "components", "tabular")


def test_apps_that_cannot_be_written_to_are_told(tmp_path):
    (tmp_path / "apps").write_text("a file where a folder should be")
    with pytest.raises(NotWritten, match="apps/my-model could not be written"):
        new_usecase(tmp_path, "my-model", "tabular")


def test_a_failure_in_the_middle_leaves_nothing(root, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.rename", full)
    with pytest.raises(NotWritten, match="No space left on device"):
        new_usecase(root, "my-model", "tabular")
    assert _names(root / "apps") == []
    assert usecase_names(root) == []
