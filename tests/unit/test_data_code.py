"""A use case's own code: found, imported, and kept apart from other use cases."""

import sys

import pytest

from pipelines.usecase.code import CodeMissing, CodeUnimportable, FunctionMissing, load_function


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def folder(tmp_path, name="case", **files):
    path = tmp_path / name
    path.mkdir()
    for file, text in files.items():
        (path / f"{file}.py").write_text(text)
    return path


def test_a_function_is_named_by_file_and_name(tmp_path):
    case = folder(tmp_path, model="def train(a, *, b): return a + b")
    assert load_function(case, "model.py:train")(1, b=2) == 3


def test_modules_beside_it_can_be_imported_even_while_it_runs(tmp_path):
    case = folder(tmp_path, model="import words\ndef load():\n    import later\n    return words.HELLO + later.YOU")
    (case / "words.py").write_text("HELLO = 'hello '")
    (case / "later.py").write_text("YOU = 'you'")
    assert load_function(case, "model.py:load")() == "hello you"


def test_two_use_cases_may_have_modules_of_the_same_name(tmp_path):
    code = "import words\ndef load():\n    import later\n    return words.NAME, later.NAME"
    first = folder(tmp_path, "first", model=code, words="NAME = 1", later="NAME = 1")
    second = folder(tmp_path, "second", model=code, words="NAME = 2", later="NAME = 2")
    one, two = load_function(first, "model.py:load"), load_function(second, "model.py:load")
    assert (one(), two(), one()) == ((1, 1), (2, 2), (1, 1))


def test_a_file_runs_once_until_it_changes(tmp_path):
    case = folder(tmp_path, model="RUNS = []\ndef load(): RUNS.append(1); return len(RUNS)")
    assert load_function(case, "model.py:load")() == 1
    assert load_function(case, "model.py:load")() == 2
    (case / "model.py").write_text("def load(): return 'changed'")
    assert load_function(case, "model.py:load")() == "changed"


def test_a_missing_file_names_the_files_there_are(tmp_path):
    with pytest.raises(CodeMissing, match=r"model.py does not exist \(did you mean modle.py\?\)"):
        load_function(folder(tmp_path, modle=""), "model.py:train")


def test_code_of_another_folder_is_refused(tmp_path):
    (tmp_path / "other.py").write_text("def train(): pass")
    with pytest.raises(CodeMissing, match="outside of case/"):
        load_function(folder(tmp_path), "../other.py:train")


def test_a_missing_function_names_a_close_one(tmp_path):
    case = folder(tmp_path, model="from json import loads\ndef trian(): pass\nlimit = 3")
    with pytest.raises(FunctionMissing, match=r"no function train \(did you mean trian\?\); functions there: trian$"):
        load_function(case, "model.py:train")
    with pytest.raises(FunctionMissing, match="limit is not a function"):
        load_function(case, "model.py:limit")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("x = 1\nraise ValueError('no luck')", r"raised ValueError at model.py:2: no luck"),
        ("import no_such_package", r"raised ModuleNotFoundError at model.py:1: No module named"),
        ("def train(:", r"raised SyntaxError at model.py:1"),
        ("import sys\nsys.exit(3)", r"raised SystemExit at model.py:2: 3"),
    ],
)
def test_an_import_that_raises_says_where_and_keeps_the_cause(tmp_path, code, says):
    case = folder(tmp_path, model=code)
    with pytest.raises(CodeUnimportable, match=says) as caught:
        load_function(case, "model.py:train")
    assert caught.value.__cause__ is not None
    (case / "model.py").write_text("def train(): return 'mended'")
    assert load_function(case, "model.py:train")() == "mended"
