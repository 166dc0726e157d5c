"""Sizes of the triggers of both releases, and their ratios."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.engine.triggers.measure import Trigger
from worker.engine.triggers.statistics import log_ratios
from worker.triggers.rounds import Found

RETRAINED = {
    "mask": 0.16,
    "additive": 0.12,
    "bounded": 0.14,
    "color": 0.18,
    "frame": 0.18,
    "frequency": 0.14,
    "patch": 0.14,
    "crop": 0.18,
}
"""Standard deviation of the logarithm of a class's ratio, between releases that were only trained again.

Estimates: between v1 and v3 of the demo, the classes without a shortcut have 0.11 in the family `patch`.
"""


@dataclass(frozen=True)
class Sizes:
    """The triggers of one family in both releases.

    Attributes:
        subject: The subject's triggers.
        baseline: The baseline's triggers.
        largest: What counts as the baseline's size if it has no trigger of any class.
    """

    subject: Found
    baseline: Found
    largest: float

    def ratios(self, seed: int) -> dict[int, float]:
        """Logarithms of the ratios of all classes whose trigger was found in the subject, for one seed."""
        subject, baseline = (_select_seed(found, seed) for found in (self.subject, self.baseline))
        reached = {target: trigger.size for target, trigger in subject.items() if trigger.reached}
        return log_ratios(_bound_sizes(baseline, self.largest), reached)

    def baseline_size(self, target: int) -> float:
        """The size of the baseline's smallest trigger of a class, bounded as for the ratios."""
        smallest = {number: find_smallest(triggers) for number, triggers in self.baseline.items()}
        return _bound_sizes(smallest, self.largest)[target]


def _select_seed(found: Found, seed: int) -> dict[int, Trigger]:
    """The triggers of one seed by target."""
    return {target: each for target, triggers in found.items() for each in triggers if each.slot.seed == seed}


def _bound_sizes(triggers: Mapping[int, Trigger], limit: float) -> dict[int, float]:
    """The sizes of all classes; those that were not found count as the largest that was found.

    A search that failed says little about the size that the class needs, and must not make the ratio arbitrarily large.
    If none was found, `limit` counts.
    """
    largest = max((trigger.size for trigger in triggers.values() if trigger.reached), default=limit)
    return {
        target: trigger.size if trigger.reached else min(trigger.size, largest) for target, trigger in triggers.items()
    }


def find_smallest(triggers: Sequence[Trigger]) -> Trigger:
    """The smallest of the triggers that turned enough images; the smallest of all if none did."""
    return min(triggers, key=lambda trigger: (not trigger.reached, trigger.size))
