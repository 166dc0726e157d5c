"""Distance of class models (class visualizations): features of the network, color histograms and frequencies.

All three ignore positions, because two optimizations place the same object at different positions.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from worker.engine.model.classifier import Classifier
from worker.engine.render import RGBImage
from worker.inputs.preprocess import Levels, to_tensor

RINGS = 12
"""Number of frequency bands of the spectrum."""

MAX_LAYERS = 4

Vector = NDArray[np.float64]
KINDS = ("features", "colours", "frequencies")
"""The three descriptions of an image; reports name their figures by these words."""


def describe_images(images: Sequence[RGBImage], classifier: Classifier) -> list[dict[str, Vector]]:
    """The vectors that are compared, by kind, for each image (H, W, 3)."""
    return [
        {
            "features": features,
            "colours": describe_colors(image),
            "frequencies": describe_frequencies(image),
        }
        for image, features in zip(images, describe_features(images, classifier), strict=True)
    ]


@torch.no_grad()
def describe_features(images: Sequence[RGBImage], classifier: Classifier) -> list[Vector]:
    """Mean and standard deviation of each channel over positions, for some layers of the network.

    These statistics describe the style of an image (Li et al. 2017, arXiv 1701.01036, section 4.2). The vector of each
    layer is normalized to unit length.
    """
    batch = torch.stack([to_tensor(_fit(image, classifier)) for image in images]).to(classifier.device)
    inputs = classifier.normalize(batch)
    layers = choose_layers(classifier)
    outputs = classifier.forward(inputs, layers)
    parts = []
    for layer in layers:
        maps = outputs.channels(layer).float().flatten(2)  # (N, K, P)
        statistics = torch.cat([maps.mean(2), maps.std(2)], dim=1)  # (N, 2 K)
        parts.append(torch.nn.functional.normalize(statistics, dim=1))
    return list(torch.cat(parts, dim=1).cpu().double().numpy() / np.sqrt(len(parts)))


def choose_layers(classifier: Classifier) -> list[str]:
    """The last layer of each spatial resolution, limited to the `MAX_LAYERS` deepest ones."""
    leaves = {name for name, module in classifier.network.named_modules() if not list(module.children())}
    last = {
        layout.grid: name
        for name, layout in classifier.layouts().items()
        if name in leaves and len(layout.shape) == 3 and layout.grid is not None and layout.grid != (1, 1)
    }
    return list(last.values())[-MAX_LAYERS:]


def _fit(image: RGBImage, classifier: Classifier) -> Levels:
    """The image at the network's input size and with its channels."""
    height, width = classifier.size
    fitted = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return convert_channels(fitted, classifier.channels)


def convert_channels(image: RGBImage, channels: int) -> Levels:
    """An image (H, W, 3) with another number of channels (H, W, C): unchanged for 3, else gray in every channel."""
    if channels == 3:
        return image
    return np.repeat(image.mean(axis=2, keepdims=True).round().astype(np.uint8), channels, axis=2)


def describe_colors(image: RGBImage) -> Vector:
    """Square roots of a color histogram (16,): 12 bins of hue, weighted by vividness, and 4 bins of lightness.

    The distance of two such vectors is the Hellinger distance of the two histograms.
    """
    hue, saturation, value = (plane.astype(np.float64) for plane in cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)))
    vividness = (saturation / 255) * (value / 255)
    hues, _ = np.histogram(hue, bins=12, range=(0, 180), weights=vividness)
    grays, _ = np.histogram(value, bins=4, range=(0, 256), weights=1 - vividness)
    histogram = np.concatenate([hues, grays]) / image[..., 0].size
    return np.asarray(np.sqrt(histogram / max(histogram.sum(), 1e-12)) / np.sqrt(2))


def describe_frequencies(image: RGBImage) -> Vector:
    """Logarithms of the mean power of `RINGS` frequency bands, from low to high, minus their mean, divided by ten."""
    gray = image.astype(np.float64).mean(axis=2)
    power = np.abs(np.fft.fftshift(np.fft.fft2(gray - gray.mean()))) ** 2
    rows, columns = np.indices(gray.shape)
    radius = np.hypot((rows / gray.shape[0] - 0.5), (columns / gray.shape[1] - 0.5))
    ring = np.minimum((radius * 2 * RINGS).astype(int), RINGS - 1)
    means = np.bincount(ring.ravel(), power.ravel(), RINGS) / np.maximum(np.bincount(ring.ravel(), minlength=RINGS), 1)
    logarithms = np.log(means + 1e-6)
    return np.asarray((logarithms - logarithms.mean()) / 10)


def pairwise_distances(first: Sequence[Vector], second: Sequence[Vector]) -> Vector:
    """Euclidean distance of each of the first N vectors to each of the second M: (N M,), the second index fastest."""
    return np.array([np.linalg.norm(one - other) for one in first for other in second])
