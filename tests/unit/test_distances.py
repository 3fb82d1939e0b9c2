"""The distances that drift is judged by: what must hold of each, and that SciPy and Evidently come to the same."""

import math
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipelines.assessment.comparison import MISSING, NEW, RARE, compare_category, compare_number
from pipelines.assessment.distances import (
    binned_shares,
    category_shares,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability,
    total_variation,
    wasserstein,
)
from pipelines.assessment.drift import measure_distances
from pipelines.usecase.model import Drift

METHODS = ["psi", "jensenshannon", "wasserstein", "ks"]

# Numbers as columns have them: neither so close nor so far apart that float64 itself cannot tell them apart.
numbers = st.one_of(st.integers(-1000, 1000).map(float), st.floats(-1e6, 1e6, allow_subnormal=False))
samples = npst.arrays(np.float64, st.integers(1, 80), elements=numbers)
texts = st.lists(st.sampled_from([*"abcdefgh", "", MISSING]), min_size=1, max_size=60).map(
    lambda found: np.array(found, dtype=object)
)


def rule(method):
    return Drift(method=method, threshold=0.1)


def by_numbers(method, reference, current):
    """The distance of a column of numbers as a verdict has it."""
    comparison = compare_number("x", pd.Series(current), pd.Series(reference), 1)
    return measure_distances(rule(method), [comparison.values])["x"]


def by_categories(method, reference, current):
    comparison = compare_category("x", pd.Series(current, dtype=object), pd.Series(reference, dtype=object), 1)
    return measure_distances(rule(method), [comparison.values])["x"]


# --- what holds of each ----------------------------------------------------------------------------------------


@given(samples, samples)
def test_shares_of_bins_add_up_to_one_for_both_samples(reference, current):
    was, now = binned_shares(reference, current)

    assert was.shape == now.shape
    assert was.sum() == pytest.approx(1)
    assert now.sum() == pytest.approx(1)
    assert min(was.min(), now.min()) >= 0


@pytest.mark.parametrize("method", METHODS)
@given(sample=samples)
def test_a_sample_is_at_no_distance_from_itself_however_its_rows_are_ordered(method, sample):
    assert by_numbers(method, sample, sample[::-1]) == 0


@pytest.mark.parametrize("method", METHODS)
@given(sample=samples, times=st.integers(2, 4))
def test_more_rows_of_the_same_distribution_add_no_distance(method, sample, times):
    assume(method in ("wasserstein", "ks") or len(np.unique(sample)) <= 20)  # the number of bins depends on the rows

    assert by_numbers(method, sample, np.tile(sample, times)) == pytest.approx(0, abs=1e-6)


@given(samples, samples)
def test_kolmogorov_smirnov_is_the_same_from_either_side(one, other):
    assert kolmogorov_smirnov(one, other) == kolmogorov_smirnov(other, one)
    assert 0 <= kolmogorov_smirnov(one, other) <= 1


@given(texts, texts)
def test_distances_of_shares_are_the_same_from_either_side_and_within_their_ranges(one, other):
    shares, turned = category_shares(one, other), category_shares(other, one)

    for distance in (population_stability, jensen_shannon, total_variation):
        assert distance(shares) == pytest.approx(distance(turned), abs=1e-12)
        assert distance(shares) >= 0
    assert jensen_shannon(shares) <= math.sqrt(math.log(2)) + 1e-12
    assert total_variation(shares) <= 1 + 1e-12


@given(texts, texts, texts)
def test_jensen_shannon_and_total_variation_are_metrics(one, other, third):
    for distance in (jensen_shannon, total_variation):
        around = distance(category_shares(one, other)) + distance(category_shares(other, third))
        assert distance(category_shares(one, third)) <= around + 1e-9


@given(samples, samples, st.sampled_from([-1.0, 1.0]), st.integers(-8, 8), st.integers(-1000, 1000))
def test_wasserstein_and_ks_do_not_depend_on_a_columns_unit(reference, current, sign, exponent, offset):
    scale = sign * 2.0**exponent

    for distance in (wasserstein, kolmogorov_smirnov):
        moved = distance(np.round(reference) * scale + offset, np.round(current) * scale + offset)
        assert moved == pytest.approx(distance(np.round(reference), np.round(current)), rel=1e-6, abs=1e-9)


@given(samples, samples, st.integers(-8, 8))
def test_bins_do_not_depend_on_a_columns_unit(reference, current, exponent):
    shares, scaled = (
        binned_shares(reference, current),
        binned_shares(reference * 2.0**exponent, current * 2.0**exponent),
    )

    for part, other in zip(shares, scaled, strict=True):
        np.testing.assert_allclose(part, other)


@given(samples, samples)
def test_ks_sees_the_order_of_numbers_alone(reference, current):
    assert kolmogorov_smirnov(np.cbrt(reference), np.cbrt(current)) == pytest.approx(
        kolmogorov_smirnov(reference, current), abs=1e-12
    )


@given(samples, st.floats(0, 1e6, allow_subnormal=False))
def test_wasserstein_of_a_shift_is_the_shift_in_standard_deviations(reference, shift):
    assume(np.std(reference) > 1e-3)

    assert wasserstein(reference, reference + shift) == pytest.approx(shift / np.std(reference), rel=1e-5, abs=1e-6)


# --- ugly columns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_constant_columns_are_compared_and_another_constant_is_far_away(method):
    constant = np.full(500, 0.1)

    assert by_numbers(method, constant, constant) == 0
    assert by_numbers(method, constant, np.full(300, 0.3)) > 0.5
    assert math.isfinite(by_numbers(method, constant, np.linspace(0, 1, 200)))


def test_a_column_of_tiny_numbers_is_measured_in_its_own_unit():
    """Evidently takes 0.001 for any smaller standard deviation, and then sees no shift here."""
    reference = np.random.default_rng(0).normal(0, 1e-6, 1000)

    assert wasserstein(reference, reference + 1e-6) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_missing_values_are_no_numbers_and_no_category(method):
    rng = np.random.default_rng(1)
    column, category = rng.normal(0, 1, 800), rng.choice(["a", "b"], 800).astype(object)
    gappy, sparse = np.concatenate([column, [np.nan, np.inf, -np.inf]]), np.append(category, [None, np.nan])

    assert by_numbers(method, column, gappy) == 0
    assert by_categories(method, category, sparse) == 0


@pytest.mark.parametrize("method", METHODS)
def test_categories_that_training_did_not_have_add_distance_and_finite_ones(method):
    reference = np.array(["a"] * 90 + ["b"] * 10, object)
    some, all_new = np.array(["a"] * 80 + ["b"] * 10 + ["z"] * 10, object), np.array(["y", "z"] * 50, object)

    assert 0 < by_categories(method, reference, some) < by_categories(method, reference, all_new) < math.inf


@pytest.mark.parametrize("method", METHODS)
def test_thousands_of_categories_become_a_few_that_can_be_compared(method):
    rng = np.random.default_rng(2)
    reference, current = (np.array([f"id-{one}" for one in rng.integers(0, 50_000, 5000)], object) for _ in range(2))
    comparison = compare_category("id", pd.Series(current), pd.Series(reference), 1)

    assert set(comparison.values.current) == {RARE, NEW}
    assert by_categories(method, reference, current) > 0.1, "nine of ten ids were never seen in training"


def test_a_share_below_a_ten_thousandth_is_not_further_away_than_an_empty_one():
    """Evidently fills empty bins with 0.0001, or with a millionth of the smallest share once that is smaller."""
    rows = 1_000_000
    empty = category_shares(np.array(["a"] * rows, object), np.array(["a", "b"] * 10, object))
    almost = category_shares(np.array(["a"] * (rows - 1) + ["b"], object), np.array(["a", "b"] * 10, object))

    assert population_stability(almost) == pytest.approx(population_stability(empty), abs=1e-4)


# --- beside others ---------------------------------------------------------------------------------------------


@given(samples, samples)
def test_scipy_comes_to_the_same_distances(one, other):
    from scipy.spatial import distance
    from scipy.stats import ks_2samp, wasserstein_distance

    assume(np.std(one) > 1e-6)
    assert kolmogorov_smirnov(one, other) == pytest.approx(ks_2samp(one, other, method="asymp").statistic, abs=1e-12)
    assert wasserstein(one, other) == pytest.approx(wasserstein_distance(one, other) / np.std(one), rel=1e-9, abs=1e-9)
    was, now = binned_shares(one, other)
    theirs = np.nan_to_num(distance.jensenshannon(was, now))  # not a number where rounding leaves it below zero
    assert jensen_shannon((was, now)) == pytest.approx(theirs, abs=1e-7)


def evidentlys(method, reference, current, category):
    """The score of Evidently's public metric."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    kind = "categorical_columns" if category else "numerical_columns"
    now, was = (
        Dataset.from_pandas(pd.DataFrame({"x": values}), data_definition=DataDefinition(**{kind: ["x"]}))
        for values in (current, reference)
    )
    found = Report([ValueDrift(column="x", method=method)]).run(now, was).dict()["metrics"][0]["value"]
    return 0.0 if math.isnan(found) else float(found)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["psi", "jensenshannon", "wasserstein"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(30, 5000), shift=st.floats(-3, 3), digits=st.integers(0, 6))
def test_evidently_comes_to_the_same_distances_of_numbers(method, seed, rows, shift, digits):
    rng = np.random.default_rng(seed)
    reference, current = rng.normal(0, 1, 2000).round(digits), rng.normal(shift, 1.5, rows).round(digits)
    shares = binned_shares(reference, current)
    ours = {
        "psi": population_stability(shares),
        "jensenshannon": jensen_shannon(shares),
        "wasserstein": wasserstein(reference, current),
    }

    assert ours[method] == pytest.approx(evidentlys(method, reference, current, category=False), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["psi", "jensenshannon"])
@settings(max_examples=15, deadline=None)
@given(reference=texts, current=texts)
def test_evidently_comes_to_the_same_distances_of_categories(method, reference, current):
    ours = {"psi": population_stability, "jensenshannon": jensen_shannon}[method]

    theirs = evidentlys(method, reference, current, category=True)
    assert ours(category_shares(reference, current)) == pytest.approx(theirs, abs=1e-6)
