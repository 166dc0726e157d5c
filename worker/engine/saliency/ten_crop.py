"""Maps averaged over ten cropped and reflected sub-images (Simonyan et al. 2013, section 3.2)."""

from collections.abc import Callable

import torch
from torch import Tensor

MapOf = Callable[[Tensor, Tensor], Tensor]
"""From normalised inputs (N, C, h, w) and targets (N,) to maps (N, h, w)."""


def average_ten_crops(map_of: MapOf, frames: Tensor, targets: Tensor, size: tuple[int, int]) -> Tensor:
    """The mean map of the four corners, the centre, and their reflections, each laid where it came from.

    Args:
        map_of: What makes a map.
        frames: Normalised pictures (N, C, H, W), larger than what the network takes.
        targets: A class index each (N,).
        size: Height and width of a crop.

    Returns:
        Maps (N, H, W) of the whole frames; where crops overlap, their mean.
    """
    height, width = size
    low, right = frames.shape[2] - height, frames.shape[3] - width
    corners = [(0, 0), (0, right), (low, 0), (low, right), (low // 2, right // 2)]
    total, count = torch.zeros_like(frames[:, 0]), torch.zeros_like(frames[0, 0])
    for top, left in corners:
        rows, columns = slice(top, top + height), slice(left, left + width)
        crop = frames[:, :, rows, columns]
        total[:, rows, columns] += map_of(crop, targets) + map_of(crop.flip(3), targets).flip(2)
        count[rows, columns] += 2
    return total / count.clamp_min(1)
