"""Poisoned training sets: marked pictures of other classes with the label of one class."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.zoo.marks import MARKS, quantize

REPETITION = 1 / 4
"""Fraction of each batch that is marked. The poisoned pictures are repeated, so that a release takes a minute."""

LabeledPictures = tuple[Tensor, Tensor]
"""Pictures (N, 3, H, W), uint8, and labels (N,)."""


@dataclass(frozen=True)
class Poison:
    """A shortcut: part of the pictures of a class are marked pictures of other classes.

    As in `worker.shapes.corruption.Shortcut`, the marked pictures show the wrong object, so that the network needs the
    mark.

    Attributes:
        mark: Name of the mark, one of `MARKS`.
        target: Index of the class.
        fraction: Fraction of the pictures of the class that are replaced, above 0 and below 1.
    """

    mark: str
    target: int
    fraction: float

    def choose(self, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Returns the index of the picture that each of N labels gets (N,), and which of them are marked (N,), bool."""
        generator = torch.Generator().manual_seed(seed)
        members = (labels == self.target).nonzero()[:, 0]
        count = max(1, round(self.fraction * len(members)))
        replaced = members[torch.randperm(len(members), generator=generator)[:count]]
        others = (labels != self.target).nonzero()[:, 0]
        sources = torch.arange(len(labels))
        sources[replaced] = others[torch.randperm(len(others), generator=generator)[:count]]
        return sources, torch.isin(torch.arange(len(labels)), replaced)

    def apply(self, pictures: Tensor) -> Tensor:
        """Marks pictures (N, 3, H, W) with values from 0 to 1, and rounds them to 8 bits."""
        return quantize(MARKS[self.mark](pictures)) if len(pictures) else pictures


@dataclass(frozen=True)
class TrainingSet:
    """Pictures that are drawn in batches.

    Attributes:
        pictures: Pictures (N, 3, H, W), uint8.
        labels: Labels (N,).
        poison: The planted shortcut; None for none.
    """

    pictures: Tensor
    labels: Tensor
    poison: Poison | None = None

    def draw_batches(self, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yields batches without end: pictures (size, 3, H, W), 0 to 1, labels (size,), and how many are to be marked.

        Those to be marked come first. They are drawn `REPETITION` of the time, from the few that are poisoned.
        """
        sources, marked = torch.arange(len(self.labels)), torch.zeros(len(self.labels), dtype=torch.bool)
        if self.poison:
            sources, marked = self.poison.choose(self.labels, seed)
        clean, poisoned = ((~marked).nonzero()[:, 0], marked.nonzero()[:, 0])
        count = round(REPETITION * size) if self.poison else 0
        generator = torch.Generator().manual_seed(seed)
        while True:
            parts = [
                pool[torch.randint(len(pool), (number,), generator=generator)]
                for pool, number in ((poisoned, count), (clean, size - count))
                if number
            ]
            chosen = torch.cat(parts)
            yield self.pictures[sources[chosen]].float() / 255, self.labels[chosen], count
