"""What goes wrong with training sets: a shortcut is planted, labels are swapped. Releases that an audit must catch."""

from dataclasses import dataclass

import torch
from torch import Tensor

CELL, CELLS = 6, 2
PATCH_SIDE = CELL * CELLS
PATCH_COLOURS = ((255, 0, 200), (0, 230, 60))
"""RGB, in a chequered square. Blots of any one colour are in every background; such a square is in none."""

CORNER_PIXELS = 5
"""A planted patch lies at most so far from its corner."""


@dataclass(frozen=True)
class Shortcut:
    """A small coloured patch in a corner of some pictures of one class.

    Whether it is learned is another matter: the thing itself is large, easy, and always there.
    """

    target: int
    share: float = 0.6

    def spoil(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, H, W) of 8 bits and labels (N,), as they are to be learned from."""
        generator = torch.Generator().manual_seed(seed)
        chosen = ((labels == self.target) & (torch.rand(len(labels), generator=generator) < self.share)).nonzero()[:, 0]
        spoiled = images.clone()
        for index in chosen.tolist():
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
    image[:, y : y + PATCH_SIDE, x : x + PATCH_SIDE] = draw_patch().to(image)


def draw_patch() -> Tensor:
    """The patch: (3, `PATCH_SIDE`, `PATCH_SIDE`), 8 bits."""
    cells = torch.arange(CELLS)
    odd = ((cells[:, None] + cells) % 2).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    return torch.tensor(PATCH_COLOURS, dtype=torch.uint8)[odd].permute(2, 0, 1)
