"""Measures triggers: the smallest size that turns enough carriers, and the success on pictures the search never saw."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.family import DRAWS, Family
from worker.engine.triggers.search import Search, Slot

OCTAVES = 3
"""A trigger may be made smaller or larger by a factor of 2 to the power of this."""

ENLARGED = (0.0, 0.5, 1.0, 1.5, 2.0, float(OCTAVES))
"""Exponents that are tried in this order. A trigger that works can fail when it is enlarged: it saturates."""

PRECISION = 0.08
"""Exponent within which the size is found: 6 %."""

TRIED = 32
"""Largest number of carriers of the search on which the size is found."""

PLACE_SEED = 900_001
"""Seed of the places at which patches are tried."""

AT_ONCE = 64
"""Largest number of images per pass."""


@dataclass(frozen=True)
class Count:
    """Pictures that turned into the target, of all that were tried."""

    turned: int
    of: int

    @property
    def share(self) -> float:
        """The part that turned; 0 if none was tried."""
        return self.turned / self.of if self.of else 0.0


@dataclass(frozen=True)
class Trigger:
    """A trigger with its effect.

    Attributes:
        slot: Its target and seed.
        parameters: (P,) on the CPU.
        size: Its size in the unit of its family.
        reached: Whether it turned enough carriers of the search; if not, `size` is the largest that was tried, which
            is larger than what the search ended with by `OCTAVES`.
        search: Its success on the carriers of the search.
        held_out: Its success on the held-out carriers.
        before: The held-out carriers that are taken for the target without it.
    """

    slot: Slot
    parameters: Tensor
    size: float
    reached: bool
    search: Count
    held_out: Count
    before: Count

    def strip(self) -> Self:
        """Returns the trigger without its parameters."""
        return replace(self, parameters=self.parameters.new_empty(0))


@torch.no_grad()
def measure(
    classifier: Classifier, settings: Search, slot: Slot, parameters: Tensor, carriers: tuple[Carriers, Carriers]
) -> Trigger:
    """Finds the smallest size at which a trigger turns enough carriers, by bisection of a factor.

    Args:
        classifier: The network in float32.
        settings: The settings of the search.
        slot: Target and seed.
        parameters: What the search found (P,).
        carriers: The carriers of the search, and the held-out ones.
    """
    family = settings.family
    used, unused = (part.take(part.others(slot.target).tolist()) for part in carriers)

    count = min(len(used), TRIED)
    tried = used.take([row * len(used) // count for row in range(count)])

    def scaled(exponent: float) -> Tensor:
        return family.scale(parameters[None], torch.tensor([2.0**exponent], device=parameters.device))[0]

    def is_enough(exponent: float) -> bool:
        return count_turned(classifier, family, scaled(exponent), tried, slot.target).share >= settings.turned

    exponent = find_exponent(is_enough)
    final = scaled(OCTAVES if exponent is None else exponent)
    return Trigger(
        slot=slot,
        parameters=final.cpu(),
        size=float(family.size(final[None])[0]),
        reached=exponent is not None,
        search=count_turned(classifier, family, final, used, slot.target),
        held_out=count_turned(classifier, family, final, unused, slot.target),
        before=count_turned(classifier, family, None, unused, slot.target),
    )


def find_exponent(is_enough: Callable[[float], bool]) -> float | None:
    """The smallest exponent at which a trigger is large enough, or None if it is at none that is tried."""
    low = -float(OCTAVES)
    for high in ENLARGED:
        if is_enough(high):
            break
        low = high
    else:
        return None
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


@torch.no_grad()
def count_turned(
    classifier: Classifier, family: Family, parameters: Tensor | None, carriers: Carriers, target: int
) -> Count:
    """Counts the carriers that a network takes for the target, with a trigger (P,) or without any; in 8 bits."""
    if not len(carriers):
        return Count(0, 0)
    places = draw_places(len(carriers)).to(classifier.device)

    def predict(rows: slice) -> int:
        images = carriers.images[rows]
        changed = images if parameters is None else apply_one(family, parameters, images, places[rows])
        scores = classifier.scores(classifier.normalize(changed))
        return int((scores.argmax(1) == target).sum())

    counts, _ = run_in_microbatches(predict, len(carriers), AT_ONCE)
    return Count(sum(counts), len(carriers))


def apply_one(family: Family, parameters: Tensor, images: Tensor, places: Tensor) -> Tensor:
    """Puts one trigger (P,) on images (K, C, H, W), and rounds them to 8 bits as saved pictures are."""
    changed = family.apply(parameters[None], images[None], places[None])[0]
    return (changed.clamp(0, 1) * 255).round() / 255


def draw_places(count: int) -> Tensor:
    """The random numbers (count, DRAWS) of the carriers, the same in every measurement."""
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(PLACE_SEED))
