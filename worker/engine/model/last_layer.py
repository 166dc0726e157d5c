"""The last layer of a classifier, which weighs the penultimate features, and the features of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.engine.model.classifier import Classifier


@dataclass(frozen=True)
class LastLayer:
    """A linear layer, or a convolution of one pixel, with one output per class.

    Attributes:
        name: Name of the layer.
        weights: Weight of each feature for each class, (K, D).
    """

    name: str
    weights: Tensor


def find_last_layer(classifier: Classifier) -> LastLayer | None:
    """Finds the last layer with one output per class; None if the network has none."""
    scores = classifier.scores(torch.zeros(2, classifier.channels, *classifier.size, device=classifier.device))
    found = None
    for name, module in classifier.prepared.network.named_modules():
        weight = getattr(module, "weight", None)
        is_linear = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))
        if is_linear and isinstance(weight, Tensor) and len(weight) == scores.shape[1]:
            found = LastLayer(name, weight.detach().flatten(1).float())
    return found


@torch.no_grad()
def extract_features(classifier: Classifier, layer: LastLayer, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The penultimate features of normalized images (N, C, H, W), and the scores.

    Features with positions are averaged over them.

    Args:
        classifier: The network.
        layer: Its last layer.
        inputs: The images.

    Returns:
        Features (N, D) and scores (N, K), on the CPU.

    Raises:
        ValueError: The layer does not get one row of features per image.
    """
    with _record_inputs(classifier.prepared.network.get_submodule(layer.name)) as recorded:
        scores = classifier.scores(inputs)
    features = torch.cat(recorded)[: len(inputs)].float().flatten(2) if recorded else torch.empty(0, 0, 0)
    if features.shape[:2] != (len(inputs), layer.weights.shape[1]):
        raise ValueError(f"{layer.name} gets {tuple(features.shape)} instead of one row of features per image")
    return features.mean(2).cpu(), scores.cpu()


@contextmanager
def _record_inputs(module: nn.Module) -> Iterator[list[Tensor]]:
    recorded: list[Tensor] = []

    def record(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        values = arguments[0]
        recorded.append(values if values.ndim > 2 else values[..., None])

    handle = module.register_forward_pre_hook(record)
    try:
        yield recorded
    finally:
        handle.remove()
