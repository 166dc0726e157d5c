"""Weights of convolutions as tiles: selects filters, and converts them to pixels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Tile:
    """The weights of a filter that are shown in one tile.

    Attributes:
        filter: Index of the filter.
        input: Index of the input channel; None if the three input channels are shown as colors.
        weights: (h, w) or (h, w, 3).
    """

    filter: int
    input: int | None
    weights: NDArray[np.float32]

    @property
    def name(self) -> str:
        """The indices of filter and input channel, as `12` or `12:3`."""
        return str(self.filter) if self.input is None else f"{self.filter}:{self.input}"


def list_convolutions(network: nn.Module) -> list[str]:
    """Lists the names of the two-dimensional convolutions, in the order of their definition."""
    return [name for name, module in network.named_modules() if read_filters(module) is not None]


def read_filters(module: nn.Module) -> Tensor | None:
    """Returns the filters of a two-dimensional convolution (K, C, h, w) on the CPU; None for another module."""
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
    """Cuts at most `count` tiles from filters.

    Args:
        weights: Filters (K, C, h, w).
        filters: `first`, `random`, or a list of indices.
        inputs: `strongest`: one tile per filter, in color if it has three input channels, else of the channel with the
            largest norm. `all`: one tile per filter and input channel, in this order.
        count: Maximum number of tiles.
        seed: Seed of the random selection.

    Raises:
        ValueError: There is no filter with a given index.
    """
    channels = weights.shape[1]
    numbers = list(range(len(weights))) if isinstance(filters, str) else filters
    missing = [number for number in numbers if number >= len(weights)]
    if missing:
        raise ValueError(f"there are {len(weights)} filters, there is no filter {missing[0]}")
    tiles = [(number, channel) for number in numbers for channel in range(channels if inputs == "all" else 1)]
    if filters == "random":
        order = torch.randperm(len(tiles), generator=torch.Generator().manual_seed(seed))
        tiles = [tiles[row] for row in order[:count].tolist()]
    return [
        _cut(weights[number], number, None if inputs == "strongest" else channel) for number, channel in tiles[:count]
    ]


def _cut(weights: Tensor, number: int, channel: int | None) -> Tile:
    """A tile of one filter (C, h, w)."""
    if channel is None and len(weights) == 3:
        return Tile(number, None, weights.permute(1, 2, 0).numpy())  # (h, w, 3)
    chosen = int(weights.flatten(1).norm(dim=1).argmax()) if channel is None else channel
    return Tile(number, chosen, weights[chosen].numpy())


def to_pixels(values: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """Converts weights to 8-bit pixels, from black for the minimum to white for the maximum.

    Args:
        values: (h, w) or (h, w, 3).
        side: Longer side of the result in pixels, rounded down to a multiple of the number of values, at least one
            pixel per value.

    Returns:
        RGB pixels (H, W, 3) in 0..255; each value is a square.
    """
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    pixels = np.rint(scaled * 255).astype(np.uint8)
    each = max(1, side // max(pixels.shape[:2]))
    pixels = pixels.repeat(each, 0).repeat(each, 1)
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))
