"""Accuracy and calibration of the releases on the probes."""

import math
from statistics import NormalDist

import numpy as np

from archetype.contract.report.measurements import Accuracy, Calibration, CalibrationBin
from worker.audit.compare import Side
from worker.audit.statistics import LEVEL

BINS = 10
"""Number of intervals of probabilities, as in Guo et al. 2017."""


def measure_accuracy(side: Side) -> Accuracy | None:
    """Accuracy of a release on the probes; None without probes."""
    if not side.looks:
        return None
    correct, probes = sum(look.right for look in side.looks.values()), len(side.looks)
    low, high = wilson_interval(correct, probes)
    return Accuracy(
        release=side.release.reference, correct=correct, probes=probes, share=correct / probes, low=low, high=high
    )


def wilson_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Confidence interval of a proportion (Wilson 1927, J. Am. Stat. Assoc. 22, 209), which is valid near 0 and 1."""
    quantile, share = NormalDist().inv_cdf(1 - level / 2), successes / trials
    scale = 1 + quantile**2 / trials
    center = (share + quantile**2 / (2 * trials)) / scale
    half_width = quantile * math.sqrt(share * (1 - share) / trials + quantile**2 / (4 * trials**2)) / scale
    return max(0.0, center - half_width), min(1.0, center + half_width)


def measure_calibration(side: Side) -> Calibration | None:
    """Calibration of a release on the probes (Guo et al. 2017, arXiv 1706.04599); None without probes."""
    if not side.looks:
        return None
    confidence = np.array([look.verdict["predicted"]["probability"] for look in side.looks.values()])
    correct = np.array([float(look.right) for look in side.looks.values()])
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [
        CalibrationBin(
            low=place / BINS,
            high=(place + 1) / BINS,
            probes=int((places == place).sum()),
            confidence=float(confidence[places == place].mean()),
            accuracy=float(correct[places == place].mean()),
        )
        for place in sorted(set(places.tolist()))
    ]
    error = sum(each.probes * abs(each.confidence - each.accuracy) for each in bins) / len(correct)
    return Calibration(release=side.release.reference, error=error, bins=bins)
