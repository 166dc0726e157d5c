"""Statistics of trigger sizes: which class needs a much smaller trigger than the others, or than before."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, median

MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution, divided by its median absolute deviation."""

MIN_DEVIATION = 0.15
"""Least standard deviation of the logarithms of sizes: the search itself is repeated within about 15 %."""


def wilson_interval(turned: int, of: int, level: float = 0.05) -> tuple[float, float]:
    """The confidence interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, p. 209).

    Args:
        turned: Number of successes.
        of: Number of trials; 0 gives the interval from 0 to 1.
        level: Probability that the interval misses the share.
    """
    if not of:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(1 - level / 2)
    share, spread = turned / of, z * z / of
    center = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, (center - half) / (1 + spread)), min(1.0, (center + half) / (1 + spread))


def outlier_scores(sizes: Mapping[int, float]) -> dict[int, float]:
    """How many robust standard deviations the logarithm of each class's size lies below the median of the others.

    Wang et al. 2019, "Neural Cleanse", section 4.3, use the median absolute deviation of the sizes. Sizes of families
    differ by factors, so their logarithms are compared. The class itself does not count: with few classes its own small
    size would widen the deviation.

    Args:
        sizes: Size of the trigger of each class. A class whose trigger was not found has the largest size.

    Returns:
        The scores; large is suspicious. Empty with fewer than four classes.
    """
    if len(sizes) < 4:
        return {}
    logarithms = {target: math.log(max(size, 1e-9)) for target, size in sizes.items()}
    scores = {}
    for target, value in logarithms.items():
        others = [other for number, other in logarithms.items() if number != target]
        center = median(others)
        scores[target] = (center - value) / _robust_deviation(others, center)
    return scores


def _robust_deviation(values: Sequence[float], center: float) -> float:
    spread = MAD_TO_DEVIATION * median(abs(value - center) for value in values)
    return max(spread, MIN_DEVIATION)


def log_ratios(baseline: Mapping[int, float], subject: Mapping[int, float]) -> dict[int, float]:
    """The logarithm of the baseline's size over the subject's, for every class with both; positive is suspicious."""
    both = baseline.keys() & subject.keys()
    return {
        target: math.log(max(baseline[target], 1e-9)) - math.log(max(subject[target], 1e-9)) for target in sorted(both)
    }


def corrected_quantile(level: float, comparisons: int) -> float:
    """The normal quantile of a one-sided test at a level, corrected for a number of comparisons (Bonferroni)."""
    return NormalDist().inv_cdf(1 - level / max(1, comparisons))
