"""Feature maps of layers: reads them, selects channels, and scales them for display."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.engine.attribution.cam.grad_cam import find_layer
from worker.engine.model.classifier import Classifier, Outputs

Maps = NDArray[np.float32]
"""Feature maps of one image: (K, h, w)."""


def choose_layer(classifier: Classifier) -> str:
    """Chooses the layer to show if none is named: that of Grad-CAM, else the last one that gives a row per image.

    Raises:
        ValueError: No layer does.
    """
    with suppress(ValueError):
        return find_layer(classifier)
    *_, last = [None, *classifier.layouts()]
    if last is None:
        raise ValueError("no layer of the network gives one row per image")
    return last


@torch.no_grad()
def read_maps(classifier: Classifier, inputs: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Reads the feature maps of layers.

    Tokens of transformers are arranged as a grid without the class token. An output without spatial axes gives maps of
    one value each.

    Args:
        classifier: The network.
        inputs: Normalized images (N, C, H, W).
        layers: Names of layers.

    Returns:
        Maps (N, K, h, w) by layer, on the CPU; (N, K, 1, 1) without spatial axes.

    Raises:
        ValueError: The network has no such layer, or a layer's output is not a tensor with one row per image.
    """
    outputs = classifier.forward(inputs, layers)
    return {layer: _to_maps(outputs, layer).float().cpu() for layer in layers}


def _to_maps(outputs: Outputs, layer: str) -> Tensor:
    grid, values = outputs.grid(layer), outputs.activations[layer]
    if grid is not None:
        return grid
    return values if values.ndim == 4 else values.flatten(1)[..., None, None]  # (N, K, 1, 1)


def choose_channels(
    maps: Tensor, channels: Literal["first", "strongest", "random"] | list[int], *, count: int, seed: int
) -> list[int]:
    """Selects at most `count` channels.

    Args:
        maps: Feature maps of one image (K, h, w).
        channels: `first`; `strongest`, those with the largest mean, largest first; `random`; or a list of indices.
        count: Maximum number of channels.
        seed: Seed of the random selection.

    Returns:
        Indices of channels.

    Raises:
        ValueError: There is no channel with a given index.
    """
    if isinstance(channels, list):
        missing = [number for number in channels if number >= len(maps)]
        if missing:
            raise ValueError(f"the layer has {len(maps)} channels, there is no channel {missing[0]}")
        return channels[:count]
    if channels == "random":
        return torch.randperm(len(maps), generator=torch.Generator().manual_seed(seed))[:count].tolist()
    if channels == "strongest":
        return maps.mean((1, 2)).argsort(descending=True, stable=True)[:count].tolist()
    return list(range(min(count, len(maps))))


def scale_maps(maps: Maps, scale: Literal["each", "all"]) -> Maps:
    """Scales maps to 0..1 from their minimum to their maximum; constant maps become 0.5.

    Args:
        maps: (K, h, w).
        scale: Whether the minimum and maximum are those of `each` map or of `all` maps.

    Returns:
        (K, h, w) in 0..1.
    """
    axes = (1, 2) if scale == "each" else None
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    spread = np.where(high > low, high - low, 1)
    scaled: Maps = np.where(high > low, (maps - low) / spread, 0.5).astype(np.float32)
    return scaled
