"""Renders saliency maps in colors, alone and over their image."""

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.render import RGBImage, to_gray


def find_limit(values: NDArray[np.floating], quantile: float = 0.99) -> float:
    """Finds the magnitude that gets the brightest color in a map (H, W).

    Args:
        values: The map (H, W); finite.
        quantile: A quantile of the magnitudes; below 1, so that a single bright pixel does not darken the rest.

    Returns:
        The quantile, or the largest magnitude if the quantile is 0; 0 if all values are zero.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    magnitudes = np.abs(values)
    if not np.isfinite(magnitudes).all():
        raise ValueError("a map with values that are NaN or infinite cannot be rendered")
    return float(np.quantile(magnitudes, quantile)) or float(magnitudes.max())


def scale_map(values: NDArray[np.floating], limit: float | None = None) -> NDArray[np.float32]:
    """Divides a saliency map (H, W) by its limit and clips it: (H, W) in −1..1; zeros if all values are zero.

    Args:
        values: The map (H, W); finite.
        limit: The magnitude that becomes 1; None for the one of `find_limit`.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    own = find_limit(values)
    top = own if limit is None else limit
    if own <= 0 or top <= 0:
        return np.zeros(values.shape, np.float32)
    scaled: NDArray[np.float32] = np.clip(values / top, -1, 1).astype(np.float32)
    return scaled


def render_heat_map(values: NDArray[np.float32], limit: float | None = None) -> RGBImage:
    """Renders a saliency map (H, W): (H, W, 3).

    Positive values are colored from black over red to pale yellow, negative values from black over teal to pale cyan.

    Args:
        values: The map (H, W); finite.
        limit: The magnitude with the brightest color; None for the one of `find_limit`.
    """
    scaled = scale_map(values, limit)
    levels = (np.abs(scaled) * 255).astype(np.uint8)
    against = _make_teal_colors()[levels]  # (H, W, 3)
    inferno = np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))[..., ::-1]
    return np.ascontiguousarray(np.where(scaled[..., None] < 0, against, inferno).astype(np.uint8))


def _make_teal_colors() -> RGBImage:
    """The colors of negative values by level (256, 3), without red at low levels: weak evidence is purple or teal."""
    strength = np.linspace(0, 1, 256)
    colors = np.stack([np.clip(2.5 * strength - 1.5, 0, 1) * 200, strength * 235, strength**0.9 * 255], 1)
    return np.rint(colors).astype(np.uint8)


def render_overlay(
    pixels: RGBImage, values: NDArray[np.float32], limit: float | None = None, strength: float = 0.85
) -> RGBImage:
    """Renders a saliency map over its image: colored where the map is large, gray elsewhere.

    Args:
        pixels: The image (H, W, 3).
        values: The map (H, W); negative values have colors of their own.
        limit: The magnitude with the brightest color; None for the one of `find_limit`. The map is blurred, and the
            limit falls with its values.
        strength: Opacity of the map at its maximum, 0 to 1.

    Returns:
        (H, W, 3).
    """
    blurred = np.asarray(cv2.GaussianBlur(values, (0, 0), sigmaX=max(1.0, values.shape[0] / 100)), np.float32)
    own = find_limit(values)
    top = find_limit(blurred) * (1 if limit is None or own <= 0 else limit / own)
    weight = np.abs(scale_map(blurred, top))[..., None] * strength  # (H, W, 1)
    gray = to_gray(pixels) * 0.7 + 40
    mixed = gray * (1 - weight) + render_heat_map(blurred, top) * weight
    clipped: RGBImage = np.clip(mixed, 0, 255).astype(np.uint8)
    return clipped
