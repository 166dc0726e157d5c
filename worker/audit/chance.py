"""How sure a change is: intervals that many comparisons share, and how far a class stands out among all."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from shared.audits import Measured

LEVEL = 0.05
"""How often an audit of a release that has not changed may find something."""

LEAST_SPREAD = 1e-3
"""Standard deviation of values that are alike: pictures have 8 bits, and networks round."""

Values = NDArray[np.float64]


def measure(values: Sequence[float] | Values) -> Measured:
    """The mean with its interval (Student 1908).

    Args:
        values: At least two: of one, nothing says how sure it is.
    """
    sample = np.asarray(values, np.float64)
    return _enclose(sample, _spread(sample), len(sample) - 1, LEVEL)


def measure_classes(by_class: Mapping[int, Values]) -> dict[int, Measured]:
    """The mean of every class with its interval, at a level that all classes share (Bonferroni).

    A class has a handful of pictures and a few seeds, which say little of how much they differ among themselves. So
    every class's variance is drawn to what is usual among the classes, the more the less the classes differ in it:
    the moderated t statistic (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, article 3). How much the classes differ is
    itself a guess, from a few classes a wild one, so it is never taken for more than half of what a class's own says.

    Args:
        by_class: Of classes with fewer than two values nothing is said.
    """
    known = {target: values for target, values in by_class.items() if len(values) > 1}
    variances = {target: _spread(values) ** 2 for target, values in known.items()}
    usual, worth = find_usual([(variances[target], len(values) - 1) for target, values in known.items()])
    found = {}
    for target, values in known.items():
        own = len(values) - 1
        weight = min(worth, own / 2)
        spread = math.sqrt((weight * usual + own * variances[target]) / (weight + own))
        found[target] = _enclose(values, spread, weight + own, LEVEL / len(known))
    return found


def find_usual(told: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The usual variance, and the degrees of freedom that it is worth beside a class's own.

    Smyth's moments of the logarithms of the variances (section 6.2).

    Args:
        told: Of every class, its variance and the degrees of freedom of that.

    Returns:
        Of fewer than three classes, a worth of 0; where they differ no more than chance would have it, that of all.
    """
    if len(told) < 3:
        return 1.0, 0.0
    halves = torch.tensor([freedom / 2 for _, freedom in told], dtype=torch.float64)
    logarithms = torch.tensor([math.log(variance) for variance, _ in told], dtype=torch.float64)
    centred = logarithms - torch.digamma(halves) + halves.log()
    excess = float(centred.var() - torch.polygamma(1, halves).mean())
    everything = float(sum(freedom for _, freedom in told))
    half = _invert_trigamma(excess) if excess > 0 else math.inf
    if 2 * half >= everything:
        return math.exp(float(centred.mean())), everything
    correction = float(torch.digamma(torch.tensor(half, dtype=torch.float64))) - math.log(half)
    return math.exp(float(centred.mean()) + correction), 2 * half


def _invert_trigamma(value: float) -> float:
    """Where the trigamma function, which falls, has that value, between a thousandth and a million."""
    low, high = math.log(1e-3), math.log(1e6)
    for _ in range(60):
        middle = (low + high) / 2
        there = float(torch.polygamma(1, torch.tensor(math.exp(middle), dtype=torch.float64)))
        low, high = (middle, high) if there > value else (low, middle)
    return math.exp(low)


def _spread(values: Values) -> float:
    return max(float(values.std(ddof=1)), LEAST_SPREAD)


def _enclose(values: Values, spread: float, freedom: float, level: float) -> Measured:
    mean = float(values.mean())
    reach = find_quantile(1 - level / 2, freedom) * spread / math.sqrt(len(values))
    return Measured(value=mean, low=mean - reach, high=mean + reach)


@lru_cache(maxsize=100)
def find_quantile(probability: float, freedom: float) -> float:
    """Of Student's distribution: t = √f·tan θ, where θ has a density that is proportional to cos^(f-1) θ."""
    angles = np.linspace(-math.pi / 2, math.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.append(0, np.cumsum(density[1:] + density[:-1]))
    return math.sqrt(freedom) * math.tan(float(np.interp(probability, mass / mass[-1], angles)))


def less_shared(by_class: Mapping[int, Values]) -> dict[int, Values]:
    """The values of every class less what all classes share: the median of the others' means.

    A release that was trained anew has moved everywhere; what is asked is where it moved more.
    """
    means = {target: float(values.mean()) for target, values in by_class.items() if len(values)}
    found = {}
    for target, values in by_class.items():
        others = [mean for other, mean in means.items() if other != target]
        found[target] = values - (float(np.median(others)) if others else 0.0)
    return found
