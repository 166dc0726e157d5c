"""SmoothGrad, integrated gradients and gradient × input, for any kind of gradient."""

import numpy as np
import torch
from torch import Tensor

from worker.engine.attribution.gradient_fn import GradientFn, average
from worker.engine.model.classifier import Classifier


def times_input(gradient_fn: GradientFn) -> GradientFn:
    """Returns gradient × input, I ⊙ w: a first-order account of the score (Shrikumar et al. 2016, arXiv 1605.01713)."""

    def run(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
        return inputs * gradient_fn(classifier, inputs, targets)

    return run


def smoothgrad(gradient_fn: GradientFn, *, samples: int, deviation: float, seed: int, at_once: int) -> GradientFn:
    """Returns SmoothGrad: the mean gradient of noisy copies (Smilkov et al. 2017, arXiv 1706.03825).

    Args:
        gradient_fn: Computes a gradient.
        samples: Number of copies.
        deviation: Standard deviation of the noise in units of the normalized inputs.
        seed: Seed of the noise; the noise is the same for every image.
        at_once: Number of copies per pass.
    """

    def vary(inputs: Tensor, numbers: Tensor) -> Tensor:
        return inputs + deviation * draw(inputs.shape[1:])[numbers.cpu()].to(inputs.device)

    def draw(shape: torch.Size) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(samples, *shape, generator=generator)

    return average(gradient_fn, vary, [1 / samples] * samples, at_once)


def integrated_gradients(gradient_fn: GradientFn, *, steps: int, at_once: int) -> GradientFn:
    """Returns integrated gradients from the mean color (Sundararajan et al. 2017, arXiv 1703.01365, equation 1).

    (I − I₀) ⊙ ∫₀¹ w(I₀ + α(I − I₀)) dα, where I₀ = 0 is the mean of normalized inputs, by Gauss-Legendre quadrature.

    Args:
        gradient_fn: Computes the gradient w.
        steps: Number of nodes of the quadrature.
        at_once: Number of inputs per pass.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    alphas = torch.from_numpy((nodes + 1) / 2)

    def vary(inputs: Tensor, numbers: Tensor) -> Tensor:
        return inputs * alphas.to(inputs)[numbers].view(-1, 1, 1, 1)

    return times_input(average(gradient_fn, vary, (weights / 2).tolist(), at_once))
