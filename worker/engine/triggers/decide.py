"""Decides whether a class has a new shortcut: its trigger is smaller than the baseline's, by more than chance explains.

The ratio of a class is size of the baseline's trigger / size of the subject's. Its logarithm is corrected for what all
classes share, and its uncertainty is the larger of two deviations: that of the other classes in the same audit (a
robust outlier test), and that between releases that were only trained again, which was measured beforehand.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from worker.engine.triggers.measure import Count
from worker.engine.triggers.statistics import MAD_TO_DEVIATION, corrected_quantile, wilson_interval


@dataclass(frozen=True)
class Ratio:
    """How many times smaller the subject's trigger is, with a confidence interval."""

    value: float
    low: float
    high: float


def common_change(ratios: Mapping[int, float], target: int) -> tuple[float, float]:
    """The median of the other classes' log ratios, not below 0, and their robust standard deviation.

    A release can become more sensitive in all classes. One that became less sensitive gives no class an excuse, so a
    negative median does not count.

    Args:
        ratios: Logarithm of the ratio of each class.
        target: The class that does not count.
    """
    others = [ratio for number, ratio in ratios.items() if number != target]
    if not others:
        return 0.0, 0.0
    center = median(others)
    return max(0.0, center), MAD_TO_DEVIATION * median(abs(ratio - center) for ratio in others)


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
