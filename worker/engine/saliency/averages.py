"""Slopes averaged over noise and along a path, and slopes times the picture; of any kind of slope."""

import numpy as np
import torch
from torch import Tensor

from worker.engine.classifier import Classifier
from worker.engine.saliency.slope import Slope, average


def times_input(slope: Slope) -> Slope:
    """I ⊙ w, a first-order account of the score (Shrikumar et al. 2016, arXiv 1605.01713)."""

    def run(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
        return inputs * slope(classifier, inputs, targets)

    return run


def smooth(slope: Slope, *, samples: int, deviation: float, seed: int, at_once: int) -> Slope:
    """SmoothGrad: the mean slope of noisy copies (Smilkov et al. 2017, arXiv 1706.03825).

    Args:
        samples: How many copies.
        deviation: Of the noise, in units of the normalised inputs.
        seed: Of the noise, which is the same for every picture.
    """

    def vary(inputs: Tensor, numbers: Tensor) -> Tensor:
        return inputs + deviation * draw(inputs.shape[1:])[numbers.cpu()].to(inputs.device)

    def draw(shape: torch.Size) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(samples, *shape, generator=generator)

    return average(slope, vary, [1 / samples] * samples, at_once)


def along_path(slope: Slope, *, steps: int, at_once: int) -> Slope:
    """Integrated gradients from the mean colour (Sundararajan et al. 2017, arXiv 1703.01365, equation 1).

    (I − I₀) ⊙ ∫₀¹ w(I₀ + α(I − I₀)) dα with I₀ = 0, the mean of normalised inputs, by Gauss-Legendre quadrature.

    Args:
        steps: Nodes of the quadrature.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    places = torch.from_numpy((nodes + 1) / 2)

    def vary(inputs: Tensor, numbers: Tensor) -> Tensor:
        return inputs * places.to(inputs)[numbers].view(-1, 1, 1, 1)

    return times_input(average(slope, vary, (weights / 2).tolist(), at_once))
