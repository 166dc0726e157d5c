"""How sure a mean is, by drawing the sample again from itself."""

from collections.abc import Sequence

import numpy as np

DRAWS = 2000


def mean_with_interval(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> dict[str, float]:
    """The mean, and the interval between the quantiles of the means of resamples (Efron 1979, percentile method).

    Args:
        values: At least one.
        level: Share of the resamples' means that lie in the interval.

    Returns:
        `mean`, `low` and `high`.
    """
    sample = np.asarray(values, np.float64)
    draws = np.random.default_rng(seed).integers(0, len(sample), (DRAWS, len(sample)))
    low, high = np.quantile(sample[draws].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return {"mean": float(sample.mean()), "low": float(low), "high": float(high)}
