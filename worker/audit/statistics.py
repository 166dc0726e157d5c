"""Confidence intervals of changes, corrected for the number of classes, and the change that all classes share."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from archetype.contract.audit import Estimate
from shared.audits.report.gate_results import ERROR_LEVEL

LEVEL = ERROR_LEVEL
"""Significance level: the accepted probability of a false finding in an audit of an unchanged release."""

MIN_DEVIATION = 1e-3
"""Least standard deviation: images have 8 bits, and networks round, so equal values are not exact."""

Values = NDArray[np.float64]


def estimate_mean(values: Sequence[float] | Values) -> Estimate:
    """The mean with its confidence interval (Student 1908).

    Args:
        values: Sample (N,) of at least two values; a single one gives no interval.
    """
    sample = np.asarray(values, np.float64)
    return _build_estimate(sample, _deviation(sample), len(sample) - 1, LEVEL)


def estimate_class_means(by_class: Mapping[int, Values]) -> dict[int, Estimate]:
    """The mean of each class with its confidence interval, corrected for the number of classes (Bonferroni).

    A class has a handful of probes and a few seeds, too few for its own variance. So the variance of each class is
    shrunk towards the typical variance of the classes, the more the less the variances differ: the moderated t
    statistic (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, article 3). With few classes the typical variance is itself
    uncertain, so its weight is limited to half of the weight of the class's own variance.

    Args:
        by_class: Sample (N,) of each class. Classes with fewer than two values are left out of the result.
    """
    samples = {target: values for target, values in by_class.items() if len(values) > 1}
    variances = {target: _deviation(values) ** 2 for target, values in samples.items()}
    prior_variance, prior_freedom = fit_variance_prior(
        [(variances[target], len(values) - 1) for target, values in samples.items()]
    )
    estimates = {}
    for target, values in samples.items():
        freedom = len(values) - 1
        weight = min(prior_freedom, freedom / 2)
        deviation = math.sqrt((weight * prior_variance + freedom * variances[target]) / (weight + freedom))
        estimates[target] = _build_estimate(values, deviation, weight + freedom, LEVEL / len(samples))
    return estimates


def fit_variance_prior(variances: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Fits the prior distribution of the variances of classes (Smyth 2004, section 6.2).

    The fit uses the moments of the logarithms of the variances.

    Args:
        variances: Variance of each class, with its degrees of freedom.

    Returns:
        The typical variance, and its weight in degrees of freedom: 0 for fewer than three classes; the degrees of
        freedom of all classes together if the variances do not differ more than by chance.
    """
    if len(variances) < 3:
        return 1.0, 0.0
    halves = torch.tensor([freedom / 2 for _, freedom in variances], dtype=torch.float64)
    logarithms = torch.tensor([math.log(variance) for variance, _ in variances], dtype=torch.float64)
    centered = logarithms - torch.digamma(halves) + halves.log()
    excess = float(centered.var() - torch.polygamma(1, halves).mean())
    total_freedom = float(sum(freedom for _, freedom in variances))
    half = _invert_trigamma(excess) if excess > 0 else math.inf
    if 2 * half >= total_freedom:
        return math.exp(float(centered.mean())), total_freedom
    correction = float(torch.digamma(torch.tensor(half, dtype=torch.float64))) - math.log(half)
    return math.exp(float(centered.mean()) + correction), 2 * half


def _invert_trigamma(value: float) -> float:
    """Solves trigamma(x) = value by bisection, for x from a thousandth to a million; the function decreases."""
    low, high = math.log(1e-3), math.log(1e6)
    for _ in range(60):
        middle = (low + high) / 2
        result = float(torch.polygamma(1, torch.tensor(math.exp(middle), dtype=torch.float64)))
        low, high = (middle, high) if result > value else (low, middle)
    return math.exp(low)


def _deviation(values: Values) -> float:
    return max(float(values.std(ddof=1)), MIN_DEVIATION)


def _build_estimate(values: Values, deviation: float, freedom: float, level: float) -> Estimate:
    mean = float(values.mean())
    half_width = student_quantile(1 - level / 2, freedom) * deviation / math.sqrt(len(values))
    return Estimate(value=mean, low=mean - half_width, high=mean + half_width)


@lru_cache(maxsize=100)
def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution.

    Uses the substitution t = √f·tan θ, under which θ has a density proportional to cos^(f−1) θ.
    """
    angles = np.linspace(-math.pi / 2, math.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.append(0, np.cumsum(density[1:] + density[:-1]))
    return math.sqrt(freedom) * math.tan(float(np.interp(probability, mass / mass[-1], angles)))


def subtract_common_change(by_class: Mapping[int, Values]) -> dict[int, Values]:
    """Subtracts from the values (N,) of each class the median of the means of the other classes.

    A retrained release changes in all classes; the gates look for classes that change more than the others.
    """
    means = {target: float(values.mean()) for target, values in by_class.items() if len(values)}
    results = {}
    for target, values in by_class.items():
        others = [mean for other, mean in means.items() if other != target]
        results[target] = values - (float(np.median(others)) if others else 0.0)
    return results
