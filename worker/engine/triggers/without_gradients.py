"""Searches triggers of a network that gives no gradients: by trying many, and by changing the best at random.

First, candidates of the family are tried on a few images: each pass gives the probabilities of all classes, so that the
number of classes does not matter. Then each class's best candidate and its size are changed at random, and the best of
it and its children is kept: an evolution strategy (1 + λ). What is found is measured like any trigger.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches
from worker.engine.triggers.carriers import Carriers
from worker.engine.triggers.families.crops import choose_backgrounds
from worker.engine.triggers.families.family import Family, draw_normal
from worker.engine.triggers.measure import AT_ONCE, draw_places
from worker.engine.triggers.search import Slot

BACKGROUNDS = 6
"""Images, each of another class, on which triggers are tried."""

CHILDREN = 16
"""Changed copies of a trigger in each generation."""

STEPS_PER_GENERATION = 10
"""Steps of a search by gradient in the place of which there is one generation."""

PASSES = 30_000
"""Images that all slots of a round may change together; with many slots, there are fewer generations."""

SIZES = (0.35, 0.7, 1.4)
"""Sizes at which candidates are tried, relative to the typical one."""

WEIGHT = 1.0
"""Weight of a trigger of the typical size, in units of the log-probability."""

ENOUGH, MORE = math.log(0.5), 0.01
"""Log-probability at which an image has turned, and the weight of what exceeds it: no reason for a larger trigger."""

SPREAD, LAST_SPREAD = 0.5, 0.1
"""Size of the first and of the last random change, relative to the root mean square of the parameters."""


@runtime_checkable
class Enumerable(Family, Protocol):
    """A family that can be searched without gradients."""

    def candidates(self) -> Tensor:
        """Returns parameters (M, P) of triggers that differ much from each other, on the CPU."""


def find_without_gradients(
    classifier: Classifier, family: Enumerable, slots: Sequence[Slot], carriers: Carriers, *, steps: int
) -> Iterator[Tensor]:
    """Finds for each slot a small trigger that makes its target probable.

    A trigger's value is the mean over the images of min(log p_target, log 0.5), minus the weight of its size. Its size
    is not below the smallest of `SIZES`: what a few images need says little, and the measurement makes it smaller.

    Args:
        classifier: The network.
        family: The family.
        slots: Target and seed of each trigger.
        carriers: Images of several classes.
        steps: Number of steps that a search by gradient would take.

    Yields:
        Parameters (P,) of each slot in turn; it works between two of them, so the caller can stop.
    """
    trial = _Trial(classifier, family, choose_backgrounds(carriers, BACKGROUNDS))
    plain = family.candidates().to(carriers.images.device)
    candidates = torch.cat([trial.resize(plain, factor) for factor in SIZES])
    scores = trial.score(candidates)  # (M, classes)
    affordable = PASSES // (len(slots) * CHILDREN * len(trial.backgrounds))
    generations = min(steps // STEPS_PER_GENERATION, affordable)
    for slot in slots:
        best = int(scores[:, slot.target].argmax())
        yield trial.evolve(candidates[best], float(scores[best, slot.target]), slot, generations)


class _Trial:
    """Tries triggers on a few images."""

    def __init__(self, classifier: Classifier, family: Family, backgrounds: Carriers) -> None:
        self._classifier = classifier
        self._family = family
        self.backgrounds = backgrounds
        self._places = draw_places(len(backgrounds)).to(backgrounds.images.device)
        with torch.no_grad():
            plain = classifier.scores(classifier.normalize(backgrounds.images))  # (B, classes)
        classes = torch.arange(plain.shape[1], device=plain.device)
        others = (classes != backgrounds.labels[:, None]) & (classes != plain.argmax(1)[:, None])  # can be turned
        self._weights = torch.where(others.any(0), others, True).float()  # all images, if none can

    def resize(self, parameters: Tensor, factor: float) -> Tensor:
        """Brings triggers (N, P) to a size relative to the typical one."""
        sizes = self._family.size(parameters).clamp_min(1e-6)
        return self._family.scale(parameters, factor * self._family.typical / sizes)

    @torch.no_grad()
    def score(self, parameters: Tensor) -> Tensor:
        """The value (N, classes) of triggers (N, P) for each class as the target."""
        count = len(self.backgrounds)

        def run(rows: slice) -> Tensor:
            part = parameters[rows]
            images = self.backgrounds.images.expand(len(part), -1, -1, -1, -1)
            changed = self._family.apply(part, images, self._places.expand(len(part), -1, -1)).flatten(0, 1)
            outputs = self._classifier.forward(self._classifier.normalize(changed))
            return outputs.log_probabilities().view(len(part), count, -1)

        parts, _ = run_in_microbatches(run, len(parameters), max(1, AT_ONCE // count))
        values = torch.cat(parts).nan_to_num(nan=-1e9, neginf=-1e9)  # (N, B, classes)
        counted = values.clamp_max(ENOUGH) + MORE * (values - ENOUGH).clamp_min(0)
        means = (counted * self._weights).sum(1) / self._weights.sum(0)
        return means - WEIGHT * self._family.size(parameters)[:, None] / self._family.typical

    def evolve(self, parameters: Tensor, value: float, slot: Slot, generations: int) -> Tensor:
        """Changes a trigger (P,) and its size at random, and keeps what has a larger value."""
        best, best_value = parameters, value
        for generation in range(generations):
            part = generation / max(1, generations - 1)
            spread = SPREAD ** (1 - part) * LAST_SPREAD**part
            seeds = [slot.seed * 1_000_003 + generation * CHILDREN + child for child in range(CHILDREN)]
            noise = draw_normal(seeds, 1 + len(parameters)).to(parameters.device)
            moved = best + spread * best.square().mean().sqrt() * noise[:, 1:]
            children = self._resize_like(best, moved, (spread * noise[:, 0]).exp())
            values = self.score(children)[:, slot.target]
            found = int(values.argmax())
            if float(values[found]) > best_value:
                best, best_value = children[found], float(values[found])
        return best

    def _resize_like(self, parameters: Tensor, moved: Tensor, factors: Tensor) -> Tensor:
        """Brings triggers (N, P) to the size of another one (P,) times factors (N,)."""
        wanted = (self._family.size(parameters[None]) * factors).clamp_min(SIZES[0] * self._family.typical)
        return self._family.scale(moved, wanted / self._family.size(moved).clamp_min(1e-6))
