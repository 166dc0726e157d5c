"""Sizes of the triggers of both releases, and their ratios."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from worker.engine.triggers.measure import Trigger
from worker.engine.triggers.statistics import common_change, log_ratios
from worker.triggers.rounds import Found

RETRAINED = {
    "mask": 0.16,
    "additive": 0.1,
    "bounded": 0.1,
    "color": 0.4,
    "frame": 0.3,
    "frequency": 0.1,
    "patch": 0.15,
    "crop": 0.2,
}
"""Standard deviation of the logarithm of a class's ratio, between releases in which the class has no shortcut.

It is that of the mean of two fine searches. Measured with the zoo (`python -m benchmarks.zoo.triggers`): retrained
releases, fine-tuned ones, and the classes of the planted ones that were not the target. Color maps are found for few
classes, and differ most.
"""

FINE_SPREAD = 0.7
"""How much less the mean of two fine searches varies than a coarse search, measured in the same way."""

GROUPS = (("additive", "bounded", "frequency"), ("mask", "patch"))
"""Families of similar changes: of all pixels, and of a part of the image.

A shortcut that is none of the changes of a family, such as a thin cross, still makes those of several families smaller.
Their mean varies less than each of them.
"""

RETRAINED_MEAN = 0.1
"""The same for the mean of coarse searches over a group."""


@dataclass(frozen=True)
class Sizes:
    """The triggers of one family in both releases.

    Attributes:
        subject: The subject's triggers.
        baseline: The baseline's triggers.
        largest: What counts as the baseline's size if it has no trigger of any class.
        counts_missing: Whether a class without a trigger in both releases tells that they are alike. A search without
            gradients finds triggers of few classes.
    """

    subject: Found
    baseline: Found
    largest: float
    counts_missing: bool = False

    def ratios(self, seed: int) -> dict[int, float]:
        """Logarithms of the ratios of all classes whose trigger was found in the subject, for one seed."""
        subject, baseline = (_select_seed(found, seed) for found in (self.subject, self.baseline))
        reached = {target: trigger.size for target, trigger in subject.items() if trigger.reached}
        return log_ratios(self._bound(baseline), reached)

    def shared(self, target: int, seed: int) -> tuple[float, float]:
        """What the other classes share, and their deviation, from the triggers of one seed."""
        if not self.counts_missing:
            return common_change(self.ratios(seed), target)
        before, after = (self._count_missing(_select_seed(found, seed)) for found in (self.baseline, self.subject))
        others = [ratio for number, ratio in log_ratios(before, after).items() if number != target] or [0.0]
        center = max(0.0, median(others))
        return center, math.sqrt(sum(max(0.0, ratio - center) ** 2 for ratio in others) / len(others))

    def _count_missing(self, triggers: Mapping[int, Trigger]) -> dict[int, float]:
        return {target: each.size if each.reached else self.largest for target, each in triggers.items()}

    def baseline_size(self, target: int) -> float:
        """The size of the baseline's smallest trigger of a class, bounded as for the ratios."""
        smallest = {number: find_smallest(triggers) for number, triggers in self.baseline.items()}
        return self._bound(smallest)[target]

    def _bound(self, triggers: Mapping[int, Trigger]) -> dict[int, float]:
        """The sizes of all classes; those that were not found count as the largest that was found."""
        return self._count_missing(triggers) if self.counts_missing else _bound_sizes(triggers, self.largest)


def choose_groups(names: Collection[str]) -> list[tuple[str, ...]]:
    """The groups with those of their families that were searched, if these are at least two."""
    groups = (tuple(name for name in group if name in names) for group in GROUPS)
    return [group for group in groups if len(group) > 1]


def mean_ratios(families: Sequence[Sizes], seed: int) -> dict[int, float]:
    """Logarithms of the ratios of all classes, the mean over the families in which the subject has a trigger."""
    by_family = [sizes.ratios(seed) for sizes in families]
    targets = sorted({target for ratios in by_family for target in ratios})
    found = {target: [ratios[target] for ratios in by_family if target in ratios] for target in targets}
    return {target: sum(ratios) / len(ratios) for target, ratios in found.items()}


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
