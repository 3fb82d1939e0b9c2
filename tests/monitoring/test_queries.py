"""Every query of a rule or a dashboard can be parsed, and names only what is really exported."""

import pytest

from tests.monitoring import exported
from tests.monitoring.queries import Query, of_dashboards, of_rules, recorded

pytestmark = pytest.mark.slow  # a model server is started
QUERIES = [*of_rules(), *of_dashboards()]
OF_RECORDED = {"usecase", "environment", "owner"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)
def test_it_names_only_what_is_exported(query: Query):
    own = exported.own()
    for selector in query.selectors():
        assert selector.name, f"{selector} does not say which metric"
        known = selector.name in own or selector.name in exported.OF_OTHERS or selector.name in recorded()
        assert known, f"nobody exports {selector.name}"
        if selector.name in exported.OF_OTHERS:
            continue
        labels = own.get(selector.name, OF_RECORDED) | exported.OF_A_SCRAPE
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= labels, f"{selector.name} has no label {asked - labels}; it has {sorted(labels)}"


def test_nothing_is_on_the_list_of_others_without_need():
    used = {selector.name for query in QUERIES for selector in query.selectors()}
    assert set(exported.OF_OTHERS) <= used


def test_what_is_recorded_is_used():
    assert recorded() <= {selector.name for query in QUERIES for selector in query.selectors()}
