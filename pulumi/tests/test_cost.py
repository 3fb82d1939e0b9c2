"""The estimate: what it adds up, and that the page shows what the code says."""

import pytest

from blueprint.cost import PRICES, estimate, table
from blueprint.spec import SIZES
from tests.clouds import BUILT, REPOSITORY, document


def test_the_page_shows_what_the_code_says():
    assert table() in (REPOSITORY / "docs" / "cloud.md").read_text(encoding="utf-8"), "python -m blueprint.cost"


@pytest.mark.parametrize("cloud", PRICES)
def test_more_costs_more_and_the_parts_are_the_whole(cloud):
    small, large = estimate(cloud, "small"), estimate(cloud, "large")
    assert large.nodes > small.nodes
    assert small.total == small.control_plane + small.nodes + small.training + small.storage + small.network


@pytest.mark.parametrize("cloud", PRICES)
def test_every_standing_pool_is_paid_for(cloud):
    for pools in SIZES.values():
        assert {role for role, pool in pools.items() if pool.min} <= set(PRICES[cloud].machine_hour)


@pytest.mark.parametrize("stack", BUILT)
def test_the_examples_have_a_budget_that_the_estimate_fits(stack):
    spec = document(stack)
    assert estimate(spec["cloud"], spec["size"]).total < spec["budget"]["monthly"]
