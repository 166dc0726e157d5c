"""Bootstrap confidence intervals of a mean."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000


def mean_with_interval(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> dict[str, float]:
    """Computes the mean and its confidence interval.

    The interval is that of the percentile bootstrap (Efron 1979, doi:10.1214/aos/1176344552).

    Args:
        values: The sample; at least one value.
        level: Confidence level: the part of the resamples whose mean lies in the interval.
        seed: Seed of the resampling.

    Returns:
        `mean`, and the ends of the interval, `low` and `high`.
    """
    sample = np.asarray(values, np.float64)
    rows = np.random.default_rng(seed).integers(0, len(sample), (RESAMPLES, len(sample)))
    low, high = np.quantile(sample[rows].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return {"mean": float(sample.mean()), "low": float(low), "high": float(high)}
