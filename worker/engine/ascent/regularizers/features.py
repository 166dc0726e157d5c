"""Feature statistics: keeps the features of an image where those of the training images were."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.engine.model.classifier import Outputs
from worker.engine.model.norm_statistics import NormStatistics


@dataclass(frozen=True)
class FeatureStatistics:
    """Distance of an image's features from the statistics of batch norms (Yin et al. 2020, arXiv 1912.08795, eq. 4).

    The mean over layers and channels of ((m − μ) / σ)² + (s / σ − 1)², where m and s are mean and standard deviation of
    the features over the places of one image. The paper takes them over a batch, but no slot may depend on others.

    Attributes:
        norms: The statistics μ and σ of each layer; at least one.
    """

    norms: tuple[NormStatistics, ...]

    @property
    def layers(self) -> frozenset[str]:
        """Names of the layers."""
        return frozenset(norm.layer for norm in self.norms)

    def __call__(self, outputs: Outputs) -> Tensor:
        """Computes the distances (N,) of N images from the network's outputs; layers that did not run do not count."""
        distances = [
            _measure(outputs.activations[norm.layer], norm) for norm in self.norms if norm.layer in outputs.activations
        ]
        return torch.stack(distances).mean(0) if distances else torch.zeros_like(outputs.scores[:, 0])


def _measure(features: Tensor, norm: NormStatistics) -> Tensor:
    """The distance of features (N, C, h, w) from the statistics of their layer: (N,)."""
    mean, square = _Moments.apply(features)  # type: ignore[no-untyped-call]  # (N, C) each
    std = (square - mean.square()).clamp_min(1e-8).sqrt()
    distance: Tensor = ((mean - norm.mean) / norm.std).square() + (std / norm.std - 1).square()
    return distance.sum(1) / distance.shape[1]


class _Moments(torch.autograd.Function):
    """Mean and mean square of features (N, C, h, w) over their places: (N, C) each, in float32.

    Autograd would keep the squares of all features, and go through them several times.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(features)
        places, values = features.shape[2] * features.shape[3], features.float()
        return _sum_places(values) / places, _sum_places(values.square()) / places

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_square: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        places = features.shape[2] * features.shape[3]
        scale, shift = (2 * of_square / places).to(features), (of_mean / places).to(features)
        gradient: Tensor = torch.addcmul(shift[:, :, None, None], features, scale[:, :, None, None])
        return gradient


def _sum_places(values: Tensor) -> Tensor:
    """Sums values (N, C, h, w) over their places, in the order of the memory: (N, C); one axis, see `sum_rows`."""
    if values.is_contiguous(memory_format=torch.channels_last):
        return values.permute(0, 2, 3, 1).flatten(1, 2).sum(1)
    return values.flatten(2).sum(2)
