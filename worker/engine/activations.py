"""What layers make of pictures: feature maps, chosen and scaled to be drawn."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.classifier import Classifier, check_rows, watch
from worker.engine.grid import to_grid

Maps = NDArray[np.float32]


@torch.no_grad()
def read_maps(classifier: Classifier, inputs: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The feature maps (N, K, h, w) of normalised inputs (N, C, H, W) by layer, on the CPU.

    Tokens of transformers are laid out as a grid, without the class token; what has no places is one value each, of
    size (1, 1).

    Raises:
        ValueError: The network has no such layer, or a layer gives no tensor with a row per picture.
    """
    doubled = inputs if len(inputs) > 1 else torch.cat([inputs, inputs])  # see Classifier.look
    with watch(classifier.network, layers) as seen:
        classifier.scores(doubled)
    check_rows(seen, layers, len(doubled))
    ratio = inputs.shape[2] / inputs.shape[3]
    return {layer: _lay_out(seen[layer], ratio)[: len(inputs)].float().cpu() for layer in layers}


def _lay_out(values: Tensor, ratio: float) -> Tensor:
    grid = to_grid(values, ratio=ratio)
    if grid is not None:
        return grid
    return values if values.ndim == 4 else values.flatten(1)[..., None, None]


def choose_channels(
    maps: Tensor, wanted: Literal["first", "strongest", "random"] | list[int], *, count: int, seed: int
) -> list[int]:
    """At most so many channels of a picture's maps (K, h, w).

    Args:
        wanted: The first, those of the largest mean, largest first, some at random, or those of these numbers.
        seed: Of the choice at random.

    Raises:
        ValueError: There is no channel of that number.
    """
    if isinstance(wanted, list):
        wrong = [number for number in wanted if number >= len(maps)]
        if wrong:
            raise ValueError(f"the layer has {len(maps)} channels, there is no channel {wrong[0]}")
        return wanted[:count]
    if wanted == "random":
        return torch.randperm(len(maps), generator=torch.Generator().manual_seed(seed))[:count].tolist()
    if wanted == "strongest":
        return maps.mean((1, 2)).argsort(descending=True, stable=True)[:count].tolist()
    return list(range(min(count, len(maps))))


def scale_maps(maps: Maps, scale: Literal["each", "all"]) -> Maps:
    """Maps (K, h, w) to 0..1: from the least to the largest value of each, or of all."""
    axes = (1, 2) if scale == "each" else None
    least, most = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    spread = np.where(most > least, most - least, 1)
    scaled: Maps = np.where(most > least, (maps - least) / spread, 0.5).astype(np.float32)
    return scaled
