"""Corruptions of images: blur, JPEG compression, noise and brightness, as cameras and uploads cause them."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.inputs.preprocess import Levels

BLUR = 1 / 100
"""Standard deviation of the blur, as a fraction of the shorter side of the network's input."""

QUALITY = 15
"""Quality of the JPEG compression, from 1 to 95."""

NOISE = 20.0
"""Standard deviation of the noise in levels from 0 to 255."""

BRIGHTER, DARKER = 1.5, 0.5
"""Factors of all levels."""

Corrupt = Callable[[Levels, int], Levels]
"""From an image (H, W, C) and a seed to an image of the same shape."""


def blur(image: Levels, _seed: int) -> Levels:
    """Blurs an image with a Gaussian."""
    blurred = cv2.GaussianBlur(image, (0, 0), max(0.5, min(image.shape[:2]) * BLUR))
    return np.asarray(blurred, np.uint8).reshape(image.shape)


def compress(image: Levels, _seed: int) -> Levels:
    """Compresses an image as JPEG and decodes it; channels other than those of an RGB image one by one."""
    if image.shape[2] == 3:
        return _pass_through_jpeg(image)
    return np.stack([_pass_through_jpeg(plane) for plane in np.moveaxis(image, 2, 0)], axis=2)


def _pass_through_jpeg(pixels: Levels) -> Levels:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=QUALITY)
    buffer.seek(0)
    with Image.open(buffer) as decoded:
        return np.asarray(decoded, np.uint8)


def add_noise(image: Levels, seed: int) -> Levels:
    """Adds Gaussian noise, which depends on the seed alone."""
    return _to_levels(image + np.random.default_rng(seed).normal(0, NOISE, image.shape))


def brighten(image: Levels, _seed: int) -> Levels:
    """Multiplies all levels; the brightest are cut off."""
    return _to_levels(image * BRIGHTER)


def darken(image: Levels, _seed: int) -> Levels:
    """Multiplies all levels by less than 1."""
    return _to_levels(image * DARKER)


def _to_levels(values: NDArray[np.floating[Any]]) -> Levels:
    return np.asarray(values.round().clip(0, 255), np.uint8)


CORRUPTIONS: Mapping[str, Corrupt] = {
    "blur": blur,
    "JPEG": compress,
    "noise": add_noise,
    "more brightness": brighten,
    "less brightness": darken,
}
"""All corruptions by name."""
