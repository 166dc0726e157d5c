"""Regularizers: norms and total variation, which penalize the deviation of an image.

A regularizer maps deviations (N, C, H, W) to penalties (N,). The parameterization defines the deviation: the parameters
themselves, or the distance from mid gray.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.model.batch_invariant import power, sum_rows

Regularizer = Callable[[Tensor], Tensor]
"""From deviations (N, C, H, W) to penalties (N,), at least 0."""


def l1(deviation: Tensor) -> Tensor:
    """Σ|x|, (N, C, H, W) → (N,): makes values that do not matter exactly 0."""
    return sum_rows(deviation.abs())


def l2(deviation: Tensor) -> Tensor:
    """Σx², (N, C, H, W) → (N,): ‖I‖² of Simonyan et al. 2013 (arXiv 1312.6034, equation 1)."""
    return sum_rows(deviation.square())


def absolute_variation(deviation: Tensor) -> Tensor:
    """Σ|Δ↓| + Σ|Δ→|, (N, C, H, W) → (N,): anisotropic total variation, which permits sharp edges along the axes."""
    down = (deviation[..., 1:, :] - deviation[..., :-1, :]).abs()
    right = (deviation[..., :, 1:] - deviation[..., :, :-1]).abs()
    return sum_rows(down) + sum_rows(right)


@dataclass(frozen=True)
class PowerSum:
    """Σ|x|^α: a large α penalizes the largest values (Mahendran and Vedaldi 2014, arXiv 1412.0035, section 3)."""

    alpha: float

    def __call__(self, deviation: Tensor) -> Tensor:
        """Computes penalties (N,) of deviations (N, C, H, W)."""
        return sum_rows(power(deviation.abs(), self.alpha))


@dataclass(frozen=True)
class Lp:
    """(Σ|x|ᵖ)^(1/p): a large p penalizes the largest values only (Mahendran and Vedaldi 2016, arXiv 1512.02017)."""

    p: float

    def __call__(self, deviation: Tensor) -> Tensor:
        """Computes penalties (N,) of deviations (N, C, H, W)."""
        return power(sum_rows(power(deviation.abs(), self.p)).clamp_min(1e-30), 1 / self.p)


@dataclass(frozen=True)
class TotalVariation:
    """Σ(Δ↓² + Δ→²)^(β/2): flat areas with few edges (Mahendran and Vedaldi 2016, arXiv 1512.02017, section 3.2.2).

    Attributes:
        beta: Exponent; 2 spreads an edge over many pixels, 1 keeps it sharp.
    """

    beta: float

    def __call__(self, deviation: Tensor) -> Tensor:
        """Computes penalties (N,) of deviations (N, C, H, W)."""
        down = (deviation[..., 1:, :-1] - deviation[..., :-1, :-1]).square()
        right = (deviation[..., :-1, 1:] - deviation[..., :-1, :-1]).square()
        # A power below 1 has an unbounded derivative at zero.
        return sum_rows(power(down + right + (0 if self.beta >= 2 else 1e-12), self.beta / 2))


@dataclass(frozen=True)
class PerPixel:
    """A regularizer divided by the number of values, so that its weight does not depend on the size (keras-vis)."""

    regularizer: Regularizer

    def __call__(self, deviation: Tensor) -> Tensor:
        """Computes penalties (N,) of deviations (N, C, H, W)."""
        return self.regularizer(deviation) / deviation[0].numel()


def sum_penalties(regularizers: tuple[Regularizer, ...], weights: Tensor, deviation: Tensor) -> Tensor:
    """Computes Σ weight · regularizer for each slot.

    Args:
        regularizers: At least one.
        weights: (N, number of regularizers).
        deviation: (N, C, H, W).

    Returns:
        Penalties (N,).
    """
    return (torch.stack([regularizer(deviation) for regularizer in regularizers], 1) * weights).sum(1)
