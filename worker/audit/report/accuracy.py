"""Accuracy and calibration of the releases on the probes."""

import numpy as np

from archetype.contract.report.measurements import Accuracy, Calibration, CalibrationBin
from worker.audit.checks.wilson import estimate_proportion
from worker.audit.compare import Side

BINS = 10
"""Number of intervals of probabilities, as in Guo et al. 2017."""


def measure_accuracy(side: Side) -> Accuracy | None:
    """Accuracy of a release on the probes; None without probes."""
    if not side.looks:
        return None
    correct, probes = sum(look.right for look in side.looks.values()), len(side.looks)
    share = estimate_proportion(correct, probes)
    return Accuracy(
        release=side.release.reference,
        correct=correct,
        probes=probes,
        share=share.value,
        low=share.low,
        high=share.high,
    )


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
