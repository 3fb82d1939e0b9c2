"""Five distances between two samples: how far what is seen now is from what was seen in training.

All are 0 where both samples have the same distribution, never negative, and they grow with the difference, not with the
number of rows. p-values do not: with enough rows every difference is significant.

    function                   of        range        unit                            symmetric
    population_stability       shares    0 to ∞       none (a PSI)                    yes
    jensen_shannon             shares    0 to 0.833   none (the root of nats)         yes
    total_variation            shares    0 to 1       share of rows                   yes
    wasserstein                numbers   0 to ∞       reference standard deviations   no: it scales by the reference
    kolmogorov_smirnov         numbers   0 to 1       share of rows                   yes

`binned_shares` and `category_shares` turn samples into shares. Samples are whole: the caller has taken out what is
missing, and both have at least one value.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Shares = tuple[NDArray[np.float64], NDArray[np.float64]]

FEW_VALUES = 20  # with so few different numbers a column is compared value by value, not by bins
SMALLEST_SHARE = 1e-4  # the logarithm of an empty bin is infinite


def binned_shares(reference: Numbers, current: Numbers) -> Shares:
    """How the rows of both samples spread over the same bins.

    Sturges' rule on both samples together: 1 + log2(rows) bins of equal width between the smallest and the largest
    number (H. A. Sturges, "The Choice of a Class Interval", 1926). Where the reference has at most 20 different
    numbers, each number of either sample is a bin of its own.

    Args:
        reference: Shape (rows,), finite.
        current: Shape (other rows,), finite.

    Returns:
        Two arrays of shape (bins,), the reference's first; each adds up to 1.
    """
    import numpy as np

    both = np.concatenate([reference, current])
    if len(np.unique(reference)) > FEW_VALUES:
        edges = np.histogram_bin_edges(both, bins="sturges")
        counts = [np.histogram(sample, edges)[0] for sample in (reference, current)]
    else:
        values, where = np.unique(both, return_inverse=True)
        counts = [np.bincount(part, minlength=len(values)) for part in np.split(where, [len(reference)])]
    return counts[0] / len(reference), counts[1] / len(current)


def category_shares(reference: NDArray[np.object_], current: NDArray[np.object_]) -> Shares:
    """How the rows of both samples spread over all categories of either: two arrays of shape (categories,).

    Args:
        reference: Shape (rows,), texts.
        current: Shape (other rows,), texts; those that the reference does not have are categories as well.
    """
    import numpy as np

    was, now = Counter(reference.tolist()), Counter(current.tolist())
    categories = list(was | now)
    counts = (np.array([counted[one] for one in categories], dtype=np.float64) for counted in (was, now))
    first, second = counts
    return first / len(reference), second / len(current)


def population_stability(shares: Shares) -> float:
    """The population stability index: the sum of (p - q) · ln(p / q) over all bins.

    Also known as Jeffreys' divergence (H. Jeffreys, 1946); as an index of credit scorecards it is read as: below 0.1
    stable, above 0.2 moved (N. Siddiqi, "Credit Risk Scorecards", 2006). Shares below 0.0001 count as 0.0001.
    """
    import numpy as np

    reference, current = (np.maximum(part, SMALLEST_SHARE) for part in shares)
    return float(np.sum((reference - current) * np.log(reference / current)))


def jensen_shannon(shares: Shares) -> float:
    """The Jensen-Shannon distance: the root of the mean Kullback-Leibler divergence, in nats, from the middle of both.

    J. Lin, "Divergence Measures Based on the Shannon Entropy", 1991; that its root is a metric: D. M. Endres and
    J. E. Schindelin, 2003. At most √ln 2 = 0.833, where the samples share no bin.
    """
    import numpy as np

    middle = (shares[0] + shares[1]) / 2
    parts = (part[part > 0] * np.log(part[part > 0] / middle[part > 0]) for part in shares)
    divergence = sum(float(np.sum(part)) for part in parts) / 2
    return math.sqrt(max(divergence, 0.0))  # rounding may leave it just below zero


def total_variation(shares: Shares) -> float:
    """The total variation distance: half the sum of |p - q|, the share of rows that would have to change category."""
    import numpy as np

    return float(np.abs(shares[0] - shares[1]).sum()) / 2


def wasserstein(reference: Numbers, current: Numbers) -> float:
    """The first Wasserstein distance, in standard deviations of the reference.

    The area between both empirical distribution functions (S. S. Vallender, 1973), divided by the reference's standard
    deviation: a column in metres scores as the same column in miles. A constant reference has none; there it is
    divided by that of both samples together.

    Args:
        reference: Shape (rows,), finite.
        current: Shape (other rows,), finite.
    """
    import numpy as np

    points, was, now = _distributions(reference, current)
    if points[0] == points[-1]:
        return 0.0
    area = float(np.sum(np.abs(was - now)[:-1] * np.diff(points)))
    constant = reference.min() == reference.max()
    return area / float(np.std(points if constant else reference))


def kolmogorov_smirnov(reference: Numbers, current: Numbers) -> float:
    """The largest difference between both empirical distribution functions (A. Kolmogorov, 1933; N. Smirnov, 1939).

    Args:
        reference: Shape (rows,), finite.
        current: Shape (other rows,), finite.
    """
    import numpy as np

    _, was, now = _distributions(reference, current)
    return float(np.max(np.abs(was - now)))


def _distributions(reference: Numbers, current: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """All numbers in order, and the share of each sample at or below each: three arrays of shape (all rows,)."""
    import numpy as np

    samples = np.sort(reference), np.sort(current)
    points = np.sort(np.concatenate(samples), kind="stable")  # which merges what is in order already
    was, now = (np.searchsorted(sample, points, side="right") / len(sample) for sample in samples)
    return points, was, now
