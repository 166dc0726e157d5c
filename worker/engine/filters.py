"""The weights of a convolution as tiles that can be drawn."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Tile:
    """One picture of weights.

    Attributes:
        filter: Its number.
        input: The input channel that is shown; None where all three are, as colours.
        weights: (h, w) or (h, w, 3).
    """

    filter: int
    input: int | None
    weights: NDArray[np.float32]

    @property
    def name(self) -> str:
        return str(self.filter) if self.input is None else f"{self.filter}:{self.input}"


def list_convolutions(network: nn.Module) -> list[str]:
    """The names of its convolutions over pictures, in the order in which they are defined."""
    return [name for name, module in network.named_modules() if read_filters(module) is not None]


def read_filters(module: nn.Module) -> Tensor | None:
    """A module's filters (K, C, h, w); None where it has none, or not of two dimensions."""
    weight = getattr(module, "weight", None)
    return weight.detach().float().cpu() if isinstance(weight, Tensor) and weight.ndim == 4 else None


def cut_tiles(
    weights: Tensor,
    filters: Literal["first", "random"] | list[int],
    *,
    inputs: Literal["strongest", "all"],
    count: int,
    seed: int,
) -> list[Tile]:
    """At most so many tiles of filters (K, C, h, w).

    Args:
        filters: The first ones, some at random, or those of these numbers.
        inputs: `strongest`: a tile per filter, in colour where it has three inputs, else of the one of the largest
            norm. `all`: a tile per filter and input, in their order.
        seed: Of the choice at random.

    Raises:
        ValueError: There is no filter of that number.
    """
    channels = weights.shape[1]
    numbers = list(range(len(weights))) if isinstance(filters, str) else filters
    wrong = [number for number in numbers if number >= len(weights)]
    if wrong:
        raise ValueError(f"there are {len(weights)} filters, there is no filter {wrong[0]}")
    places = [(number, place) for number in numbers for place in range(channels if inputs == "all" else 1)]
    if filters == "random":
        order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))
        places = [places[place] for place in order[:count].tolist()]
    return [_cut(weights[number], number, None if inputs == "strongest" else place) for number, place in places[:count]]


def _cut(weights: Tensor, number: int, place: int | None) -> Tile:
    """A tile of one filter (C, h, w)."""
    if place is None and len(weights) == 3:
        return Tile(number, None, weights.permute(1, 2, 0).numpy())
    chosen = int(weights.flatten(1).norm(dim=1).argmax()) if place is None else place
    return Tile(number, chosen, weights[chosen].numpy())


def to_pixels(values: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Values (h, w) or (h, w, 3) in 8 bits, their least black and their largest white, each pixel a square: (H, W, 3).

    Args:
        side: The longer side of the result, rounded down to a whole number of pixels per value; at least one.
    """
    least, most = float(values.min()), float(values.max())
    scaled = (values - least) / (most - least) if most > least else np.full_like(values, 0.5)
    levels = np.rint(scaled * 255).astype(np.uint8)
    each = max(1, side // max(levels.shape[:2]))
    levels = levels.repeat(each, 0).repeat(each, 1)
    return np.ascontiguousarray(levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2))
