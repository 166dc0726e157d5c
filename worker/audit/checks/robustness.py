"""Gate `robustness`: does the subject lose more accuracy on corrupted probes than the baseline?"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from archetype.contract.audit import CorruptionRow, Estimate, Finding
from archetype.contract.audit_plan import AuditPlan
from worker.audit.checks.corruptions import CORRUPTIONS, Corrupt
from worker.audit.gates import exceeds_gate
from worker.audit.maps.faithfulness import LabeledView, spread
from worker.audit.shortcut import predict_probabilities
from worker.audit.statistics import estimate_class_means
from worker.engine.model.classifier import Classifier

MAX_PROBES = 500
"""Probes that are corrupted, spread over the classes."""

MIN_PROBES = 5
AT_ONCE = 64

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Corrupted:
    """Which of the probes both networks classify correctly after one corruption, (N,) each."""

    subject: Flags
    baseline: Flags


def measure_robustness(
    subject: Classifier, baseline: Classifier, probes: Sequence[LabeledView]
) -> Generator[None, None, list[CorruptionRow]]:
    """Measures all corruptions, and yields after each batch of images. Only one batch is in memory at a time."""
    chosen = spread(probes, MAX_PROBES)
    if len(chosen) < MIN_PROBES:
        return []
    plain = yield from _classify((subject, baseline), chosen, lambda image, _seed: image)
    corrupted: dict[str, Corrupted] = {}
    for name, corrupt in CORRUPTIONS.items():
        corrupted[name] = yield from _classify((subject, baseline), chosen, corrupt)
    changes = estimate_class_means(
        {number: _count_losses(each) - _count_losses(plain) for number, each in enumerate(corrupted.values())}
    )
    return [
        CorruptionRow(
            corruption=name,
            probes=len(chosen),
            subject=float(each.subject.mean()),
            baseline=float(each.baseline.mean()),
            change=changes.get(number),
        )
        for number, (name, each) in enumerate(corrupted.items())
    ]


def _classify(
    networks: tuple[Classifier, Classifier], probes: Sequence[LabeledView], corrupt: Corrupt
) -> Generator[None, None, Corrupted]:
    right: list[list[bool]] = [[], []]
    for start in range(0, len(probes), AT_ONCE):
        batch = probes[start : start + AT_ONCE]
        images = [corrupt(probe.view.levels, start + place) for place, probe in enumerate(batch)]
        for side, network in zip(right, networks, strict=True):
            predicted = predict_probabilities(network, images).argmax(1).tolist()
            side += [index == probe.target for index, probe in zip(predicted, batch, strict=True)]
        yield
    return Corrupted(*(np.array(side) for side in right))


def _count_losses(corrupted: Corrupted) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """For each probe: 1 if only the subject is wrong, −1 if only the baseline is wrong, else 0."""
    return corrupted.baseline.astype(np.float64) - corrupted.subject


def check_robustness(rows: Sequence[CorruptionRow], plan: AuditPlan, baseline: str) -> list[Finding]:
    """The corruptions to which the subject is less robust than the baseline."""
    gate = plan.gates.robustness
    return [
        Finding(
            gate="robustness",
            severity=gate.severity,
            baseline=baseline,
            change=row.change,
            noise=0.0,
            tolerance=gate.tolerance,
            reason=_explain(row, row.change),
        )
        for row in rows
        if row.change is not None and exceeds_gate(row.change, gate, 0.0)
    ]


def _explain(row: CorruptionRow, change: Estimate) -> str:
    return (
        f"{row.corruption} costs the subject {100 * change.value:.1f} percentage points of accuracy more than the "
        f"baseline: on the corrupted probes the subject is right in {row.subject:.0%}, the baseline in "
        f"{row.baseline:.0%}"
    )
