"""Reduces attributions per channel to one value per pixel."""

from typing import Literal

from torch import Tensor

Reduction = Literal["max", "sum", "signed"]


def reduce_channels(attributions: Tensor, how: Reduction) -> Tensor:
    """Reduces attributions to saliency maps.

    Args:
        attributions: (N, C, H, W).
        how: `max` of the magnitudes (Simonyan et al. 2013, arXiv 1312.6034, section 3.1), `sum` of the magnitudes, or
            `signed`, the sum of the values.

    Returns:
        Maps (N, H, W).
    """
    match how:
        case "max":
            return attributions.abs().amax(1)
        case "sum":
            return attributions.abs().sum(1)
        case "signed":
            return attributions.sum(1)
