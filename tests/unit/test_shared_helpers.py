"""What several rooms use: pauses between attempts, errors on one line, close words, a folder that takes files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.backoff import Backoff
from pipelines.errors import MlopsError, did_you_mean, one_line, one_line_with_type
from pipelines.settings import StateFolderNotWritable, require_writable


def test_pauses_grow_by_the_factor_up_to_the_longest():
    backoff = Backoff(first=1, longest=10, factor=3)

    assert [backoff.pause(failures) for failures in range(5)] == [0, 1, 3, 9, 10]


@given(st.integers(1, 10_000), st.floats(0.01, 10), st.floats(1, 10), st.floats(0, 1))
def test_no_pause_is_negative_or_longer_than_jitter_allows(failures, first, factor, jitter):
    pause = Backoff(first=first, longest=60, factor=factor, jitter=jitter).pause(failures)

    assert 0 <= pause <= 60 * (1 + jitter) + 1e-9


def test_jitter_keeps_two_from_coming_back_at_once():
    assert len({Backoff(first=1, jitter=0.5).pause(1) for _ in range(20)}) > 1


def test_attempts_pause_between_and_neither_before_the_first_nor_after_the_last():
    slept = []

    assert list(Backoff(first=1).attempts(4, sleep=slept.append)) == [0, 1, 2, 3]
    assert slept == [1, 2, 4]


def test_an_attempt_that_goes_well_ends_the_pauses():
    slept = []

    assert next(iter(Backoff(first=1).attempts(4, sleep=slept.append))) == 0
    assert slept == []


@pytest.mark.parametrize(
    ("error", "line", "with_type"),
    [
        (ValueError("not\n  this\tone"), "not this one", "ValueError: not this one"),
        (ValueError(), "ValueError", "ValueError"),
        (MlopsError("a is no b", hint="write b"), "a is no b", "a is no b"),
        (KeyError("a"), "'a'", "KeyError: 'a'"),
    ],
)
def test_an_error_is_one_line_without_its_hint_and_never_empty(error, line, with_type):
    assert one_line(error) == line
    assert one_line_with_type(error) == with_type


def test_a_long_error_is_cut_and_says_so():
    assert one_line(ValueError("x" * 1000), longest=10) == "xxxxxxxxx…"


def test_a_close_word_is_offered_and_a_far_one_is_not():
    assert did_you_mean("flihgts", ["flights", "fashion"]) == " (did you mean flights?)"
    assert did_you_mean("zzz", ["flights"]) == ""


def test_a_state_folder_is_made_and_left_as_it_was(tmp_path):
    require_writable(tmp_path / "new" / "home")

    assert list((tmp_path / "new" / "home").iterdir()) == []


def test_a_state_folder_that_takes_no_file_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StateFolderNotWritable, match=r"file/home cannot be written to: Not a directory") as caught:
        require_writable(tmp_path / "file" / "home")
    assert "MLOPS_HOME" in (caught.value.hint or "")
