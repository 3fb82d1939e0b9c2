"""Labels and predictions in any order, in a real SQLite: whatever comes first, the same values are joined."""

import itertools
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.predictions.store.rows import LabelRow, Origin, PredictionRow
from pipelines.predictions.store.store import Store
from tests.recording_cases import NOW

STAGING = "staging"
KEYS = {"a": "k1", "b": "k1", "c": "k2", "d": None}  # of each prediction
names = itertools.count()


@dataclass(frozen=True)
class Predicted:
    """A batch of predictions, by their letters."""

    letters: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """A true value of a prediction or of a key."""

    name: str
    value: object
    hour: int = 0

    @property
    def is_by_key(self) -> bool:
        return self.name.startswith("k")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('store') / 'monitor.db'}")
    yield opened
    opened.close()


def joined(store: Store, events: list[Predicted | Told]) -> list[tuple]:
    """What the store joins after these events, each a second after the one before, of a use case of its own."""
    usecase = f"case{next(names)}"
    origin = Origin(usecase, STAGING, f"{usecase}:7", "m", "r", None, {})
    for second, event in enumerate(events):
        now = NOW + timedelta(seconds=second)
        if isinstance(event, Predicted):
            rows = [
                PredictionRow(f"{usecase}.7.{letter}", NOW, {}, {}, join_key=KEYS[letter]) for letter in event.letters
            ]
            store.save_predictions(origin, rows, now)
            continue
        name = event.name if event.is_by_key else f"{usecase}.7.{event.name}"
        row = LabelRow(name, usecase, event.value, NOW - timedelta(hours=event.hour))
        (store.save_key_labels if event.is_by_key else store.save_labels)([row], "test", now)
    found = store.joined(usecase, STAGING, NOW - timedelta(days=1), NOW + timedelta(days=1), 100)
    return sorted(zip((name[-1] for name in found["id"]), found["truth"], found["observed_at"], strict=True))


def mixed(one: list, other: list, places: list[bool]) -> list:
    """Both, each in its own order; `places` says which is next."""
    left, right, taken = list(one), list(other), []
    for is_left in itertools.chain(places, itertools.repeat(True)):
        if not left or not right:
            return [*taken, *left, *right]
        taken.append((left if is_left else right).pop(0))
    raise AssertionError


PREDICTED = [Predicted(("a", "c")), Predicted(("b",)), Predicted(("d",)), Predicted(("a", "b"))]  # some come twice
TOLD = st.builds(Told, st.sampled_from(["a", "b", "c", "d", "k1", "k2"]), st.booleans() | st.just(1), st.integers(0, 3))
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(st.permutations(PREDICTED), st.lists(TOLD, max_size=6), st.lists(st.booleans(), max_size=12))
def test_when_predictions_come_changes_nothing_even_where_labels_contradict_each_other(store, predicted, told, places):
    assert joined(store, mixed(predicted, told, places)) == joined(store, [*PREDICTED, *told])


@QUIET
@given(st.data())
def test_labels_that_agree_may_come_in_any_order_and_as_often_as_they_like(store, data):
    truths = {name: data.draw(st.booleans(), name) for name in ("k1", "k2", "d")}
    told = [Told(name, truths.get(name, truths.get(KEYS.get(name)))) for name in ("a", "b", "c", "d", "k1", "k2")]
    told = data.draw(st.lists(st.sampled_from(told), max_size=8))
    events = data.draw(st.permutations([*PREDICTED, *told]))
    assert joined(store, events) == joined(store, [*PREDICTED, *told])


def test_a_value_by_id_that_came_after_the_one_by_key_gives_way_and_is_kept_as_a_contradiction(store):
    told = [Told("k1", True), Told("a", False)]
    assert joined(store, [*told, *PREDICTED]) == joined(store, [*PREDICTED, *told])
    counts = store.counts(f"case{next(names) - 2}")
    assert counts.conflicts == 1
