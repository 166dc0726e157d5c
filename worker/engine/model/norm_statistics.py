"""The statistics of batch norms: mean and deviation that the features of a layer had over the training images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.engine.model.classifier import Classifier

FLATTEST = 0.1
"""Smallest standard deviation that counts, relative to the median of a layer's channels: some channels are dead."""


SHARE = 0.4
"""Part of the features that `choose_small` keeps."""


@dataclass(frozen=True)
class NormStatistics:
    """Mean and standard deviation of the outputs of a batch norm, before any activation.

    Attributes:
        layer: Name of the layer that has these outputs.
        mean: (C,), float32.
        std: (C,), float32, above 0.
    """

    layer: str
    mean: Tensor
    std: Tensor


def find_norm_statistics(classifier: Classifier) -> tuple[NormStatistics, ...]:
    """Finds the statistics of all batch norms that run in a forward pass; none if the network has none.

    After its normalization with γ and β, a channel of the training images has the mean β and the deviation |γ|.
    """
    running = classifier.layouts()
    found = []
    for name, module in classifier.network.named_modules():
        if not isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) or module.running_mean is None:
            continue
        layer = _name_outputs(name, module)
        if layer is not None and layer in running:
            like = module.running_mean.float()
            mean = like.new_zeros(like.shape) if module.bias is None else module.bias.detach().float()
            std = like.new_ones(like.shape) if module.weight is None else module.weight.detach().float().abs()
            smallest = max(FLATTEST * float(std.median()), 1e-6)
            found.append(NormStatistics(layer, mean, std.clamp_min(smallest)))
    return tuple(found)


@torch.no_grad()
def choose_small(classifier: Classifier, norms: Sequence[NormStatistics]) -> tuple[NormStatistics, ...]:
    """Chooses the batch norms with the fewest features, up to `SHARE` of all features; at least one of them.

    The first layers of a network have most of the features. Without them, images of MobileNetV2 were recognized by
    another network more often (`docs/benchmarks.md`), and their statistics would take most of the time.
    """
    layers = [norm.layer for norm in norms]
    outputs = classifier.forward(
        torch.zeros(2, classifier.channels, *classifier.size, device=classifier.device), layers
    )
    return take_smallest(norms, {layer: outputs.activations[layer][0].numel() for layer in layers})


def take_smallest(norms: Sequence[NormStatistics], sizes: Mapping[str, int]) -> tuple[NormStatistics, ...]:
    """The norms with the smallest sizes, in their order, as long as these are within `SHARE` of the sum."""
    room = SHARE * sum(sizes.values())
    kept: set[str] = set()
    for layer in sorted(sizes, key=lambda name: sizes[name]):
        if kept and sum(sizes[name] for name in kept) + sizes[layer] > room:
            break
        kept.add(layer)
    return tuple(norm for norm in norms if norm.layer in kept)


def _name_outputs(name: str, norm: nn.Module) -> str | None:
    """Names the layer with the outputs of a batch norm; of timm's, which end in an activation, the part before it."""
    children = dict(norm.named_children())
    if not children:
        return name
    first = next(iter(children))
    return f"{name}.{first}" if isinstance(children[first], nn.Identity) else None
