"""The statistics of batch norms: mean and deviation that the features of a layer had over the training images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.engine.model.classifier import Classifier

FLATTEST = 0.1
"""Smallest standard deviation that counts, relative to the median of a layer's channels: some channels are dead."""

SHARE = 0.4
"""Part of all features that `choose_small` keeps."""


@dataclass(frozen=True)
class NormStatistics:
    """Mean and standard deviation of the outputs of a batch norm, before any activation.

    Attributes:
        layer: Name of the layer that has these outputs.
        mean: (C,), float32.
        std: (C,), float32, above 0.
        size: Number of values of the outputs for one image.
    """

    layer: str
    mean: Tensor
    std: Tensor
    size: int


@torch.no_grad()
def find_norm_statistics(classifier: Classifier) -> tuple[NormStatistics, ...]:
    """Finds the statistics of all batch norms that run in a forward pass; none if the network has none.

    After its normalization with γ and β, a channel of the training images has the mean β and the deviation |γ|.
    """
    norms = dict(_list_norms(classifier.network))
    if not norms:
        return ()
    inputs = torch.zeros(2, classifier.channels, *classifier.size, device=classifier.device)
    ran = classifier.forward(inputs, optional=norms).activations
    usable = {layer: values for layer, values in ran.items() if values.ndim == 4 and len(values) == len(inputs)}
    return tuple(_read(layer, norm, usable[layer][0].numel()) for layer, norm in norms.items() if layer in usable)


def choose_small(norms: Sequence[NormStatistics]) -> tuple[NormStatistics, ...]:
    """Chooses the smallest layers, up to `SHARE` of the features of all; at least one.

    The first layers of a network have most of the features. Without them, images of MobileNetV2 were recognized by
    another network more often (`docs/benchmarks.md`), and their statistics would take most of the time.
    """
    room, kept = SHARE * sum(norm.size for norm in norms), set[str]()
    for norm in sorted(norms, key=lambda each: each.size):
        room -= norm.size
        if kept and room < 0:
            break
        kept.add(norm.layer)
    return tuple(norm for norm in norms if norm.layer in kept)


Norm = nn.BatchNorm2d | nn.SyncBatchNorm


def _list_norms(network: nn.Module) -> Iterator[tuple[str, Norm]]:
    """Lists the batch norms with statistics, by the layer that has their outputs."""
    for name, module in network.named_modules():
        if isinstance(module, Norm) and module.running_mean is not None:
            layer = _name_outputs(name, module)
            if layer is not None:
                yield layer, module


def _name_outputs(name: str, norm: nn.Module) -> str | None:
    """Names the layer with the outputs of a batch norm; of timm's, which end in an activation, the part before it."""
    children = dict(norm.named_children())
    if not children:
        return name
    first = next(iter(children))
    return f"{name}.{first}" if isinstance(children[first], nn.Identity) else None


def _read(layer: str, norm: Norm, size: int) -> NormStatistics:
    channels = torch.zeros(norm.num_features, device=norm.running_mean.device)  # type: ignore[union-attr]
    mean = channels if norm.bias is None else norm.bias.float()
    std = channels + 1 if norm.weight is None else norm.weight.float().abs()
    return NormStatistics(layer, mean, std.clamp_min(max(FLATTEST * float(std.median()), 1e-6)), size)
