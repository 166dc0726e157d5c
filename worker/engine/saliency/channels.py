"""From a slope per value to a map per pixel."""

from typing import Literal

from torch import Tensor

Reduction = Literal["max", "sum", "signed"]


def reduce_channels(slopes: Tensor, how: Reduction) -> Tensor:
    """Slopes (N, C, H, W) to maps (N, H, W).

    Args:
        how: `max` of the magnitudes (Simonyan et al. 2013, section 3.1), their `sum`, or `signed`, the sum with signs.
    """
    match how:
        case "max":
            return slopes.abs().amax(1)
        case "sum":
            return slopes.abs().sum(1)
        case "signed":
            return slopes.sum(1)
