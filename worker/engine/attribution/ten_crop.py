"""Ten-crop averaging of saliency maps: four corners, the center, and their reflections (Simonyan et al. 2013, 3.2)."""

from collections.abc import Callable

import torch
from torch import Tensor

MapOf = Callable[[Tensor, Tensor], Tensor]
"""From normalized inputs (N, C, h, w) and a class index for each (N,) to maps (N, h, w)."""


def average_ten_crops(map_of: MapOf, frames: Tensor, targets: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages the maps of ten crops, each placed where the crop was taken (arXiv 1312.6034, section 3.2).

    Args:
        map_of: Computes the maps of crops.
        frames: Normalized images (N, C, H, W), larger than a crop.
        targets: A class index for each image (N,).
        size: Height and width of a crop in pixels.

    Returns:
        Maps (N, H, W) of the whole frames; the mean where crops overlap, 0 where no crop lies.
    """
    height, width = size
    low, right = frames.shape[2] - height, frames.shape[3] - width
    corners = [(0, 0), (0, right), (low, 0), (low, right), (low // 2, right // 2)]
    total, count = torch.zeros_like(frames[:, 0]), torch.zeros_like(frames[0, 0])
    for top, left in corners:
        rows, columns = slice(top, top + height), slice(left, left + width)
        crop = frames[:, :, rows, columns]  # (N, C, h, w)
        total[:, rows, columns] += map_of(crop, targets) + map_of(crop.flip(3), targets).flip(2)
        count[rows, columns] += 2
    return total / count.clamp_min(1)
