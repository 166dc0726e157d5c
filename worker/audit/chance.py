"""How sure a change is: intervals that many comparisons share, and how far a class stands out among all."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.audits import Measured

LEVEL = 0.05
"""How often an audit of a release that has not changed may find something."""

DRAWS = 10_000


def measure(values: Sequence[float] | NDArray[np.float64], *, looks: int, seed: int = 0) -> Measured:
    """The mean with its interval, by resampling (Efron 1979), at a level that so many looks share (Bonferroni).

    No mean of resampled values lies beyond the outermost value, which all draws are with a probability of n^-n. Where
    that is more than the level leaves, as of two or three seeds, the interval is Student's (1908), which is much wider.

    Args:
        values: At least one.
        looks: How many such means are looked at in one audit.
    """
    sample = np.asarray(values, np.float64)
    count, outside = len(sample), LEVEL / max(1, looks) / 2
    mean = float(sample.mean())
    if count > 1 and count**-count > outside:
        reach = find_quantile(1 - outside, count - 1) * float(sample.std(ddof=1)) / math.sqrt(count)
        return Measured(value=mean, low=mean - reach, high=mean + reach)
    draws = np.random.default_rng(seed).integers(0, count, (DRAWS, count))
    low, high = np.quantile(sample[draws].mean(1), [outside, 1 - outside])
    return Measured(value=mean, low=float(low), high=float(high))


def find_quantile(probability: float, freedom: int) -> float:
    """Of Student's distribution: t = √f·tan θ, where θ has a density that is proportional to cos^(f-1) θ."""
    angles = np.linspace(-math.pi / 2, math.pi / 2, 200_001)
    mass = np.cumsum(np.cos(angles) ** (freedom - 1))
    return math.sqrt(freedom) * math.tan(float(np.interp(probability, mass / mass[-1], angles)))


def less_shared(by_class: Mapping[int, NDArray[np.float64]]) -> dict[int, NDArray[np.float64]]:
    """The values of every class less what all classes share: the median of the others' means.

    A release that was trained anew has moved everywhere; what is asked is where it moved more.
    """
    means = {target: float(values.mean()) for target, values in by_class.items() if len(values)}
    found = {}
    for target, values in by_class.items():
        others = [mean for other, mean in means.items() if other != target]
        found[target] = values - (float(np.median(others)) if others else 0.0)
    return found
