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


def integrated_gradients_from_noise(gradient_fn: GradientFn, *, steps: int, seed: int, at_once: int) -> GradientFn:
    """Returns integrated gradients from uniform noise (Sturmfels et al. 2020, doi 10.23915/distill.00022).

    A single baseline hides the pixels that have its color. Here each point of the path has a baseline of its own, an
    image of uniform noise in 0..1, so that the mean is over baselines and over the path at once (Erion et al. 2021,
    arXiv 1906.10670, equation 2): 1/K · Σₖ (I − Bₖ) ⊙ w(Bₖ + αₖ(I − Bₖ)) with αₖ = (k + ½) / K.

    Args:
        gradient_fn: Computes the gradient w.
        steps: Number K of points.
        seed: Seed of the baselines, which are the same for every image.
        at_once: Number of inputs per pass.
    """
    alphas = ((torch.arange(steps) + 0.5) / steps).view(-1, 1, 1, 1)

    def run(classifier: Classifier, inputs: Tensor, targets: Tensor) -> Tensor:
        noise = torch.rand(steps, *inputs.shape[1:], generator=torch.Generator().manual_seed(seed))
        baselines = classifier.normalize(noise.to(inputs.device))
        places = alphas.to(inputs)

        def vary(images: Tensor, numbers: Tensor) -> Tensor:
            return torch.lerp(baselines[numbers], images, places[numbers])

        def times(images: Tensor, numbers: Tensor) -> Tensor:
            return images - baselines[numbers]

        return average(gradient_fn, vary, [1 / steps] * steps, at_once, times=times)(classifier, inputs, targets)

    return run
