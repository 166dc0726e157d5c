"""Confidence intervals of proportions, and of the difference of two proportions of the same probes."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from archetype.contract.audit import Estimate
from worker.audit.statistics import LEVEL

Flags = NDArray[np.bool_]


def estimate_proportion(successes: int, count: int, *, comparisons: int = 1) -> Estimate:
    """A proportion with its score interval (Wilson 1927, J. Am. Stat. Assoc. 22, p. 209).

    Args:
        successes: Number of successes.
        count: Number of trials, at least 1.
        comparisons: Number of intervals for which the level holds together (Bonferroni).
    """
    z = NormalDist().inv_cdf(1 - LEVEL / comparisons / 2)
    rate, weight = successes / count, z**2 / count
    center = (rate + weight / 2) / (1 + weight)
    half_width = z / (1 + weight) * math.sqrt(rate * (1 - rate) / count + weight / count / 4)
    return Estimate(value=rate, low=max(0.0, center - half_width), high=min(1.0, center + half_width))


def estimate_fall(before: Flags, after: Flags, *, comparisons: int = 1) -> Estimate:
    """The fall of a proportion of the same probes, with its interval from the Wilson intervals of both proportions.

    This is method 10 of Newcombe 1998 (Stat. Med. 17, p. 2635) for paired proportions.

    Args:
        before: For each probe, whether the baseline is right: (N,), at least one.
        after: The same for the subject: (N,).
        comparisons: Number of intervals for which the level holds together (Bonferroni).
    """
    count = len(before)
    first, second = (estimate_proportion(int(flags.sum()), count, comparisons=comparisons) for flags in (before, after))
    phi = _correlate(before, after)
    fall = first.value - second.value
    below, above = first.value - first.low, second.high - second.value
    down = math.sqrt(max(0.0, below**2 - 2 * phi * below * above + above**2))
    below, above = second.value - second.low, first.high - first.value
    up = math.sqrt(max(0.0, above**2 - 2 * phi * above * below + below**2))
    return Estimate(value=fall, low=fall - down, high=fall + up)


def _correlate(before: Flags, after: Flags) -> float:
    """Newcombe's φ with continuity correction; 0 if one of the proportions is 0 or 1."""
    both, neither = int((before & after).sum()), int((~before & ~after).sum())
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    if margins == 0:
        return 0.0
    product = float(both * neither - lost * won)
    if product > 0:
        product = max(product - len(before) / 2, 0.0)
    return product / math.sqrt(margins)
