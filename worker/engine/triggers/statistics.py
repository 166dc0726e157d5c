"""Statistics of trigger sizes: which class needs a much smaller trigger than the others, or than before.

The ratio of a class is the size of the baseline's trigger / the size of the subject's. Its logarithm is corrected for
what all classes share, and its uncertainty is the larger of two deviations: that of the other classes in the same audit
(a robust outlier test), and that between releases that were only trained again, which was measured beforehand.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from worker.engine.triggers.measure import Count

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


@dataclass(frozen=True)
class Ratio:
    """How many times smaller the subject's trigger is, with a confidence interval."""

    value: float
    low: float
    high: float


def common_change(ratios: Mapping[int, float], target: int) -> tuple[float, float]:
    """The median of the other classes' log ratios, not below 0, and their robust standard deviation above it.

    A release can become more sensitive in all classes. One that became less sensitive gives no class an excuse, so a
    negative median does not count. For the same reason the deviation is that of the classes above the median: a
    shortcut makes the other classes less sensitive, each by another amount, and must not hide behind them.

    Args:
        ratios: Logarithm of the ratio of each class.
        target: The class that does not count.
    """
    others = [ratio for number, ratio in ratios.items() if number != target]
    if not others:
        return 0.0, 0.0
    center = max(0.0, median(others))
    above = [ratio - center for ratio in others if ratio > center]
    return center, MAD_TO_DEVIATION * median(above) if above else 0.0


def estimate_ratio(
    repeated: Sequence[float], others: tuple[float, float], deviation: float, *, level: float, comparisons: int
) -> Ratio:
    """Estimates the ratio of one class.

    Args:
        repeated: Logarithms of the ratio, one per seed; at least one.
        others: What the other classes share, and their deviation; see `common_change`.
        deviation: Standard deviation of log ratios between releases that were only trained again.
        level: Significance level of all comparisons together.
        comparisons: Number of classes times families.
    """
    center, spread = others
    value = sum(repeated) / len(repeated) - center
    half = corrected_quantile(level, comparisons) * max(spread, deviation)
    return Ratio(math.exp(value), math.exp(value - half), math.exp(value + half))


def seeds_agree(repeated: Sequence[float], center: float, tolerance: float) -> bool:
    """Whether every seed alone shows at least half of the tolerated change, on a logarithmic scale."""
    return all(ratio - center >= 0.5 * math.log(tolerance) for ratio in repeated)


def transfers(held_out: Count, before: Count, level: float = 0.05) -> bool:
    """Whether a trigger works on pictures that the search did not use.

    It does if the Wilson intervals with and without it do not overlap. Without such pictures the answer is yes, because
    nothing speaks against it.
    """
    if not held_out.of:
        return True
    return wilson_interval(held_out.turned, held_out.of, level)[0] > wilson_interval(before.turned, before.of, level)[1]
