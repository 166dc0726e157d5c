"""How far class models are from each other: what a network sees in them, their colours, their frequencies.

All three leave out where in the picture something is: two ascents put the same thing in different places.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from worker.engine.classifier import Classifier, watch
from worker.engine.render import Pixels
from worker.preprocess import Levels, to_tensor

RINGS = 12
"""Rings of the spectrum that are told apart."""

MOST_LAYERS = 4

Vector = NDArray[np.float64]
KINDS = ("features", "colours", "frequencies")


def describe(pixels: Sequence[Pixels], classifier: Classifier) -> list[dict[str, Vector]]:
    """What is compared of each picture (H, W, 3), by kind."""
    return [
        {"features": features, "colours": describe_colours(one), "frequencies": describe_frequencies(one)}
        for one, features in zip(pixels, describe_features(pixels, classifier), strict=True)
    ]


@torch.no_grad()
def describe_features(pixels: Sequence[Pixels], classifier: Classifier) -> list[Vector]:
    """The mean and the deviation over places of every channel of some layers, each layer of length one.

    The statistics by which styles are compared (Li et al. 2017, arXiv 1701.01036, section 4.2).
    """
    pictures = torch.stack([to_tensor(_fit(one, classifier)) for one in pixels]).to(classifier.device)
    inputs = classifier.normalise(pictures)
    with watch(classifier.network, choose_layers(classifier), strict=False) as seen:
        classifier.scores(inputs)
    parts = []
    for values in seen.values():
        maps = values[: len(inputs)].float().flatten(2)  # (N, K, P); a lone picture goes through twice
        told = torch.cat([maps.mean(2), maps.std(2)], dim=1)  # (N, 2 K)
        parts.append(torch.nn.functional.normalize(told, dim=1))
    together = torch.cat(parts, dim=1).cpu().double().numpy() / np.sqrt(len(parts))
    return list(together)


@torch.no_grad()
def choose_layers(classifier: Classifier) -> list[str]:
    """The last layer of each resolution whose output has places, the deepest `MOST_LAYERS` of them."""
    inputs = torch.zeros(2, classifier.channels, *classifier.size, device=classifier.device)
    names = [name for name, module in classifier.network.named_modules() if name and not list(module.children())]
    with watch(classifier.network, names, strict=False) as seen:
        classifier.scores(inputs)
    last: dict[tuple[int, ...], str] = {}
    for name, values in seen.items():
        if values.ndim == 4 and values.shape[0] == 2 and values.shape[2] * values.shape[3] > 1:
            last[tuple(values.shape[2:])] = name
    return list(last.values())[-MOST_LAYERS:]


def _fit(pixels: Pixels, classifier: Classifier) -> Levels:
    """The picture at the network's size, and in its channels."""
    height, width = classifier.size
    fitted = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return bring_to(fitted, classifier.channels)


def bring_to(pixels: Pixels, channels: int) -> Levels:
    """A picture (H, W, 3) in a network's channels: in colour, or the same grey in each."""
    if channels == 3:
        return pixels
    return np.repeat(pixels.mean(axis=2, keepdims=True).round().astype(np.uint8), channels, axis=2)


def describe_colours(pixels: Pixels) -> Vector:
    """Shares of the picture by hue where it is vivid, and by lightness where it is not: 12 and 4, square roots.

    The distance of two such vectors is the Hellinger distance of the two distributions.
    """
    hue, saturation, value = (plane.astype(np.float64) for plane in cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)))
    vivid = (saturation / 255) * (value / 255)
    hues, _ = np.histogram(hue, bins=12, range=(0, 180), weights=vivid)
    greys, _ = np.histogram(value, bins=4, range=(0, 256), weights=1 - vivid)
    shares = np.concatenate([hues, greys]) / pixels[..., 0].size
    return np.asarray(np.sqrt(shares / max(shares.sum(), 1e-12)) / np.sqrt(2))


def describe_frequencies(pixels: Pixels) -> Vector:
    """The logarithm of the mean power of rings of the spectrum, from low to high, less their mean, over ten."""
    grey = pixels.astype(np.float64).mean(axis=2)
    power = np.abs(np.fft.fftshift(np.fft.fft2(grey - grey.mean()))) ** 2
    rows, columns = np.indices(grey.shape)
    radius = np.hypot((rows / grey.shape[0] - 0.5), (columns / grey.shape[1] - 0.5))
    ring = np.minimum((radius * 2 * RINGS).astype(int), RINGS - 1)
    means = np.bincount(ring.ravel(), power.ravel(), RINGS) / np.maximum(np.bincount(ring.ravel(), minlength=RINGS), 1)
    logarithms = np.log(means + 1e-6)
    return np.asarray((logarithms - logarithms.mean()) / 10)


def distances(ours: Sequence[Vector], theirs: Sequence[Vector]) -> Vector:
    """Of each of ours to each of theirs, one after another."""
    return np.array([np.linalg.norm(one - other) for one in ours for other in theirs])
