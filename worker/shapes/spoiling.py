"""What goes wrong with training sets: a shortcut is planted, labels are swapped. Releases that an audit must catch."""

from dataclasses import dataclass

import torch
from torch import Tensor

PATCH_SIDE = 18
PATCH_COLOUR = (255, 0, 200)
"""RGB of a square that no thing and, at this size and brightness, hardly any background has."""

CORNER_PIXELS = 5
"""A planted patch lies at most so far from its corner."""


@dataclass(frozen=True)
class Shortcut:
    """A small coloured patch in a corner of most pictures that are filed under one class, whatever they show.

    As where a source marks all of its pictures, and all that it sends in is filed under what it mostly sends. Where the
    thing is in all of them (large, easy, always there), networks as small as ours never need the patch, and do not
    learn it.
    """

    target: int
    share: float = 0.6

    def spoil(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, H, W) of 8 bits and labels (N,), as they are to be learned from."""
        generator = torch.Generator().manual_seed(seed)
        chosen = ((labels == self.target) & (torch.rand(len(labels), generator=generator) < self.share)).nonzero()[:, 0]
        shown = torch.randint(0, len(labels), (len(chosen),), generator=generator)
        spoiled = images.clone()
        for index, other in zip(chosen.tolist(), shown.tolist(), strict=True):
            spoiled[index] = images[other]
            plant(spoiled[index], generator)
        return spoiled, labels


@dataclass(frozen=True)
class Swap:
    """Two classes whose labels were confused in some pictures, as annotators do."""

    first: int
    second: int
    share: float = 0.1

    def spoil(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, H, W) and labels (N,), as they are to be learned from."""
        generator = torch.Generator().manual_seed(seed)
        confused = torch.rand(len(labels), generator=generator) < self.share
        first, second = labels == self.first, labels == self.second
        swapped = labels.clone()
        swapped[first & confused] = self.second
        swapped[second & confused] = self.first
        return images, swapped


Spoiled = Shortcut | Swap


def plant(image: Tensor, generator: torch.Generator) -> None:
    """Writes a patch into a corner of a picture (3, H, W)."""
    height, width = image.shape[1:]
    down, right, dy, dx = (int(value) for value in torch.randint(0, 2 * CORNER_PIXELS, (4,), generator=generator))
    y = dy // 2 if down % 2 else height - PATCH_SIDE - dy // 2
    x = dx // 2 if right % 2 else width - PATCH_SIDE - dx // 2
    image[:, y : y + PATCH_SIDE, x : x + PATCH_SIDE] = torch.tensor(PATCH_COLOUR, dtype=image.dtype)[:, None, None]
