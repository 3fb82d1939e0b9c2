"""What holds for every split, whatever the table."""

from itertools import chain

import pyarrow as pa
from data_cases import flight_rows, flights, pictures
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.data.split import EmptyPart, split

LABELS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=60)
SHARE = st.floats(0.05, 0.45)
DAYS = st.lists(st.integers(1, 28), min_size=3, max_size=30)


def parts_of(table, usecase, seed=1):
    try:
        found = split(table, usecase.data, usecase.task, seed)
    except EmptyPart:
        return None
    return found.train, found.validation, found.test


def numbered(labels):
    return pa.table({"row": range(len(labels)), "label": pa.array(labels, pa.string())})


@given(LABELS, SHARE, SHARE, st.integers(0, 2**31))
def test_a_random_split_places_each_row_once_and_keeps_their_order(labels, test, validation, seed):
    usecase = pictures(split={"by": "random", "test": test, "validation": validation})
    parts = parts_of(numbered(labels), usecase, seed)
    assume(parts is not None)
    rows = [part["row"].to_pylist() for part in parts]
    assert sorted(chain.from_iterable(rows)) == list(range(len(labels)))
    assert all(part == sorted(part) for part in rows)


@given(LABELS, SHARE, SHARE, st.integers(0, 2**31))
def test_every_class_keeps_a_row_for_training_and_its_share_of_the_test(labels, test, validation, seed):
    usecase = pictures(split={"by": "random", "test": test, "validation": validation})
    parts = parts_of(numbered(labels), usecase, seed)
    assume(parts is not None)
    trained, _, tested = (part["label"].to_pylist() for part in parts)
    for label in set(labels):
        assert label in trained
        assert abs(tested.count(label) - labels.count(label) * test) <= 1


@given(LABELS, st.integers(0, 2**31))
def test_the_same_table_and_seed_give_the_same_parts(labels, seed):
    usecase = pictures(split={"by": "random", "test": 0.3, "validation": 0.2})
    first, second = (parts_of(numbered(labels), usecase, seed) for _ in range(2))
    assert first == second


@given(DAYS, st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_split_by_time_never_trains_on_what_is_newer_than_the_test(days, test, validation, random):
    usecase = flights(split={"by": "time", "test": f"{test}d", "validation": f"{validation}d"})
    shuffled = random.sample(days, len(days))
    table = flight_rows(len(days), departure=[f"2013-01-{day:02}" for day in shuffled])
    parts = parts_of(table, usecase)
    assume(parts is not None)
    trained, validated, tested = (part["departure"].to_pylist() for part in parts)
    assert max(trained) < min(validated) <= max(validated) < min(tested)
    assert len(trained) + len(validated) + len(tested) == len(days)
