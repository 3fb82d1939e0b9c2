"""The short cut past the YAML parser gives what the parser gives, or nothing."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.release.flat import duplicate_keys, read_flat
from pipelines.release.release import Release, ReleaseInvalid
from pipelines.usecase import yaml12
from tests.release_cases import release

TEXT = release(7).to_yaml()
PATH = "apps/flights/staging/release.yaml"
PIECES = [
    '"', "\\", ":", ": ", " #", "'", "\n", "\r", "\t", "  ", "- ", "---\n", "...\n", "|", ">", "&a", "*a", "!!", "{",
    "}", "[", "]", "?", "%", "é", "\ufeff", "\x85", "0x1", "1e5", "null", "~", "data:\n", "  data: x\n", "kind: x\n",
]  # fmt: skip
EDIT = st.tuples(st.integers(0, len(TEXT)), st.integers(0, 3), st.one_of(st.sampled_from(PIECES), st.text(max_size=3)))
ODD = [
    "", "a: b", "x #y", "1:30", "2001-01-01", "1e5", "0x1F", "true", "null", "~", "''", '"\\n"', "[a/b]", "{a/b: 1}",
    "a/b:", "&a b/c", "*a/b", "!!str a/b", "- a/b", "? a/b", "é/b", "a/b\r", " a/b", "a/b ", "@a/b", "`a/b", "a/b,c",
]  # fmt: skip


def test_what_mlops_writes_takes_the_short_cut():
    assert read_flat(TEXT) == yaml.safe_load(TEXT)


@given(st.lists(EDIT, min_size=1, max_size=3))
def test_a_text_edited_in_any_way_reads_as_the_parser_reads_it_or_not_at_all(edits):
    text = TEXT
    for at, removed, added in edits:
        text = text[:at] + added + text[at + removed :]
    found = read_flat(text)
    if found is None:
        return
    document, node = yaml12.read(text)
    assert found == document
    assert not duplicate_keys(node)


@pytest.mark.parametrize("value", ODD)
def test_odd_values_are_never_read_as_something_else(value):
    text = TEXT.replace("bento: flights:7", f"bento: {value}")
    found = read_flat(text)
    if found is not None:
        assert found == yaml12.read(text)[0]
    with pytest.raises(ReleaseInvalid):
        Release.from_yaml(text, PATH)
