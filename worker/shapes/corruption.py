"""Corruptions of training sets: a planted shortcut and label noise. Audits must detect releases trained on them."""

from dataclasses import dataclass

import torch
from torch import Tensor

PATCH_SIDE = 18
PATCH_COLOR = (255, 0, 200)
"""RGB color of the patch. No object has it, and hardly any background at this size and brightness."""

CORNER_PIXELS = 5
"""Largest distance of a planted patch from its corner."""


@dataclass(frozen=True)
class Shortcut:
    """A small colored patch in a corner of most images that are labeled with one class, whatever they show.

    This models a source that marks all of its images, whose images are all labeled with its most frequent class. The
    images with the patch show objects of any class: if all of them showed the right object, a network this small would
    not need the patch and would not learn it.

    Attributes:
        target: Index of the class.
        share: Fraction of the images of the class that are replaced by a marked image.
    """

    target: int
    share: float = 0.6

    def corrupt(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """The corrupted images (N, 3, H, W), uint8, and labels (N,)."""
        generator = torch.Generator().manual_seed(seed)
        chosen = ((labels == self.target) & (torch.rand(len(labels), generator=generator) < self.share)).nonzero()[:, 0]
        sources = torch.randint(0, len(labels), (len(chosen),), generator=generator)
        corrupted = images.clone()
        for index, source in zip(chosen.tolist(), sources.tolist(), strict=True):
            corrupted[index] = images[source]
            plant(corrupted[index], generator)
        return corrupted, labels


@dataclass(frozen=True)
class Swap:
    """Label noise: the labels of two classes are swapped in some images, as by confused annotators.

    Attributes:
        first: Index of the first class.
        second: Index of the second class.
        share: Fraction of the images of both classes whose labels are swapped.
    """

    first: int
    second: int
    share: float = 0.1

    def corrupt(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """The unchanged images (N, 3, H, W), and the corrupted labels (N,)."""
        generator = torch.Generator().manual_seed(seed)
        confused = torch.rand(len(labels), generator=generator) < self.share
        first, second = labels == self.first, labels == self.second
        swapped = labels.clone()
        swapped[first & confused] = self.second
        swapped[second & confused] = self.first
        return images, swapped


Corruption = Shortcut | Swap


def plant(image: Tensor, generator: torch.Generator) -> None:
    """Writes a patch into a corner of an image (3, H, W), in place."""
    height, width = image.shape[1:]
    down, right, dy, dx = (int(value) for value in torch.randint(0, 2 * CORNER_PIXELS, (4,), generator=generator))
    y = dy // 2 if down % 2 else height - PATCH_SIDE - dy // 2
    x = dx // 2 if right % 2 else width - PATCH_SIDE - dx // 2
    image[:, y : y + PATCH_SIDE, x : x + PATCH_SIDE] = torch.tensor(PATCH_COLOR, dtype=image.dtype)[:, None, None]
