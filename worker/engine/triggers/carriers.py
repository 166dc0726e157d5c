"""Carriers: the images that a trigger is put on. Some are used for the search, the others to test what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

HELD_OUT = 0.4
"""Fraction of the images that the search does not use."""


@dataclass(frozen=True)
class Carriers:
    """Images with their classes.

    Attributes:
        images: (M, C, H, W) in 0..1.
        labels: Class index of each image (M,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Sequence[int]) -> Self:
        """Returns some of the carriers."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.labels.device)
        return type(self)(self.images[index], self.labels[index])

    def others(self, target: int) -> Tensor:
        """Rows of the carriers of other classes (m,)."""
        return (self.labels != target).nonzero()[:, 0]

    def split(self) -> tuple[Self, Self]:
        """Splits every class: the first images for the search, the last ones held out.

        Returns:
            The carriers of the search and the held-out carriers. A class with one image takes part in the search.
        """
        search, held_out = list[int](), list[int]()
        for label in self.labels.unique().tolist():
            rows = (self.labels == label).nonzero()[:, 0].tolist()
            kept = len(rows) - int(len(rows) * HELD_OUT)
            search += rows[:kept]
            held_out += rows[kept:]
        return self.take(sorted(search)), self.take(sorted(held_out))
