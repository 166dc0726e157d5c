"""What a picture is kept close to: penalties (N,) on what its way of writing calls its deviation (N, C, H, W)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.rows import power, sum_rows

Prior = Callable[[Tensor], Tensor]


def l1(deviation: Tensor) -> Tensor:
    """Σ|x|: pushes what does not matter to exactly nothing."""
    return sum_rows(deviation.abs())


def l2(deviation: Tensor) -> Tensor:
    """Σx², the λ‖I‖² of Simonyan et al. 2013 (arXiv 1312.6034, equation 1)."""
    return sum_rows(deviation.square())


def absolute_variation(deviation: Tensor) -> Tensor:
    """Σ|Δ↓| + Σ|Δ→|: flat areas, and edges as sharp as they like, along the axes."""
    down = (deviation[..., 1:, :] - deviation[..., :-1, :]).abs()
    right = (deviation[..., :, 1:] - deviation[..., :, :-1]).abs()
    return sum_rows(down) + sum_rows(right)


@dataclass(frozen=True)
class PowerSum:
    """Σ|x|^α: a large α holds the largest values (Mahendran and Vedaldi 2014, arXiv 1412.0035, section 3)."""

    alpha: float

    def __call__(self, deviation: Tensor) -> Tensor:
        return sum_rows(power(deviation.abs(), self.alpha))


@dataclass(frozen=True)
class Lp:
    """(Σ|x|ᵖ)^(1/p): a large p holds the largest values and leaves the rest alone (Mahendran and Vedaldi 2016)."""

    p: float

    def __call__(self, deviation: Tensor) -> Tensor:
        return power(sum_rows(power(deviation.abs(), self.p)).clamp_min(1e-30), 1 / self.p)


@dataclass(frozen=True)
class TotalVariation:
    """Σ(Δ↓² + Δ→²)^(β/2) (Mahendran and Vedaldi 2016, arXiv 1512.02017, section 3.2.2): flat areas, few edges.

    Attributes:
        beta: 2 spreads an edge over many pixels, 1 leaves it sharp.
    """

    beta: float

    def __call__(self, deviation: Tensor) -> Tensor:
        down = (deviation[..., 1:, :-1] - deviation[..., :-1, :-1]).square()
        right = (deviation[..., :-1, 1:] - deviation[..., :-1, :-1]).square()
        # Just above zero the root of a power below two has a slope without bound.
        return sum_rows(power(down + right + (0 if self.beta >= 2 else 1e-12), self.beta / 2))


@dataclass(frozen=True)
class PerPixel:
    """A prior divided by the number of values, so that its weight means the same at every size (keras-vis)."""

    prior: Prior

    def __call__(self, deviation: Tensor) -> Tensor:
        return self.prior(deviation) / deviation[0].numel()


def sum_priors(priors: tuple[Prior, ...], weights: Tensor, deviation: Tensor) -> Tensor:
    """Σ weight · prior per slot (N,), with weights (N, len(priors))."""
    return (torch.stack([prior(deviation) for prior in priors], 1) * weights).sum(1)
